"""tito.report.criteria: requirements are lines, and an axis never makes noise look large."""

from __future__ import annotations

from typing import Any

import pytest

from tito.bench.record import CaseResult, SeedRun, Summary, Verdict
from tito.bench.statistics import wilson
from tito.bench.suite import Criterion
from tito.report import units
from tito.report.criteria import marks, reach, required, shown


def verdict(metric: str, value: float, role: Any = "gate", direction: Any = "at_least") -> Verdict:
    criterion = Criterion(metric=metric, direction=direction, value=value)
    return Verdict(role=role, criterion=criterion, measured=1.0, met=True)


def case(*accuracies: float, items: int = 10_000) -> CaseResult:
    runs = [
        SeedRun(
            seed=i,
            metrics={"accuracy": value},
            curve=[],
            exhibits=[],
            raw={"wrong": [float(k) for k in range(round(items * (1 - value)))], "items": [float(items)]},
        )
        for i, value in enumerate(accuracies)
    ]
    mean = sum(accuracies) / len(accuracies)
    summary = {"accuracy": Summary(n=len(runs), mean=mean, sd=None, median=mean, min=mean, max=mean)}
    verdicts = [verdict("accuracy", 0.985, "aim"), verdict("loss", 4.2), verdict("accuracy", 0.95)]
    return CaseResult(name="a", title="A", note="", parameters={}, runs=runs, summary=summary, verdicts=verdicts)


def test_a_metric_has_its_own_requirements_gates_first() -> None:
    found = required(case(0.99), ["accuracy", "accuracy_single"])
    assert [(one.role, one.criterion.value) for one in found] == [("gate", 0.95), ("aim", 0.985)]


@pytest.mark.parametrize("vertical", [False, True])
def test_each_requirement_is_a_line_with_its_words(vertical: bool) -> None:
    found = marks(required(case(0.99), ["accuracy"]), "%", (0.9, 1.0), vertical=vertical)
    value, whole = ("x", "y") if vertical else ("y", "x")
    assert [(line[f"{value}0"], line[f"{value}1"]) for line in found["shapes"]] == [(0.95, 0.95), (0.985, 0.985)]
    assert all(
        (line[f"{whole}0"], line[f"{whole}1"], line[f"{whole}ref"]) == (0, 1, "paper") for line in found["shapes"]
    )
    assert [line["line"]["dash"] for line in found["shapes"]] == ["dash", "dot"]
    texts = [note["text"].replace(units.THIN, " ") for note in found["annotations"]]
    assert texts == ["gate ≥ 95 %", "aim ≥ 98.5 %"]


@pytest.mark.parametrize("vertical", [False, True])
def test_the_words_of_two_close_lines_are_on_different_sides(vertical: bool) -> None:
    close = [verdict("accuracy", 0.95), verdict("accuracy", 0.951, "aim")]
    side = "xanchor" if vertical else "yanchor"
    notes = marks(close, "%", (0.9, 1.0), vertical=vertical)["annotations"]
    assert len({note[side] for note in notes}) == 2
    apart = marks(close, "%", (0.949, 0.952), vertical=False)["annotations"]
    assert {note["yanchor"] for note in apart} == {"bottom"}


def test_words_at_the_end_of_an_x_axis_stay_in_the_figure() -> None:
    (note,) = marks([verdict("accuracy", 1.0)], "%", (0.9, 1.0), vertical=True)["annotations"]
    assert note["xanchor"] == "right"


def test_a_gate_above_100_percent_is_drawn() -> None:
    gate = [verdict("accuracy", 1.1)]
    assert shown(gate, reach([0.999, 1.0], gate, "%")) == gate


def test_two_hundredths_of_a_point_do_not_fill_the_axis() -> None:
    judged = case(0.9901, 0.9902, 0.9903)
    low, high = reach([0.9901, 0.9902, 0.9903], [], "%", judged, "accuracy")
    interval = wilson(0.9902, 10_000)
    assert low <= interval[0]
    assert high >= interval[1]
    assert (0.9903 - 0.9901) / (high - low) < 0.06


def test_the_axis_reaches_the_requirements_and_stays_within_0_and_100_percent() -> None:
    low, high = reach([0.999, 1.0], required(case(0.99), ["accuracy"]), "%")
    assert low <= 0.95
    assert high == 1.0


def test_a_time_limit_far_away_does_not_flatten_the_times() -> None:
    limit = [verdict("train_seconds", 60.0, direction="at_most")]
    axis = reach([1.0, 1.1], limit, "s")
    assert axis[1] < 2
    assert shown(limit, axis) == []
    near = [verdict("train_seconds", 2.0, direction="at_most")]
    assert shown(near, reach([1.0, 1.1], near, "s")) == near


def test_one_value_has_an_axis() -> None:
    for value in (0.0, 5.0, -3.0):
        low, high = reach([value], [], "")
        assert low < value < high
