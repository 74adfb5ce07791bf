"""Module 20: sample counts, nearest-rank percentiles, interval coverage, and verdicts that do not overclaim."""

from __future__ import annotations

import doctest
import statistics
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from tinytorch import benchmarking
from tinytorch.base.errors import SettingError
from tinytorch.benchmarking import (
    Interval,
    Measurement,
    alternate,
    bootstrap_interval,
    compare,
    measure,
    measure_interleaved,
    peak_memory,
    percentile,
    samples_needed,
)


def test_docstring_examples_run() -> None:
    assert doctest.testmod(benchmarking).failed == 0


def test_samples_needed_match_mlperf_and_are_symmetric() -> None:
    assert [samples_needed(q) for q in (50, 90, 99)] == [11, 64, 662]
    assert samples_needed(10) == samples_needed(90)


@pytest.mark.parametrize("q", [0, 100, -3])
def test_percentile_outside_its_range_is_rejected(q: float) -> None:
    with pytest.raises(SettingError, match="between 0 and 100"):
        samples_needed(q)


def test_measure_calls_warmup_and_samples_and_keeps_only_samples() -> None:
    calls = []
    measured = measure(lambda: calls.append(1), samples=7, warmup=3)
    assert len(calls) == 10
    assert measured.seconds.shape == (7,)
    assert np.all(measured.seconds >= 0)


@pytest.mark.parametrize(("samples", "warmup"), [(0, 1), (1, -1)])
def test_measure_rejects_invalid_counts(samples: int, warmup: int) -> None:
    with pytest.raises(SettingError, match="at least 1 sample"):
        measure(lambda: None, samples=samples, warmup=warmup)
    with pytest.raises(SettingError, match="at least 1 sample"):
        measure_interleaved(lambda: None, lambda: None, samples=samples, warmup=warmup)


def test_percentile_is_always_one_of_the_samples() -> None:
    samples = np.random.default_rng(0).exponential(size=101)
    ranked = np.sort(samples)
    assert percentile(samples, 90) == ranked[90]  # rank ceil(0.9 * 101) = 91, counted from 1
    assert all(percentile(samples, q) in samples for q in (1, 33, 50, 99))
    with pytest.raises(SettingError, match="no samples"):
        percentile([], 50)


def test_percentile_follows_its_rank_definition_for_every_count() -> None:
    assert percentile(range(1, 26), 28) == 7  # 0.28 * 25 is 7.000000000000001 in floats
    assert percentile(range(1, 1001), 99.9) == 999
    assert percentile(range(1, 1001), np.float64(99.9)) == 999
    for n in range(1, 121):
        for q in range(101):
            assert percentile(range(1, n + 1), q) == max(1, -(-q * n // 100))


@pytest.mark.parametrize("q", [150, -1, float("nan"), float("inf")])
def test_invalid_percentile_is_rejected(q: float) -> None:
    with pytest.raises(SettingError, match="expected a number from 0 to 100"):
        percentile([1.0, 2.0], q)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_nonfinite_samples_are_rejected(wrong: float) -> None:
    with pytest.raises(SettingError, match="NaN or infinity: 1 of 3"):
        percentile([1.0, wrong, 2.0], 50)
    with pytest.raises(SettingError, match="NaN or infinity: 1 of 3"):
        bootstrap_interval([1.0, wrong, 2.0])


def test_median_of_an_even_count_lies_between_two_samples() -> None:
    assert Measurement(np.array([4.0, 1.0, 2.0, 9.0])).median == 3.0


def test_tail_percentile_needs_enough_samples() -> None:
    measured = Measurement(np.arange(662.0))
    assert measured.percentile(99) == 655.0
    assert measured.median == statistics.median(range(662))
    with pytest.raises(SettingError, match="p99 needs 662 samples, but there are 661"):
        Measurement(np.arange(661.0)).percentile(99)


def test_bootstrap_interval_covers_the_mean_at_its_nominal_rate() -> None:
    rng = np.random.default_rng(1)
    draws = [rng.normal(5.0, 1.0, 30) for _ in range(100)]
    covered = sum(5.0 in bootstrap_interval(draw, np.mean) for draw in draws)
    assert 87 <= covered <= 99  # 95% of 100 is 95; the percentile bootstrap of 30 samples is a little narrow


def test_bootstrap_interval_has_the_width_of_its_confidence() -> None:
    samples = np.random.default_rng(8).normal(3.0, 2.0, 400)
    error = samples.std() / 20  # of the mean of 400 samples
    for confidence, widths in ((0.95, 1.96), (0.5, 0.674)):
        interval = bootstrap_interval(samples, np.mean, confidence=confidence)
        assert interval.high - samples.mean() == pytest.approx(widths * error, rel=0.1)
        assert samples.mean() - interval.low == pytest.approx(widths * error, rel=0.1)


def test_bootstrap_draws_whole_rows() -> None:
    rows = np.random.default_rng(9).normal(size=(12, 1)) + np.array([0.0, 5.0])  # the first column, plus 5

    def distance(drawn: np.ndarray, axis: int) -> np.ndarray:
        means = drawn.mean(axis=axis)
        return means[..., 1] - means[..., 0]

    interval = bootstrap_interval(rows, distance)
    assert interval.low == pytest.approx(5)
    assert interval.high == pytest.approx(5)


def test_bootstrap_interval_repeats_with_its_seed_and_widens_with_confidence() -> None:
    samples = np.random.default_rng(2).normal(size=40)
    narrow, wide = bootstrap_interval(samples, confidence=0.8), bootstrap_interval(samples, confidence=0.99)
    assert narrow == bootstrap_interval(samples, confidence=0.8)
    assert bootstrap_interval(samples, np.mean) == bootstrap_interval(samples, np.mean)  # a median repeats by chance
    assert bootstrap_interval(samples, np.mean, seed=1) != bootstrap_interval(samples, np.mean, seed=2)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_bootstrap_interval_rejects_invalid_arguments() -> None:
    with pytest.raises(SettingError, match="at least 2 samples"):
        bootstrap_interval([1.0])
    with pytest.raises(SettingError, match="confidence"):
        bootstrap_interval([1.0, 2.0], confidence=1.0)


def test_compare_reports_faster_or_slower_and_the_ratio() -> None:
    rng = np.random.default_rng(3)
    reference = rng.normal(1.0, 0.01, 15)
    twice = compare(reference / 2, reference)
    assert twice.verdict == "faster"
    assert twice.ratio == pytest.approx(2.0)
    assert compare(reference * 2, reference).verdict == "slower"


def test_compare_does_not_call_a_small_or_uncertain_effect_faster() -> None:
    rng = np.random.default_rng(4)
    reference = rng.normal(1.0, 0.001, 15)
    one_percent = compare(reference / 1.01, reference)
    assert one_percent.interval.low > 1
    assert one_percent.verdict == "tie"
    slower = compare(reference * 1.01, reference)
    assert slower.interval.high < 1
    assert slower.verdict == "tie"
    noisy = rng.normal(1.0, 0.5, 6).clip(0.1)
    assert compare(noisy * 0.95, noisy[::-1]).verdict == "tie"


def test_comparison_of_equal_candidates_is_almost_always_a_tie() -> None:
    rng = np.random.default_rng(5)
    verdicts = [compare(*rng.lognormal(0, 0.05, (2, 11))).verdict for _ in range(50)]
    assert verdicts.count("tie") >= 45


def test_compare_cancels_slowdowns_of_both_candidates() -> None:
    rng = np.random.default_rng(6)
    drift = np.linspace(1.0, 3.0, 15)  # the machine becomes three times as slow during the run
    reference = drift * rng.normal(1.0, 0.002, 15)
    assert compare(reference / 1.1, reference).verdict == "faster"


@pytest.mark.parametrize(
    ("candidate", "reference", "reason"),
    [
        ([1.0] * 5, [1.0] * 6, "expected one of each per round"),
        ([1.0] * 4, [1.0] * 4, "at least 5 rounds"),
        ([1.0] * 4 + [0.0], [1.0] * 5, "above zero"),
        ([1.0] * 5, [1.0] * 4 + [float("nan")], "finite"),
    ],
)
def test_compare_rejects_incomparable_samples(candidate: list[float], reference: list[float], reason: str) -> None:
    with pytest.raises(SettingError, match=reason):
        compare(candidate, reference)


def test_alternate_swaps_the_first_candidate_each_round() -> None:
    calls: list[str] = []

    def candidate(name: str, result: int) -> Callable[[], int]:
        def call() -> int:
            calls.append(name)
            return result

        return call

    results = alternate(candidate("a", 1), candidate("b", 2), rounds=3)
    assert "".join(calls) == "abbaab"
    assert results == ([1, 1, 1], [2, 2, 2])


def test_measure_interleaved_distinguishes_slow_from_fast() -> None:
    slow, quick = measure_interleaved(lambda: sum(range(20_000)), lambda: None, samples=9, warmup=1)
    assert len(slow.seconds) == len(quick.seconds) == 9
    assert slow.median > quick.median


def test_measure_interleaved_never_runs_a_function_twice_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each function has its own cache: a call costs 1 us right after itself (warm) and 2 us after the other."""
    now, last = [0], [""]

    def with_cache(name: str) -> Callable[[], None]:
        def call() -> None:
            now[0] += 1000 if last[0] == name else 2000
            last[0] = name

        return call

    monkeypatch.setattr(benchmarking, "perf_counter_ns", lambda: now[0])
    for warmup in (0, 1, 4):
        last[0] = ""
        for measured in measure_interleaved(with_cache("a"), with_cache("b"), samples=50, warmup=warmup):
            np.testing.assert_allclose(measured.seconds, 2e-6)


def test_interval_contains_its_ends() -> None:
    assert 1.0 in Interval(1.0, 2.0)
    assert 2.1 not in Interval(1.0, 2.0)


def test_peak_memory_counts_memory_allocated_at_the_same_time() -> None:
    def two_in_turn() -> None:
        for _ in range(2):
            np.ones(10**5)  # the first is freed when the second is allocated

    def two_at_once() -> float:
        return float((np.ones(10**5) + np.ones(10**5)).sum())

    one, both = peak_memory(two_in_turn), peak_memory(two_at_once)
    assert 8e5 <= one < 1.2e6
    assert 1.6e6 <= both < 3e6


def test_peak_memory_reraises_an_error_and_stops_tracing() -> None:
    with pytest.raises(ZeroDivisionError):
        peak_memory(lambda: 1 / 0)
    assert not tracemalloc.is_tracing()
