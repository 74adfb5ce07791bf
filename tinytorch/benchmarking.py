"""Module 20: benchmarking. Time samples, percentiles, confidence intervals, comparisons, and memory.

In order: time one function, compute percentiles from enough samples, compute a confidence interval of a statistic,
compare two candidates, measure memory. This file does not print, and does not choose what to run. Times are in
seconds, measured with `time.perf_counter_ns`.
"""

from __future__ import annotations

import gc
import math
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from time import perf_counter_ns  # bound here: what is timed may replace the names in `time`
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

SMALLEST_EFFECT = 0.02  # a different memory layout of the same code can make a difference of up to 2%
FEWEST_ROUNDS = 5  # with fewer rounds, the probability that all agree by chance exceeds 1/16
RESAMPLES = 4000  # enough for the ends of a 95% interval to vary less than the noise of the samples


@dataclass(frozen=True)
class Measurement:
    """All time samples of one function, in the order in which they were measured."""

    seconds: np.ndarray  # (samples,)

    @property
    def median(self) -> float:
        """The middle sample, or the mean of the two middle ones: half of all calls took no longer."""
        return float(np.median(self.seconds))

    def percentile(self, q: float) -> float:
        """Return the q-th percentile (see the function `percentile`).

        Raises:
            SettingError: there are fewer samples than `samples_needed(q)`.
        """
        needed = samples_needed(q)
        if len(self.seconds) < needed:
            raise SettingError(f"p{q:g} needs {needed} samples, but there are {len(self.seconds)}")
        return percentile(self.seconds, q)


def samples_needed(q: float) -> int:
    """Return the number of samples that a meaningful q-th percentile requires.

    A sample exceeds the true percentile p = q/100 with probability 1 - p, so the number X of samples beyond it has a
    binomial distribution. The result is the smallest n with

        P(X <= 1) = p^n + n p^(n-1) (1 - p) <= 1%

    With 99% confidence, at least two samples are then in the tail. The requirement is symmetric: p10 needs as many
    samples as p90.

    Source: MLPerf Inference rules, early stopping, which has the same minimum counts (64 for p90, 662 for p99).

    Raises:
        SettingError: q is not between 0 and 100, both excluded.

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
    """Call `f` `warmup` times without measuring, then time `samples` calls, and return all samples.

    The first calls fill caches and let the processor speed up, so they are not measured. The garbage collector stays
    on, because it also runs in real use. `_time(f)` returns the seconds of one call.
    """
    _check_counts(samples, warmup)
    for _ in range(warmup):
        f()
    return Measurement(np.array([_time(f) for _ in range(samples)]))


def percentile(samples: Samples, q: float) -> float:
    """Return the q-th percentile by nearest rank: the smallest sample that at least q% of all samples do not exceed.

    It is always one of the n samples, never an interpolated value. The rank ceil(q n / 100), at least 1, is computed
    with fractions: in floating point, 28% of 25 is slightly more than 7.

    Raises:
        SettingError: there are no samples, a sample is NaN or infinite, or q is not 0 to 100.

    >>> percentile([4.0, 1.0, 3.0, 2.0], 75)
    3.0
    """
    values = _finite(samples)
    if len(values) == 0:
        raise SettingError("a percentile needs at least 1 sample, but there are no samples")
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
    """Return a confidence interval of `statistic` by the percentile bootstrap.

    It estimates how much the statistic would vary if the experiment were repeated. Draw n samples with replacement and
    compute the statistic; repeat this RESAMPLES times. The interval extends from the (1 - confidence)/2 quantile of
    these values to the (1 + confidence)/2 quantile. All draws come from one generator with the seed `seed`.

    Args:
        samples: (n,) independent values, or (n, k) independent rows, which are drawn as a whole.
        statistic: a NumPy reduction that accepts `axis`, such as np.median or np.mean.
        seed: makes the drawn samples, and therefore the interval, reproducible.

    Raises:
        SettingError: there are fewer than two samples, a sample is NaN or infinite, or confidence is not between 0
            and 1.

    Source: Efron, "Bootstrap Methods: Another Look at the Jackknife", Annals of Statistics 7, 1979.
    """
    values = _finite(samples)
    if len(values) < 2:
        raise SettingError(f"an interval needs at least 2 samples, but there are {len(values)}")
    if not 0 < confidence < 1:
        raise SettingError(f"confidence {confidence:g}: expected a number between 0 and 1, both excluded")
    rng = np.random.default_rng(seed)
    drawn = values[rng.integers(0, len(values), size=(RESAMPLES, len(values)))]  # (R, n) or (R, n, k)
    statistics = statistic(drawn, axis=1)
    low, high = np.quantile(statistics, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


@dataclass(frozen=True)
class Comparison:
    """How many times as fast as a reference a candidate is. Above 1, the candidate is faster."""

    ratio: float
    interval: Interval
    verdict: Literal["faster", "slower", "tie"]


def compare(candidate: Samples, reference: Samples, *, confidence: float = 0.95, seed: int = 0) -> Comparison:
    """Compare a candidate with a reference, given one time for each fresh process, measured in alternating order.

        ratio = median(reference) / median(candidate)

    Candidate i and reference i ran one after the other. The bootstrap draws whole rounds (`_rounds` returns them as
    rows, `_ratio_of_medians` is the statistic), so anything that slowed the machine for a while slowed both, and
    cancels. The verdict is "faster" or "slower" only if the interval of the ratio
    excludes 1 and the effect exceeds 2% (ratio > 1.02 or ratio < 1/1.02); otherwise it is a tie.

    A process is one sample, no matter how many calls it timed: calls within one process share its memory layout and
    are not independent (Georges et al., "Statistically Rigorous Java Performance Evaluation", 2007).

    Raises:
        SettingError: the counts differ, there are fewer than 5 rounds, or a time is not finite and positive.
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
    """Call both functions once per round, in the order a b, b a, a b, ..., and return their two lists of results.

    Drift (temperature, other programs) then affects both alike, and neither always runs first.
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

    No call follows a call of the same function, so each finds the caches in the state that the other function left.
    With the order a b, b a of `alternate`, half of the calls would follow a call of the same function and find their
    weights in the cache (9.2 µs against 11.5 µs for one INT8 query), and the median would depend on which half it
    falls into. That order is for fresh processes.
    """
    _check_counts(samples, warmup)
    for _ in range(warmup):
        a()
        b()
    times = np.array([(_time(a), _time(b)) for _ in range(samples)])  # (samples, 2)
    return Measurement(times[:, 0]), Measurement(times[:, 1])


def peak_memory(f: Callable[[], object]) -> int:
    """Return the peak number of bytes allocated during a call of `f`, minus the bytes allocated before it.

    NumPy reports every array to Python's tracemalloc, so arrays and Python objects are counted exactly. Memory that a
    library allocates by other means is not counted. Tracing slows the call down, so time it separately.

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
    """Return the seconds that one call of f takes."""
    start = perf_counter_ns()
    f()
    return (perf_counter_ns() - start) * 1e-9


def _finite(samples: Samples) -> np.ndarray:
    """Return the samples as a float array, after checking that all of them are finite."""
    values = np.asarray(samples, dtype=float)
    if not np.isfinite(values).all():
        raise SettingError(
            f"samples contain NaN or infinity: {np.count_nonzero(~np.isfinite(values))} of {values.size}"
        )
    return values


def _check_counts(samples: int, warmup: int) -> None:
    if samples < 1 or warmup < 0:
        raise SettingError(f"samples={samples}, warmup={warmup}: expected at least 1 sample and 0 warm-up calls")


def _rounds(candidate: Samples, reference: Samples) -> np.ndarray:
    """Return the times as an array (rounds, 2) with columns candidate and reference, after checking them."""
    if len(candidate) != len(reference):
        raise SettingError(f"{len(candidate)} candidate times against {len(reference)}: expected one of each per round")
    if len(candidate) < FEWEST_ROUNDS:
        raise SettingError(f"a comparison needs at least {FEWEST_ROUNDS} rounds, but there are {len(candidate)}")
    rounds = np.stack([np.asarray(candidate, dtype=float), np.asarray(reference, dtype=float)], axis=1)
    if not np.all(np.isfinite(rounds) & (rounds > 0)):
        raise SettingError("a comparison needs times that are finite and above zero")
    return rounds


def _ratio_of_medians(rounds: np.ndarray, axis: int) -> np.ndarray:
    """Return median(reference) / median(candidate) of rounds whose last dimension is (candidate, reference)."""
    medians = np.median(rounds, axis=axis)  # (..., 2): candidate, reference
    return medians[..., 1] / medians[..., 0]
