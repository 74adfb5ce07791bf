"""Two records compared figure by figure: faster, slower, or a tie, each with a 95% interval. Pure functions of records.

    compare_records(a, b, entries)  ->  one Compared for each figure that both have

The two runs did not alternate, so two kinds of noise count, and the wider interval is used:

- within the runs: how much processes, or the same seed's two trainings, differ (Student's t on logarithms);
- between runs: how much the comparable runs of the history differ from one to the next, if there are at least five.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from tito.bench.entry import Entry, differences
from tito.bench.history import FEWEST, MAD_TO_SD, SMALLEST_CHANGE, history_of
from tito.bench.quantities import OF_PROFILE, SHARE, Quantity, quantities
from tito.bench.record import Profile, Record
from tito.errors import IncomparableError

Verdict = Literal["faster", "slower", "smaller", "larger", "better", "worse", "changed", "tie", "unclear"]

# The 97.5% quantile of Student's t distribution with 1, 2, ... degrees of freedom
T_975 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
EXACT = "model_bytes"  # the same model always has the same file


@dataclass(frozen=True)
class Compared:
    """One figure of two runs. `change` is relative (0.25: a quarter more), but for a share the difference."""

    quantity: Quantity  # of the second run
    before: float
    after: float
    change: float
    low: float | None  # the 95% interval of the change
    high: float | None
    basis: str  # what the interval rests on, or why there is none
    verdict: Verdict

    @property
    def share(self) -> bool:
        """Whether the change is a difference of shares."""
        return self.quantity.metric.unit == SHARE


def compare_records(a: Record, b: Record, entries: Sequence[Entry] = ()) -> list[Compared]:
    """Compare the figures that both records have, in the order of the suite; the change is from `a` to `b`.

    Args:
        entries: all runs that are known, for the noise between runs.

    Raises:
        IncomparableError: the records are not comparable; the message says what differs.
    """
    differing = differences(a, b)
    if differing:
        raise IncomparableError(f"{a.id} and {b.id} cannot be compared, because these differ: {'; '.join(differing)}")
    before, after = quantities(a), quantities(b)
    values_a, values_b = values(a), values(b)
    history = history_of(a, entries)
    found = []
    for key in after:
        if key in before:
            earlier = [run.figures[key] for run in history if key in run.figures]
            found.append(_compare(before[key], after[key], values_a[key], values_b[key], earlier))
    return found


def values(record: Record) -> dict[str, dict[str, float]]:
    """Return the values behind each figure, by seed ("seed 3") or by process ("process 1")."""
    found = {
        f"{case.name}.{name}": {f"seed {run.seed}": run.metrics[name] for run in case.runs if name in run.metrics}
        for case in record.cases
        for name in case.summary
    }
    if record.profile:
        for name, own in _values_of_profile(record.profile).items():
            key = f"{record.profile.case}.{name}"
            found[f"{record.profile.case}.{OF_PROFILE}{name}" if key in found else key] = own
    return found


def _values_of_profile(profile: Profile) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for name in ("p50_us", "p90_us", "p99_us"):
        found[name] = _by_process([getattr(run, name) for run in profile.latency])
    if profile.throughput:
        best = max(profile.throughput, key=lambda row: statistics.median(row.samples_per_second))
        found["samples_per_second"] = _by_process(best.samples_per_second)
    return found | {"peak_bytes": {}, "model_bytes": {}}


def _by_process(found: Sequence[float]) -> dict[str, float]:
    return {f"process {number}": value for number, value in enumerate(found, start=1)}


def _compare(
    a: Quantity, b: Quantity, of_a: Mapping[str, float], of_b: Mapping[str, float], earlier: Sequence[float]
) -> Compared:
    """Compare one figure; ratios are compared as differences of logarithms."""
    share = b.metric.unit == SHARE or min([a.value, b.value, *of_a.values(), *of_b.values(), *earlier]) <= 0
    scale = (lambda value: value) if share else math.log
    middle = scale(b.value) - scale(a.value)
    within = _within({k: scale(v) for k, v in of_a.items()}, {k: scale(v) for k, v in of_b.items()})
    between = _between([scale(value) for value in earlier])
    known = [found for found in (within, between) if found is not None]
    half, basis = max(known) if known else (None, "one value each, and fewer than five comparable runs")
    if b.name == EXACT:
        half, basis = 0.0, "exact"
    back = (lambda value: value) if share else math.expm1
    low, high = (None, None) if half is None else (back(middle - half), back(middle + half))
    change = back(middle)
    return Compared(b, a.value, b.value, change, low, high, basis, _verdict(b, share, change, low, high))


def _within(a: Mapping[str, float], b: Mapping[str, float]) -> tuple[float, str] | None:
    """Return half of the interval that the values of the two runs give, seeds in pairs; None with too few values."""
    if len(a) < 2 or len(b) < 2:
        return None
    if a.keys() == b.keys() and all(key.startswith("seed") for key in a):
        pairs = [b[key] - a[key] for key in a]
        error = statistics.stdev(pairs) / math.sqrt(len(pairs))
        return student(len(pairs) - 1) * error, f"{len(pairs)} seeds in pairs"
    parts = [statistics.variance(one.values()) / len(one) for one in (a, b)]
    if sum(parts) == 0:
        return 0.0, _counts(a, b)
    # Welch and Satterthwaite: the degrees of freedom of two samples with different variances
    freedom = sum(parts) ** 2 / sum(part**2 / (len(one) - 1) for part, one in zip(parts, (a, b), strict=True))
    return student(math.floor(freedom)) * math.sqrt(sum(parts)), _counts(a, b)


def _counts(a: Mapping[str, float], b: Mapping[str, float]) -> str:
    what = next(iter(a)).split()[0]
    return f"{len(a)} and {len(b)} {'seeds' if what == 'seed' else 'processes'}"


def _between(earlier: Sequence[float]) -> tuple[float, str] | None:
    """Return half of the interval that the history gives: how much one run differs from the next."""
    if len(earlier) < FEWEST:
        return None
    steps = [abs(later - before) for before, later in pairwise(earlier)]
    # Two runs differ by the square root of 2 times a run's deviation; so do these steps, which no earlier change widens
    return student(len(steps)) * MAD_TO_SD * statistics.median(steps), f"{len(earlier)} comparable runs"


def student(freedom: int) -> float:
    """Return the 97.5% quantile of Student's t distribution; from 30 degrees of freedom on, that of 30."""
    return T_975[min(max(freedom, 1), len(T_975)) - 1]


def _verdict(quantity: Quantity, share: bool, change: float, low: float | None, high: float | None) -> Verdict:
    if change == 0:
        return "tie"
    if low is None or high is None:
        return "unclear"
    small = not share and 1 / (1 + SMALLEST_CHANGE) <= 1 + change <= 1 + SMALLEST_CHANGE
    if small or low <= 0 <= high:
        return "tie"
    return word_for(quantity, more=change > 0)


def word_for(quantity: Quantity, more: bool) -> Verdict:
    """Return what a figure that became more or less is called: faster, larger, better."""
    if quantity.metric.unit == "bytes":
        return "larger" if more else "smaller"
    if not quantity.better:
        return "changed"
    good = more == (quantity.better == "higher")
    if quantity.metric.unit in ("s", "us", "/s", "GOP/s", "GFLOP/s", "times"):
        return "faster" if good else "slower"
    return "better" if good else "worse"


def is_bad(verdict: Verdict) -> bool:
    """Whether a verdict is one to look at first."""
    return verdict in ("slower", "larger", "worse")
