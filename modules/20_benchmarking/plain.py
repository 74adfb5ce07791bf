"""The plain answer to module 20, for the course's own proof."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinytorch.base.errors import SettingError
from tinytorch.benchmarking import (
    RESAMPLES,
    SMALLEST_EFFECT,
    Comparison,
    Interval,
    Measurement,
    Result,
    Samples,
    _check_counts,
    _finite,
    _rounds,
    _time,
)


def samples_needed(q: float) -> int:
    if not 0 < q < 100:
        raise SettingError(f"percentile {q:g}: expected a number between 0 and 100, both excluded")
    p = q / 100
    if p < 0.5:
        p = (100 - q) / 100
    n = 2
    while True:
        none_beyond = p**n
        one_beyond = n * p ** (n - 1) * (1 - p)
        if none_beyond + one_beyond <= 0.01:
            return n
        n += 1


def measure(f: Callable[[], object], *, samples: int, warmup: int) -> Measurement:
    _check_counts(samples, warmup)
    for _ in range(warmup):
        f()
    seconds = []
    while len(seconds) < samples:
        seconds.append(_time(f))
    return Measurement(np.array(seconds))


def percentile(samples: Samples, q: float) -> float:
    values = _finite(samples)
    if len(values) == 0:
        raise SettingError("a percentile needs at least 1 sample, but there are no samples")
    if not 0 <= q <= 100:
        raise SettingError(f"percentile {q:g}: expected a number from 0 to 100")
    ordered = sorted(values.tolist())
    n = len(ordered)
    for rank in range(1, n + 1):
        if round(rank * 100 - q * n, 6) >= 0:
            return ordered[rank - 1]
    return ordered[-1]


def bootstrap_interval(
    samples: Samples,
    statistic: Callable[..., np.ndarray] = np.median,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    values = _finite(samples)
    if len(values) < 2:
        raise SettingError(f"an interval needs at least 2 samples, but there are {len(values)}")
    if not 0 < confidence < 1:
        raise SettingError(f"confidence {confidence:g}: expected a number between 0 and 1, both excluded")
    rng = np.random.default_rng(seed)
    n = len(values)
    drawn = values[rng.choice(n, (RESAMPLES, n))]
    ordered = np.sort(statistic(drawn, axis=1))
    tail = (1 - confidence) / 2
    low = ordered[int(tail * (RESAMPLES - 1))]
    high = ordered[int((1 - tail) * (RESAMPLES - 1))]
    return Interval(float(low), float(high))


def compare(candidate: Samples, reference: Samples, *, confidence: float = 0.95, seed: int = 0) -> Comparison:
    rounds = _rounds(candidate, reference)
    ratio = float(np.median(rounds[:, 1]) / np.median(rounds[:, 0]))

    def speedup(table: np.ndarray, axis: int) -> np.ndarray:
        middle = np.median(table, axis=axis)
        return middle[..., 1] / middle[..., 0]

    interval = bootstrap_interval(rounds, speedup, confidence=confidence, seed=seed)
    if ratio > 1 + SMALLEST_EFFECT and interval.low > 1:
        return Comparison(ratio, interval, "faster")
    if 1 / ratio > 1 + SMALLEST_EFFECT and interval.high < 1:
        return Comparison(ratio, interval, "slower")
    return Comparison(ratio, interval, "tie")


def alternate(a: Callable[[], Result], b: Callable[[], Result], *, rounds: int) -> tuple[list[Result], list[Result]]:
    from_a, from_b = [], []
    a_first = True
    for _ in range(rounds):
        if a_first:
            from_a.append(a())
        from_b.append(b())
        if not a_first:
            from_a.append(a())
        a_first = not a_first
    return from_a, from_b
