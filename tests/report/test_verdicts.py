"""tito.report.verdicts: each requirement with what was measured against it."""

from __future__ import annotations

import pytest

from tests.report.sample import make_record
from tito.bench.record import Summary, Verdict
from tito.bench.suite import Criterion
from tito.report import units
from tito.report.verdicts import rows_of, tally, verdict_rows, worst_first


def test_gates_are_told_in_words() -> None:
    gate, aim, fast = verdict_rows(make_record())
    assert (gate.role, gate.met, gate.required.replace(units.THIN, " ")) == ("gate", True, "≥ 95 %")
    assert (aim.role, aim.met) == ("aim", False)
    assert gate.measured.replace(units.THIN, " ") == "98.20 % (sd 0.13, n = 3)"
    assert fast.metric == "Training time"
    assert fast.measured.startswith("max ")


@pytest.mark.parametrize(
    ("over", "n", "expected"),
    [("mean", 3, "98.61 % (sd 0.05, n = 3)"), ("min", 3, "min 98.61 % (n = 3)"), ("mean", 1, "98.61 %")],
)
def test_a_spread_stands_only_beside_a_mean_of_several(over: str, n: int, expected: str) -> None:
    gate = Criterion.model_validate({"metric": "accuracy", "over": over, "direction": "at_least", "value": 0.95})
    sd = 0.0005 if n > 1 else None
    summary = Summary(n=n, mean=0.9861, sd=sd, median=0.9861, min=0.9861, max=0.9861)
    verdict = Verdict(role="gate", criterion=gate, measured=0.9861, met=True)
    record = make_record()
    case = record.cases[0].model_copy(update={"summary": {"accuracy": summary}, "verdicts": [verdict]})
    (row,) = rows_of(record, case)
    assert row.measured.replace(units.THIN, " ") == expected


def test_a_missed_gate_comes_before_a_missed_aim_and_both_before_what_was_met() -> None:
    record = make_record()
    gate, aim, fast = record.cases[0].verdicts
    missed = gate.model_copy(update={"met": False})
    first = record.cases[0].model_copy(update={"title": "first", "verdicts": [gate, aim]})
    second = record.cases[0].model_copy(update={"title": "second", "verdicts": [fast, missed]})
    rows = worst_first(record.model_copy(update={"cases": [first, second]}))
    assert [(row.case, row.role, row.result) for row in rows] == [
        ("second", "gate", "missed"),
        ("first", "aim", "short"),
        ("first", "gate", "met"),
        ("second", "aim", "met"),
    ]


def test_the_tally_counts_gates_and_aims() -> None:
    assert tally(make_record()) == "1 of 1 gate and 1 of 2 aims met"
    assert tally(make_record(cases=[])) == ""
