from __future__ import annotations

import numpy as np
import pytest

from tests.report.sample import make_case, make_record, plot
from tito.report import units
from tito.report.curves import learning_curves, seed_spread


def test_every_numeric_key_of_a_curve_is_drawn_for_every_seed() -> None:
    loss, accuracy = map(plot, learning_curves(make_record()))
    assert [trace["name"] for trace in loss.data] == ["validation"] * 3 + ["train"] * 3
    assert [trace["name"] for trace in accuracy.data] == ["accuracy"] * 3 + ["train"] * 3
    assert loss.data[0]["x"] == list(range(1, 16))
    assert accuracy.layout["yaxis"]["tickformat"] == ",.6~p"


def test_many_seeds_are_drawn_as_median_and_band() -> None:
    case = make_case(np.random.default_rng(0), seeds=9)
    loss = plot(learning_curves(make_record(cases=[case]))[0])
    low, high, middle = loss.data[:3]
    final = [run.curve[-1]["validation_loss"] for run in case.runs]
    assert middle["y"][-1] == pytest.approx(np.median(final), rel=1e-4)
    assert low["y"][-1] <= middle["y"][-1] <= high["y"][-1]


def test_a_curve_with_seconds_is_also_drawn_against_time() -> None:
    case = make_case(np.random.default_rng(0), seeds=1)
    curve = [{"step": i * 10.0, "seconds": i * 0.5, "loss": 2.0 / (i + 1)} for i in range(5)]
    case = case.model_copy(update={"runs": [case.runs[0].model_copy(update={"curve": curve})]})
    by_step, by_time = map(plot, learning_curves(make_record(cases=[case])))
    assert by_step.data[0]["x"] == [0, 10, 20, 30, 40]
    assert by_time.data[0]["x"] == [0, 0.5, 1, 1.5, 2]


def test_only_the_judged_quantity_is_drawn_against_time_and_settings_come_last() -> None:
    case = make_case(np.random.default_rng(0), seeds=1)
    for rate, last in ((0.1, []), (None, ["Learning rate by epoch"])):  # a rate that never changes is no curve
        curve = [
            {"lr": rate or 1 / (1 + i), "epoch": i, "seconds": i * 0.5, "train_loss": 1.0, "accuracy": 0.9}
            for i in range(5)
        ]
        case = case.model_copy(update={"runs": [case.runs[0].model_copy(update={"curve": curve})]})
        titles = [piece.title for piece in learning_curves(make_record(cases=[case]))]
        assert titles == ["Loss by epoch", "Accuracy by epoch", "Accuracy by time", *last]


def test_gates_and_aims_are_lines_in_the_curve_and_over_the_seeds() -> None:
    record = make_record()
    loss, accuracy = map(plot, learning_curves(record))
    spread = plot(seed_spread(record, record.cases[0], "accuracy"))
    for piece in (accuracy, spread):
        texts = [note["text"].replace(units.THIN, " ") for note in piece.layout["annotations"]]
        assert texts == ["gate ≥ 95 %", "aim ≥ 98.5 %"]
        low, high = piece.layout["yaxis"]["range"]
        assert low <= 0.95
        assert high > 0.985
    assert "shapes" not in loss.layout


def test_the_words_of_a_requirement_have_room_beside_the_seeds() -> None:
    record = make_record()
    few = plot(seed_spread(record, record.cases[0], "accuracy"))
    assert few.layout["xaxis"]["range"][1] > 2.5 + 0.25 * 3
    many = plot(seed_spread(record, make_case(np.random.default_rng(0), seeds=30), "accuracy"))
    assert many.layout["yaxis"]["range"][1] >= 1.2 * max(many.data[0]["y"])
    curve = plot(learning_curves(record)[1])
    assert {note["x"] for note in curve.layout["annotations"]} == {0}, "at the left: curves end at the right"


def test_the_spread_over_seeds_counts_every_seed() -> None:
    record = make_record()
    rng = np.random.default_rng(0)
    many = seed_spread(record, make_case(rng, seeds=100, solved=True), "accuracy")
    assert sum(plot(many).data[0]["y"]) == 100
    few = seed_spread(record, make_case(rng, seeds=3), "accuracy")
    assert plot(few).data[0]["x"] == ["1", "2", "3"]
    assert seed_spread(record, make_case(rng, seeds=1), "accuracy") is None


@pytest.mark.parametrize("seeds", [3, 30])
@pytest.mark.parametrize("same", [1.0, 0.0, None])
def test_shares_over_seeds_stay_within_0_and_100_percent(seeds: int, same: float | None) -> None:
    case = make_case(np.random.default_rng(0), seeds=seeds)
    values = [same if same is not None else 1 - i / 100 for i in range(seeds)]
    runs = [
        run.model_copy(update={"metrics": {"accuracy": value}}) for run, value in zip(case.runs, values, strict=True)
    ]
    piece = plot(seed_spread(make_record(), case.model_copy(update={"runs": runs}), "accuracy"))
    low, high = piece.layout["xaxis" if seeds >= 20 else "yaxis"]["range"]
    assert 0 <= low < high <= 1
    if seeds >= 20:
        (bars,) = piece.data
        edges = [x + sign * width / 2 for x, width in zip(bars["x"], bars["width"], strict=True) for sign in (-1, 1)]
        assert low - 1e-4 <= min(edges) < max(edges) <= high + 1e-4
        assert sum(bars["y"]) == seeds
    else:
        assert piece.data[0]["cliponaxis"] is False
