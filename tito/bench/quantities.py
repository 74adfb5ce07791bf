"""The figures of a record by name: `mlp.accuracy`, `mlp.train_seconds`, `mlp.p50_us`. Pure functions of a record.

A figure is one number for each run, so that runs can be compared: a case's metric over its seeds, or a figure of the
profiled case's latency, throughput, memory, and size.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Literal

from tito.bench.record import CaseResult, Profile, Record
from tito.bench.suite import Metric

Better = Literal["lower", "higher", ""]  # "" where the suite does not say

LOWER = ("s", "us", "bytes", "bits", "nats", "nats per token")
HIGHER = ("/s", "GOP/s", "GFLOP/s", "times")
SHARE = "%"  # such a metric is a fraction, and changes are differences, not ratios
TIMES = {
    "train_seconds": Metric(title="Training time", unit="s"),
    "load_seconds": Metric(title="Loading time", unit="s"),
    "evaluate_seconds": Metric(title="Evaluation time", unit="s"),
}
# What the harness measures of the profiled case, in a process that does nothing else
PROFILE = {
    "p50_us": Metric(title="Latency, p50", unit="us"),
    "p90_us": Metric(title="Latency, p90", unit="us"),
    "p99_us": Metric(title="Latency, p99", unit="us"),
    "samples_per_second": Metric(title="Throughput", unit="/s"),
    "peak_bytes": Metric(title="Peak memory", unit="bytes"),
    "model_bytes": Metric(title="Model file", unit="bytes"),
}
OF_PROFILE = "profile_"  # before the name of a profile's figure if the case has a metric of that name


@dataclass(frozen=True)
class Quantity:
    """One figure of a run."""

    case: str
    name: str
    metric: Metric
    value: float
    better: Better

    @property
    def key(self) -> str:
        """The figure's name among all figures of the record."""
        return f"{self.case}.{self.name}"


def quantities(record: Record) -> dict[str, Quantity]:
    """Return all figures of a record by key, in the order of its cases."""
    found = [quantity for case in record.cases for quantity in _of_case(record, case)]
    if record.profile:
        own = {quantity.name for quantity in found if quantity.case == record.profile.case}
        for name, value in _of_profile(record.profile).items():
            metric = PROFILE[name]
            called = profile_name(name, own)
            found.append(Quantity(record.profile.case, called, metric, value, _by_unit(metric.unit)))
    return {quantity.key: quantity for quantity in found}


def profile_name(name: str, metrics: set[str] | frozenset[str]) -> str:
    """Return the name of a profile's figure, given the names of the case's own metrics."""
    return OF_PROFILE + name if name in metrics else name


def central(case: CaseResult, name: str) -> float:
    """Return a metric over the seeds, as its gate or aim judges it; training time by its median, others by the mean."""
    over = [verdict.criterion.over for verdict in case.verdicts if verdict.criterion.metric == name]
    default = "median" if name in TIMES else "mean"
    return float(getattr(case.summary[name], over[0] if over and name not in TIMES else default))


def metric_named(record: Record, name: str) -> Metric:
    """Return the meaning of a metric of a case, from the suite or from the harness."""
    fallback = Metric(title=name.replace("_", " ").capitalize(), unit="")
    return record.metrics.get(name) or TIMES.get(name) or fallback


def direction(record: Record, case: CaseResult, name: str) -> Better:
    """Return whether less or more of a metric is better, as its gates, its aims, the overview, or its unit say."""
    said = {verdict.criterion.direction for verdict in case.verdicts if verdict.criterion.metric == name}
    if record.overview and name in record.overview.quality:
        said.add(record.overview.quality[name])
    if len(said) == 1:
        return "higher" if said == {"at_least"} else "lower"
    return _by_unit(metric_named(record, name).unit)


def _by_unit(unit: str) -> Better:
    return "lower" if unit in LOWER else "higher" if unit in HIGHER else ""


def _of_case(record: Record, case: CaseResult) -> list[Quantity]:
    return [
        Quantity(case.name, name, _metric(record, case, name), central(case, name), direction(record, case, name))
        for name in case.summary
        if name != "train_seconds" or case.work  # else nothing took this time
    ]


def _metric(record: Record, case: CaseResult, name: str) -> Metric:
    """Return the meaning of a case's metric; `train_seconds` is the time of what the case works at."""
    if name == "train_seconds":
        return Metric(title=f"{case.work.capitalize()} time", unit="s")
    return metric_named(record, name)


def _of_profile(profile: Profile) -> dict[str, float]:
    """Return what a profile measured: latency as the median over processes, throughput at the fastest batch size."""
    found: dict[str, float] = {}
    if profile.latency:
        for name in ("p50_us", "p90_us", "p99_us"):
            found[name] = statistics.median(getattr(run, name) for run in profile.latency)
    if profile.throughput:
        found["samples_per_second"] = max(statistics.median(row.samples_per_second) for row in profile.throughput)
    if profile.memory:
        found["peak_bytes"] = profile.memory.peak
    found["model_bytes"] = profile.model_bytes
    return found
