"""tito.bench.statistics: against published figures, exhaustive sums, and the error rates that the tests promise."""

from __future__ import annotations

import doctest
import itertools
import math

import numpy as np
import pytest

from tito.bench import statistics
from tito.bench.statistics import CONFIDENT, mcnemar, paired_test, sign_flips, wilson


def test_examples_in_docstrings_are_true() -> None:
    assert doctest.testmod(statistics).failed == 0


@pytest.mark.parametrize(
    ("successes", "items", "low", "high"),
    # Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17, 1998, table I
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_interval_is_the_published_one(successes: int, items: int, low: float, high: float) -> None:
    assert wilson(successes / items, items) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("items", [1, 10, 10_000])
def test_wilsons_interval_stays_within_0_and_1_and_is_never_empty(items: int) -> None:
    for share in (0.0, 1.0):
        low, high = wilson(share, items)
        assert 0 <= low < high <= 1
        assert low <= share <= high


@pytest.mark.parametrize("pair", list(itertools.product(range(7), repeat=2)))
def test_mcnemar_is_the_sum_over_all_outcomes_at_least_as_unlikely(pair: tuple[int, int]) -> None:
    n = sum(pair)
    likely = [math.comb(n, k) / 2**n for k in range(n + 1)]
    expected = sum(p for p in likely if p <= likely[pair[0]] * (1 + 1e-9))
    assert mcnemar(*pair) == pytest.approx(min(1.0, expected))


def test_mcnemar_handles_thousands_of_disagreements() -> None:
    assert mcnemar(5000, 5000) == 1
    assert 0 < mcnemar(5400, 4600) < 1e-14


def test_two_of_ten_thousand_images_are_no_difference_and_two_hundred_are() -> None:
    shared = list(range(100))
    first = {"wrong": [float(i) for i in shared], "items": [10_000.0]}
    second = {"wrong": [float(i) for i in [*shared, 200, 201]], "items": [10_000.0]}
    found = paired_test(first, second)
    assert found is not None
    assert found.difference == pytest.approx(-2e-4)
    assert (found.p, found.differ) == (0.5, False)
    many = {"wrong": [float(i) for i in range(300)], "items": [10_000.0]}
    found = paired_test(many, first)
    assert found is not None
    assert found.differ
    assert found.difference == pytest.approx(0.02)


def test_the_same_losses_are_no_difference_and_a_small_steady_gain_is_one() -> None:
    rng = np.random.default_rng(0)
    losses = rng.normal(4, 0.5, 500)
    same = paired_test({"losses": losses.tolist()}, {"losses": losses.tolist()})
    assert same is not None
    assert (same.difference, same.p) == (0, 1)
    worse = paired_test({"losses": (losses + rng.normal(0.01, 0.02, 500)).tolist()}, {"losses": losses.tolist()})
    assert worse is not None
    assert worse.differ
    assert worse.difference == pytest.approx(0.01, abs=0.003)


def test_equally_good_models_differ_in_about_1_of_20_tests() -> None:
    rng = np.random.default_rng(1)
    trials = 200
    alarms = sum(sign_flips(rng.standard_t(3, 40).tolist(), seed=i) < CONFIDENT for i in range(trials))
    assert alarms <= 20  # 10 expected; more than 20 has a probability of 1 in 1,000


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {}),
        ({"losses": [1.0, 2.0]}, {"losses": [1.0, 2.0, 3.0]}),
        ({"wrong": [1.0], "items": [10.0]}, {"wrong": [1.0], "items": [20.0]}),
        ({"wrong": [1.0]}, {"wrong": [1.0]}),
        ({"wrong": [], "items": [0.0]}, {"wrong": [], "items": [0.0]}),
        ({"wrong": [], "items": []}, {"wrong": [], "items": []}),
        ({"wrong": [1.0, 2.0], "items": [1.0]}, {"wrong": [1.0], "items": [1.0]}),
        ({"wrong": [1.0], "items": [10.0]}, {"losses": [1.0, 2.0]}),
    ],
)
def test_what_was_not_measured_on_the_same_items_is_not_compared(
    first: dict[str, list[float]], second: dict[str, list[float]]
) -> None:
    assert paired_test(first, second) is None
