"""tito.bench.judge: summaries, verdicts, and the line that says which gate was missed."""

from __future__ import annotations

import math

import pytest

from tito.bench.judge import interval_of, judge, missed_gates, summarise
from tito.bench.record import CaseResult, SeedRun
from tito.bench.statistics import wilson
from tito.bench.suite import Case, Criterion


def runs(*accuracies):
    return [SeedRun(seed=i, metrics={"accuracy": value}, curve=[], exhibits=[]) for i, value in enumerate(accuracies)]


def case(*gates, aims=()):
    return Case(name="mlp", title="", parameters={}, seeds=[0], gates=list(gates), aims=list(aims))


def result(of, seed_runs, complete=True):
    summary = summarise(seed_runs)
    return CaseResult(
        name=of.name,
        title="",
        note="",
        parameters={},
        runs=seed_runs,
        summary=summary,
        verdicts=judge(of, summary, complete),
    )


def gate(value, direction="at_least", over="mean"):
    return Criterion(metric="accuracy", over=over, direction=direction, value=value)


def test_summary_is_the_textbook_one():
    summary = summarise(runs(0.9, 0.94, 0.98, 0.92))["accuracy"]
    assert (summary.n, summary.min, summary.max) == (4, 0.9, 0.98)
    assert summary.mean == pytest.approx(0.935)
    assert summary.median == pytest.approx(0.93)
    assert summary.sd == pytest.approx(math.sqrt(sum((x - 0.935) ** 2 for x in (0.9, 0.94, 0.98, 0.92)) / 3))


def test_a_share_of_items_has_an_interval_and_another_metric_has_none():
    raw = {"wrong": [float(i) for i in range(100)], "items": [10_000.0]}
    seeds = [
        SeedRun(seed=i, metrics={"accuracy": 0.99, "noisy": 0.7}, curve=[], exhibits=[], raw=raw) for i in range(3)
    ]
    judged = result(case(gate(0.5)), seeds)
    assert interval_of(judged, "accuracy") == pytest.approx(wilson(0.99, 10_000))
    assert interval_of(judged, "noisy") is None
    assert interval_of(judged, "nothing") is None
    assert interval_of(result(case(gate(0.5)), runs(0.99)), "accuracy") is None


def test_one_seed_has_no_spread_and_none_has_no_summary():
    assert summarise(runs(0.9))["accuracy"].sd is None
    assert summarise([]) == {}


@pytest.mark.parametrize(
    ("criterion", "met"),
    [
        (gate(0.95), True),
        (gate(0.9500001), False),
        (gate(0.9, over="min"), True),
        (gate(0.91, over="min"), False),
        (gate(0.99, over="max", direction="at_most"), False),
        (gate(1.0, over="max", direction="at_most"), True),
        (gate(0.95, over="median", direction="at_most"), True),
    ],
)
def test_a_gate_is_met_at_its_value_and_on_its_side(criterion, met):
    judged = result(case(criterion), runs(0.9, 0.95, 1.0))
    assert judged.verdicts[0].met is met
    assert (missed_gates([judged]) is None) is met


def test_nothing_is_met_with_seeds_missing():
    verdict = judge(case(gate(0.5)), summarise(runs(0.9)), complete=False)[0]
    assert (verdict.measured, verdict.met) == (None, False)


def test_a_missed_gate_is_said_in_one_line():
    judged = result(case(gate(0.999)), runs(0.9712))
    assert missed_gates([judged]) == "mlp: accuracy mean 0.9712 is below the gate of 0.999"
    above = result(case(gate(0.75, direction="at_most")), runs(0.8))
    assert (
        missed_gates([judged, above])
        == "mlp: accuracy mean 0.9712 is below the gate of 0.999; mlp: accuracy mean 0.8 is above the gate of 0.75"
    )


def test_a_hairs_breadth_is_not_rounded_away():
    missed = missed_gates([result(case(gate(0.99)), runs(0.98999999))])
    assert missed is not None
    assert "0.98999999 is below the gate of 0.99" in missed


def test_an_aim_that_is_missed_changes_nothing():
    judged = result(case(gate(0.5), aims=[gate(1.0)]), runs(0.9))
    assert [(v.role, v.met) for v in judged.verdicts] == [("gate", True), ("aim", False)]
    assert missed_gates([judged]) is None
