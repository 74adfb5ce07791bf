"""Measuring honestly: raw samples, percentiles with enough samples behind them, intervals, comparisons.

In order: time one function, read percentiles, put an interval around a statistic, compare two candidates.
Nothing here prints or decides what to run. Times are seconds, as `time.perf_counter_ns` counts them.
"""

from __future__ import annotations

import gc
import math
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypeVar

import numpy as np

from tinytorch.base.errors import SettingError

__all__ = [
    "Comparison",
    "Interval",
    "Measurement",
    "alternate",
    "bootstrap_interval",
    "compare",
    "measure",
    "measure_interleaved",
    "peak_memory",
    "percentile",
    "samples_needed",
]

Result = TypeVar("Result")
Samples = Sequence[float] | np.ndarray

SMALLEST_EFFECT = 0.02  # below 2% a different memory layout of the same code already makes a difference
FEWEST_ROUNDS = 5  # with fewer, "all rounds agree" happens by chance more often than once in 16
RESAMPLES = 4000  # the ends of a 95% interval then move by less than the samples' own noise


@dataclass(frozen=True)
class Measurement:
    """The raw samples of one measured function, in the order they were taken."""

    seconds: np.ndarray  # (samples,)

    @property
    def median(self) -> float:
        """The middle sample, or the mean of the two in the middle: half of all calls took no longer."""
        return float(np.median(self.seconds))

    def percentile(self, q: float) -> float:
        """The q-th percentile (see `percentile`), if there are enough samples for it.

        Raises:
            SettingError: fewer samples than `samples_needed(q)`.
        """
        needed = samples_needed(q)
        if len(self.seconds) < needed:
            raise SettingError(f"p{q:g} needs {needed} samples, there are {len(self.seconds)}")
        return percentile(self.seconds, q)


def samples_needed(q: float) -> int:
    """How many samples the q-th percentile needs before it means something.

    A sample lies beyond the true percentile p = q/100 with chance 1 - p, so the number X of samples beyond
    it is binomial, and the smallest n is taken with

        P(X <= 1) = p^n + n p^(n-1) (1 - p) <= 1%

    that is, with 99% confidence at least two samples really lie in the tail. It is symmetric: p10 needs as
    many as p90.

    Source: MLPerf Inference rules, early stopping, whose minimum counts these are (64 for p90, 662 for p99).

    >>> samples_needed(90), samples_needed(99)
    (64, 662)
    """
    if not 0 < q < 100:
        raise SettingError(f"percentile {q:g}: expected a number between 0 and 100, both excluded")
    p = max(q, 100 - q) / 100
    n = 1
    while p**n + n * p ** (n - 1) * (1 - p) > 0.01:
        n += 1
    return n


def measure(f: Callable[[], object], *, samples: int, warmup: int) -> Measurement:
    """Call `f` `warmup` times unmeasured, then `samples` times with the clock on, and keep every sample.

    The first calls fill caches and let the processor speed up, so they don't count. The garbage collector
    stays on, for it runs in real use as well.
    """
    _check_counts(samples, warmup)
    for _ in range(warmup):
        f()
    return Measurement(np.array([_time(f) for _ in range(samples)]))


def percentile(samples: Samples, q: float) -> float:
    """The q-th percentile by nearest rank: the smallest sample that at least q% of all samples don't exceed.

    It is always one of the samples, never a value between two that nobody measured. The rank, ceil(q n / 100), is
    worked out exactly: in floats 28% of 25 is a little more than 7.

    Raises:
        SettingError: no samples, one that is NaN or infinite, or a q that is not 0 to 100.

    >>> percentile([4.0, 1.0, 3.0, 2.0], 75)
    3.0
    """
    values = _finite(samples)
    if len(values) == 0:
        raise SettingError("a percentile of no samples")
    if not 0 <= q <= 100:
        raise SettingError(f"percentile {q:g}: expected a number from 0 to 100")
    rank = max(1, math.ceil(Fraction(str(q)) * len(values) / 100))
    return float(np.sort(values)[rank - 1])


@dataclass(frozen=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def bootstrap_interval(
    samples: Samples,
    statistic: Callable[..., np.ndarray] = np.median,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The percentile bootstrap: how far `statistic` moves if the same experiment were run again.

    Draw n samples with replacement, take the statistic, do it many times; the interval runs from the
    (1 - confidence)/2 quantile of those values to the (1 + confidence)/2 quantile.

    Args:
        samples: (n,) independent values, or (n, k) rows that belong together and are drawn together.
        statistic: a NumPy reduction that takes `axis`, such as np.median or np.mean.
        seed: makes the drawn samples, and so the interval, repeatable.

    Raises:
        SettingError: fewer than two samples, one that is NaN or infinite, or a confidence that is not between 0 and 1.

    Source: Efron, "Bootstrap Methods: Another Look at the Jackknife", Annals of Statistics 7, 1979.
    """
    values = _finite(samples)
    if len(values) < 2:
        raise SettingError(f"an interval needs at least 2 samples, there are {len(values)}")
    if not 0 < confidence < 1:
        raise SettingError(f"confidence {confidence:g}: expected a number between 0 and 1, both excluded")
    rng = np.random.default_rng(seed)
    drawn = values[rng.integers(0, len(values), size=(RESAMPLES, len(values)))]  # (R, n) or (R, n, k)
    statistics = statistic(drawn, axis=1)
    low, high = np.quantile(statistics, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


@dataclass(frozen=True)
class Comparison:
    """How many times as fast a candidate is as a reference: above 1 it is faster."""

    ratio: float
    interval: Interval
    verdict: Literal["faster", "slower", "tie"]


def compare(candidate: Samples, reference: Samples, *, confidence: float = 0.95, seed: int = 0) -> Comparison:
    """Compare two candidates by one time for each fresh process of either, taken in alternating order.

        ratio = median(reference) / median(candidate)

    Candidate i and reference i ran one after the other, so the bootstrap draws whole rounds: what slowed the
    machine for a while slowed both and cancels. "faster" is said only if the interval excludes 1 and the
    effect exceeds 2%; so is "slower"; all else is a tie.

    A process is one sample, however many calls it timed: calls within one process share its memory layout
    and are not independent (Georges et al., "Statistically Rigorous Java Performance Evaluation", 2007).

    Raises:
        SettingError: unequal counts, fewer than 5 rounds, or a time that is not positive.
    """
    rounds = _rounds(candidate, reference)
    ratio = float(_ratio_of_medians(rounds, axis=0))
    interval = bootstrap_interval(rounds, _ratio_of_medians, confidence=confidence, seed=seed)
    verdict: Literal["faster", "slower", "tie"] = "tie"
    if interval.low > 1 and ratio > 1 + SMALLEST_EFFECT:
        verdict = "faster"
    elif interval.high < 1 and ratio < 1 / (1 + SMALLEST_EFFECT):
        verdict = "slower"
    return Comparison(ratio, interval, verdict)


def alternate(a: Callable[[], Result], b: Callable[[], Result], *, rounds: int) -> tuple[list[Result], list[Result]]:
    """Call both once a round, in the order a b, b a, a b, ..., and give the two lists of results.

    Whatever drifts (temperature, other programs) then falls on both alike, and neither always goes first.
    """
    results_a: list[Result] = []
    results_b: list[Result] = []
    for i in range(rounds):
        if i % 2 == 0:
            results_a.append(a())
            results_b.append(b())
        else:
            results_b.append(b())
            results_a.append(a())
    return results_a, results_b


def measure_interleaved(
    a: Callable[[], object], b: Callable[[], object], *, samples: int, warmup: int
) -> tuple[Measurement, Measurement]:
    """Time single calls of two functions in the strict order a, b, a, b, ...

    Neither ever follows itself, so each finds the caches as the other left them. The order a b, b a of `alternate`
    would let half of the calls follow themselves and find their weights in the cache (9.2 against 11.5 us for one
    INT8 query): the median would then depend on which half it falls into. That order is for fresh processes.
    """
    _check_counts(samples, warmup)
    for _ in range(warmup):
        a()
        b()
    times = np.array([(_time(a), _time(b)) for _ in range(samples)])  # (samples, 2)
    return Measurement(times[:, 0]), Measurement(times[:, 1])


def peak_memory(f: Callable[[], object]) -> int:
    """The most bytes that were allocated at one moment of a call of `f`, above what was there before it.

    NumPy tells Python's tracemalloc of every array, so this counts arrays and Python's own objects to the byte,
    and nothing that a library allocates for itself. The call runs slower than it would: time it apart.

    >>> import numpy as np
    >>> peak_memory(lambda: np.zeros(10**6)) > 8 * 10**6
    True
    """
    gc.collect()
    began_here = not tracemalloc.is_tracing()
    if began_here:
        tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        kept = f()
        _, peak = tracemalloc.get_traced_memory()
        del kept
    finally:
        if began_here:
            tracemalloc.stop()
    return max(0, peak - before)


def _time(f: Callable[[], object]) -> float:
    start = time.perf_counter_ns()
    f()
    return (time.perf_counter_ns() - start) * 1e-9


def _finite(samples: Samples) -> np.ndarray:
    values = np.asarray(samples, dtype=float)
    if not np.isfinite(values).all():
        raise SettingError(
            f"samples that are NaN or infinite: {np.count_nonzero(~np.isfinite(values))} of {values.size}"
        )
    return values


def _check_counts(samples: int, warmup: int) -> None:
    if samples < 1 or warmup < 0:
        raise SettingError(f"samples={samples}, warmup={warmup}: expected at least 1 sample and 0 warm-ups")


def _rounds(candidate: Samples, reference: Samples) -> np.ndarray:
    """The two lists side by side, (rounds, 2), checked."""
    if len(candidate) != len(reference):
        raise SettingError(f"{len(candidate)} candidate times against {len(reference)}: run them in rounds")
    if len(candidate) < FEWEST_ROUNDS:
        raise SettingError(f"a comparison needs at least {FEWEST_ROUNDS} rounds, there are {len(candidate)}")
    rounds = np.stack([np.asarray(candidate, dtype=float), np.asarray(reference, dtype=float)], axis=1)
    if not np.all(np.isfinite(rounds) & (rounds > 0)):
        raise SettingError("a comparison needs times that are finite and above zero")
    return rounds


def _ratio_of_medians(rounds: np.ndarray, axis: int) -> np.ndarray:
    medians = np.median(rounds, axis=axis)  # (..., 2): candidate, reference
    return medians[..., 1] / medians[..., 0]
