from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from tests.report.sample import START, make_case, make_profile, make_record, plot, summarise
from tito.bench.entry import entry_of
from tito.bench.record import Record, Verdict
from tito.bench.suite import Criterion, Metric
from tito.report import units
from tito.report.history import history, primary, related, spark, verdicts
from tito.report.pieces import Absent, Grid, Plot

NOW = START + timedelta(days=100)


def timed(number: int, p50: float, commit: str = "a" * 40, **changes: object) -> Record:
    """A record whose median latency is `p50` microseconds."""
    same = make_record()  # but for its date, all else is the same in each run
    made = make_record(number=number, **{"cases": same.cases, "profile": same.profile, **changes})
    assert made.profile is not None
    latency = [run.model_copy(update={"p50_us": p50}) for run in made.profile.latency]
    source = made.provenance.model_copy(update={"commit": commit, "dirty": False})
    profile = made.profile.model_copy(update={"latency": latency})
    return made.model_copy(update={"profile": profile, "provenance": source})


def test_only_runs_of_this_kind_are_related_and_the_others_are_counted() -> None:
    shown = make_record(number=9)
    changed = make_record().provenance.model_copy(update={"suite_sha256": "cd" * 32})
    settings = make_record().provenance.model_copy(update={"environment": {"OMP_NUM_THREADS": "1"}})
    numpy = make_record().provenance.model_copy(update={"backend": None})
    others = [
        make_record(number=1),
        make_record(number=2, fingerprint="another machine"),
        make_record(number=3, quick=True),
        make_record(number=4, suite="other"),
        make_record(number=5, altered=["1 of 3 seeds"]),
        make_record(number=6, status="failed", reason="it died", cases=[]),
        make_record(number=7, provenance=changed),
        make_record(number=7, provenance=settings),
        make_record(number=8, provenance=numpy),
        make_record(number=24000),
    ]
    rows, left_out = related([*others, shown], shown, NOW)
    assert [run.id for run in rows] == ["sample-1", "sample-9"]
    assert left_out == [
        "one run of another version of the suite",
        "one run with another kernel backend",
        "one run with other settings",
        "one run from a clock that was set to the future",
    ]


def test_backends_are_histories_of_their_own() -> None:
    numpy = make_record().provenance.model_copy(update={"backend": None})
    runs = [make_record(number=i) if i % 2 else make_record(number=i, provenance=numpy) for i in range(6)]
    for shown in runs[-2:]:
        assert len(plot(history(runs, shown)[1]).data[0]["x"]) == 3
        assert "Left out: 3 runs with another kernel backend." in plot(history(runs, shown)[1]).says


def test_units_are_shown_as_they_are_written() -> None:
    metrics = {"accuracy": Metric(title="A", unit="<a href='x'>bits</a>")}
    records = [make_record(number=number, metrics=metrics) for number in range(2)]
    piece = history(records, records[1])[1]
    assert isinstance(piece, Plot)
    assert piece.layout["yaxis"]["title"]["text"] == "&lt;a href='x'&gt;bits&lt;/a&gt;"


def test_history_draws_metric_latency_and_training_time() -> None:
    records = [make_record(number=number) for number in range(3)]
    pieces = history(records, records[-1])
    assert [piece.title for piece in pieces] == [
        "Changes",
        "Test accuracy over time",
        "Median latency over time",
        "Training time over time",
    ]
    means = [record.cases[0].summary["accuracy"].mean for record in records]
    np.testing.assert_allclose(plot(pieces[1]).data[0]["y"], means, rtol=1e-4)
    assert [shape["y0"] for shape in plot(pieces[1]).layout["shapes"]] == [0.95, 0.985]  # gate and aim
    assert history(list(map(entry_of, records)), records[-1]) == pieces


def test_gates_and_aims_are_named_lines_in_every_panel() -> None:
    records = [make_record(number=number) for number in range(3)]
    limit = Criterion(metric="p50_us", direction="at_most", value=20.0)
    fast = Verdict(role="gate", criterion=limit, measured=19.0, met=True)
    case = records[-1].cases[0]
    last = records[-1].model_copy(update={"cases": [case.model_copy(update={"verdicts": [*case.verdicts, fast]})]})
    _, quality, latency, training = history([*records[:2], last], last)
    for piece, expected in (
        (quality, ["gate ≥ 95 %", "aim ≥ 98.5 %"]),
        (latency, ["gate ≤ 20.0 µs"]),
        (training, ["aim ≤ 60 s"]),
    ):
        layout = plot(piece).layout
        assert [note["text"].replace(units.THIN, " ") for note in layout["annotations"]] == expected
        assert len(layout["shapes"]) == len(expected)
        low, high = layout["yaxis"]["range"]
        assert all(low < shape["y0"] < high for shape in layout["shapes"])
        assert layout["xaxis"]["range"][1] > max(plot(piece).data[0]["x"])


def test_short_times_are_in_the_unit_of_the_tables() -> None:
    def short(number: int) -> Record:
        record = make_record(number=number)
        case = record.cases[0]
        summary = case.summary | {"train_seconds": summarise([0.107, 0.1071])}
        return record.model_copy(update={"cases": [case.model_copy(update={"summary": summary})]})

    records = [short(number) for number in range(3)]
    drawn = plot(history(records, records[-1])[3])
    assert drawn.layout["yaxis"]["title"]["text"] == "ms"
    assert drawn.data[0]["y"] == pytest.approx([107.05] * 3, rel=1e-3)
    low, high = drawn.layout["yaxis"]["range"]
    assert low < 106.5 < 107.6 < high, "an axis never magnifies what two processes of the same code differ by"


def test_history_of_one_run_is_one_line() -> None:
    record = make_record()
    foreign = make_record(number=1, fingerprint="another machine")
    (piece,) = history([record, foreign], record)
    assert isinstance(piece, Absent)
    assert "one run of this kind" in piece.says


def test_history_without_latency_leaves_that_panel_out() -> None:
    profile = make_profile(np.random.default_rng(0)).model_copy(update={"latency": []})
    records = [make_record(number=number, profile=profile) for number in range(2)]
    assert "Median latency over time" not in [piece.title for piece in history(records, records[0])]


def test_runs_on_a_busy_machine_stand_apart() -> None:
    runs = [entry_of(timed(number, 10.0)) for number in range(4)]
    busy = entry_of(timed(4, 99.0)).model_copy(update={"noisy": True})
    drawn = plot(history([*runs, busy], timed(5, 10.0))[2])
    assert [trace["name"] for trace in drawn.data] == ["quiet machine", "busy machine"]
    assert drawn.data[1]["y"] == [99.0]
    assert "Crosses: one run on a busy machine, which do not count." in drawn.says


def test_what_changed_for_good_is_said_with_its_date_and_commit() -> None:
    runs = [timed(i, 10.0 + 0.05 * (i % 3)) for i in range(10)]
    runs += [timed(10 + i, 12.5 + 0.05 * (i % 3), commit="b" * 40) for i in range(5)]
    assert verdicts(runs, runs[-1]) == [
        "Latency, p50: slower by 24.9\u202f% since 2021-01-11, commit bbbbbbb, after aaaaaaa"
    ]
    table, *_ = history(runs, runs[-1])
    assert isinstance(table, Grid)
    assert table.rows[0][1:3] == ["slower by 24.9\u202f%", "2021-01-11 12:00"]
    assert table.missed == {(0, 1)}
    assert "Slower by 24.9" in plot(history(runs, runs[-1])[2]).says


def test_a_history_at_one_level_says_so() -> None:
    runs = [timed(i, 10.0 + 0.05 * (i % 3)) for i in range(15)]
    assert verdicts(runs, runs[-1]) == []
    assert "No figure changed for good" in history(runs, runs[-1])[0].says


def test_primary_is_the_gate_of_the_profiled_case() -> None:
    rng = np.random.default_rng(0)
    found = primary(make_record(cases=[make_case(rng, name="first"), make_case(rng, name="mlp")]))
    assert found is not None
    assert (found[0].name, found[1]) == ("mlp", "accuracy")
    assert primary(make_record(cases=[], profile=None)) is None


def test_spark_spans_the_box() -> None:
    records = [make_record(number=number) for number in range(4)]
    line = spark(records, records[-1], width=100, height=20)
    assert line is not None
    x, y = zip(*(map(float, point.split(",")) for point in line.split()), strict=True)
    assert (min(x), max(x), min(y), max(y)) == (4.0, 96.0, 4.0, 16.0)
    assert spark(records[:1], records[0]) is None
