"""The tests that decide ranks: calibrated, repeatable, and the shortcuts give the bootstrap's own answers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.compete.sample import make_children, make_quality, make_receipt
from tinytorch.benchmarking import compare
from tito.compete.intervals import Accuracy, Latency, Loss, latency_of, qualities_of
from tito.compete.receipt import Quality, Receipt, pack_items


def latency(receipt: Receipt) -> Latency:
    found = latency_of(receipt)
    assert found
    return found


def loss(losses: np.ndarray) -> Loss:
    packed = pack_items("loss", losses)
    made = Quality(
        metric="loss",
        value=float(losses.mean()),
        reference=0,
        lost=0,
        items=len(losses),
        own_items=packed,
        reference_items=packed,
    )
    (found,) = qualities_of([made])
    assert isinstance(found, Loss)
    return found


def accuracy(correct: np.ndarray) -> Accuracy:
    return Accuracy(float(correct.mean()), np.packbits(correct.astype(bool)), len(correct))


# ---- latency


def test_the_ratio_and_its_interval_are_those_of_the_benchmarking_module() -> None:
    receipt = make_receipt(noise=0.03)
    own = [child.own.p50_us for child in receipt.times]
    reference = [child.reference.p50_us for child in receipt.times]
    expected, found = compare(own, reference), latency(receipt)
    assert found.ratio == pytest.approx(expected.ratio)
    assert (found.interval.low, found.interval.high) == pytest.approx(
        (expected.interval.low, expected.interval.high), rel=0.01
    )


def test_too_few_processes_are_no_measurement() -> None:
    times = make_children(np.random.default_rng(0), 2.0, children=10)
    assert latency_of(make_receipt(times=times)) is None


def test_a_faster_entry_beats_and_is_not_beaten() -> None:
    fast, slow = latency(make_receipt("a/a", speedup=2.2)), latency(make_receipt("b/b", seed=1, speedup=2.0))
    assert fast.beats(slow)
    assert not slow.beats(fast)


def test_two_percent_is_no_victory_however_small_the_noise() -> None:
    first = latency(make_receipt("a/a", speedup=1.018, noise=1e-6))
    second = latency(make_receipt("b/b", seed=1, speedup=1.0, noise=1e-6))
    assert first.interval.low > second.interval.high
    assert not first.beats(second)


def test_a_gain_within_the_noise_is_a_tie() -> None:
    first = latency(make_receipt("a/a", speedup=1.1, noise=0.3))
    second = latency(make_receipt("b/b", seed=1, speedup=1.0, noise=0.3))
    assert not first.beats(second)
    assert not second.beats(first)


def test_equal_entries_seldom_beat_each_other() -> None:
    found = [latency(make_receipt(f"a/{i}", seed=i, noise=0.02, items=8)) for i in range(120)]
    wins = [a.beats(b) for a, b in itertools.pairwise(found)]
    assert sum(wins) <= 0.05 * len(wins)
    slower = [latency(make_receipt(f"b/{i}", seed=200 + i, noise=0.02, items=8, speedup=2.25)) for i in range(120)]
    assert sum(a.beats(b) for a, b in zip(found, slower, strict=True)) >= 0.95 * len(slower)


def test_the_quick_answer_is_the_bootstrap_s_answer() -> None:
    fast, slow = latency(make_receipt("a/a", speedup=3)), latency(make_receipt("b/b", seed=1, speedup=2))
    assert fast.draws.min() > slow.draws.max()  # where the quick answer is given
    assert np.quantile(fast.draws / slow.draws, 0.025) > 1
    assert fast.beats(slow)


# ---- quality


@given(
    st.integers(30, 3000).flatmap(
        lambda n: st.tuples(st.just(n), st.integers(0, min(n, 60)), st.integers(0, min(n, 60)))
    )
)
@settings(max_examples=150, deadline=None)
def test_accuracy_s_shortcuts_agree_with_the_draws(numbers: tuple[int, int, int]) -> None:
    n, won, lost = numbers
    won, lost = min(won, n // 2), min(lost, n // 2)
    own, other = np.ones(n, bool), np.ones(n, bool)
    other[:won] = False
    own[n - lost :] = False
    differences = own.astype(float) - other
    chosen = np.random.default_rng(1).integers(0, n, size=(2000, n))
    drawn = differences[chosen].sum(axis=1)
    share = float((drawn <= 0).mean())  # of draws in which the entry does not win
    found = accuracy(own).beats(accuracy(other))
    if share < 0.015:
        assert found
    if share > 0.035:
        assert not found


@given(st.integers(0, 10**6), st.integers(30, 300), st.floats(-0.05, 0.15))
@settings(max_examples=60, deadline=None)
def test_loss_agrees_with_other_draws(seed: int, n: int, gain: float) -> None:
    rng = np.random.default_rng(seed)
    other = rng.normal(3, 0.5, n)
    own = other - rng.normal(gain, 0.2, n)
    own, other = own.astype("<f4").astype(float), other.astype("<f4").astype(float)
    chosen = np.random.default_rng(1).integers(0, n, size=(2000, n))
    share = float(((other - own)[chosen].sum(axis=1) <= 0).mean())
    found = loss(own).beats(loss(other))
    if share < 0.015:
        assert found
    if share > 0.035:
        assert not found


def test_pairs_decide_where_the_intervals_overlap() -> None:
    """Both are wrong on nearly the same images: unpaired intervals overlap, the pairs are clear."""
    base = np.arange(10_000) >= 120
    worse = np.arange(10_000) >= 140
    better, lesser = accuracy(base), accuracy(worse)
    assert better.interval.low < lesser.interval.high
    assert better.beats(lesser)
    assert not lesser.beats(better)


def test_equal_errors_on_other_images_tie() -> None:
    first, second = np.arange(10_000) >= 120, np.arange(10_000) < 10_000 - 125
    assert not accuracy(first).beats(accuracy(second))
    assert not accuracy(second).beats(accuracy(first))


def test_less_loss_is_better() -> None:
    losses = np.random.default_rng(0).normal(3, 0.5, 200)
    good, same, bad = loss(losses), loss(losses), loss(losses + 0.01)
    assert good.interval.low < good.value < good.interval.high
    assert not good.beats(same)  # bit for bit the same losses
    assert good.beats(bad)
    assert not bad.beats(good)
    noisy = loss(losses + np.random.default_rng(1).normal(0.001, 0.5, 200))
    assert not good.beats(noisy)


def test_results_on_other_items_do_not_compare() -> None:
    rng = np.random.default_rng(0)
    made = [make_quality(rng, 0.0, 800), make_quality(rng, 0.0, 400), make_quality(rng, -1.0, 400, "loss")]
    made.append(make_quality(rng, -9.0, 300, "loss"))
    found = qualities_of(made)
    assert [type(one) for one in found] == [Accuracy, Accuracy, Loss, Loss]
    assert not any(a.beats(b) for a in found for b in found)


def test_quality_s_interval_is_the_binomial_one() -> None:
    found = accuracy(np.arange(10_000) >= 500).interval
    half = 1.96 * (0.95 * 0.05 / 10_000) ** 0.5
    assert (found.low, found.high) == pytest.approx((0.95 - half, 0.95 + half), abs=3e-4)
