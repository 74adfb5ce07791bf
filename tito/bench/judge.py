"""From the seeds' metrics to summaries, verdicts, a status, and the front. Pure functions, without a clock or files."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Literal

from tinytorch.benchmarking import SMALLEST_EFFECT
from tito.bench.record import CaseResult, SeedRun, Summary, Verdict
from tito.bench.statistics import Paired, is_share_of, items_of, paired_test, wilson
from tito.bench.suite import Case, Criterion, Overview


def summarise(runs: Sequence[SeedRun]) -> dict[str, Summary]:
    """Return the summary of each metric over the seeds."""
    if not runs:
        return {}
    return {name: _summary([run.metrics[name] for run in runs]) for name in runs[0].metrics}


def judge(case: Case, summary: dict[str, Summary], complete: bool) -> list[Verdict]:
    """Judge a case's gates and aims; if seeds are missing, none of them is measured or met."""
    verdicts = []
    for criterion, role in _criteria(case):
        measured = getattr(summary[criterion.metric], criterion.over) if complete else None
        met = measured is not None and criterion.met_by(measured)
        verdicts.append(Verdict(role=role, criterion=criterion, measured=measured, met=met))
    return verdicts


def missed_gates(cases: Sequence[CaseResult]) -> str | None:
    """Return one line that names every missed gate; None if all were met. Aims don't count."""
    missed = [
        f"{case.name}: {_miss(verdict)}"
        for case in cases
        for verdict in case.verdicts
        if verdict.role == "gate" and not verdict.met
    ]
    return "; ".join(missed) or None


def front(overview: Overview, cases: Sequence[CaseResult]) -> set[str]:
    """Return the names of the cases that no other beats in size, time, and quality (the Pareto front).

    Only a case that meets its gates and has all three figures takes part. Two qualities differ only if a paired test on
    the same items says so, and two times only by more than `SMALLEST_EFFECT`: 2 of 10,000 images win nothing.
    """
    able = {case.name: case for case in cases if point(overview, case) is not None}
    return {name for name, own in able.items() if not any(_beats(overview, other, own) for other in able.values())}


def difference(a: CaseResult, b: CaseResult) -> Paired | None:
    """Compare the qualities of two cases on the items that both were evaluated on; None without such values.

    The first round of each is compared; every round is evaluated on the same items.
    """
    return paired_test(a.runs[0].raw, b.runs[0].raw) if a.runs and b.runs else None


def interval_of(case: CaseResult, name: str) -> tuple[float, float] | None:
    """Return the 95% interval of a metric that is the share of items answered correctly, or None for another metric.

    It covers which items happened to be in the test split. All seeds are evaluated on the same items, so more seeds do
    not narrow it; how much the seeds differ is the standard deviation.
    """
    if not case.runs or not all(is_share_of(run.raw, run.metrics.get(name)) for run in case.runs):
        return None
    return wilson(case.summary[name].mean, items_of(case.runs[0].raw))


def point(overview: Overview, case: CaseResult) -> tuple[float, float, float] | None:
    """Return (size, time, how bad), less is better in each; None where one is missing or a gate is missed."""
    quality = quality_of(overview, case)
    if quality is None or any(not verdict.met for verdict in case.verdicts if verdict.role == "gate"):
        return None
    if overview.size not in case.summary or overview.time not in case.summary:
        return None
    sign = -1 if overview.quality[quality] == "at_least" else 1
    return case.summary[overview.size].mean, case.summary[overview.time].mean, sign * case.summary[quality].mean


def quality_of(overview: Overview, case: CaseResult) -> str | None:
    """Return the name of the overview's quality metric that a case measures."""
    return next((name for name in overview.quality if name in case.summary), None)


def _beats(overview: Overview, a: CaseResult, b: CaseResult) -> bool:
    """Return whether a is nowhere worse and somewhere better than b; less is better in each figure."""
    first, second = point(overview, a), point(overview, b)
    assert first is not None
    assert second is not None
    size, quality = _sign(first[0] - second[0]), _sign(first[2] - second[2])
    apart = abs(first[1] - second[1]) > SMALLEST_EFFECT * min(first[1], second[1])
    time = _sign(first[1] - second[1]) if apart else 0
    paired = difference(a, b) if quality else None
    if paired is not None and not paired.differ:
        quality = 0
    compared = (size, time, quality)
    return max(compared) <= 0 and min(compared) < 0


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def _criteria(case: Case) -> list[tuple[Criterion, Literal["gate", "aim"]]]:
    return [*((gate, "gate") for gate in case.gates), *((aim, "aim") for aim in case.aims)]


def _miss(verdict: Verdict) -> str:
    """Return e.g. "accuracy mean 0.9712 is below the gate of 0.999", with enough digits to show the miss."""
    gate, measured = verdict.criterion, verdict.measured
    if measured is None:
        return f"{gate.metric} {gate.over} was not measured"
    side = "below" if gate.direction == "at_least" else "above"
    figure = f"{measured:.4g}"
    if float(figure) == gate.value or gate.met_by(float(figure)):
        figure = repr(measured)
    return f"{gate.metric} {gate.over} {figure} is {side} the gate of {gate.value:g}"


def _summary(values: list[float]) -> Summary:
    return Summary(
        n=len(values),
        mean=statistics.fmean(values),
        sd=statistics.stdev(values) if len(values) > 1 else None,
        median=statistics.median(values),
        min=min(values),
        max=max(values),
    )
