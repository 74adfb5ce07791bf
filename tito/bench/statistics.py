"""Whether two qualities differ, and how well one is known. Pure functions of what `evaluate` returned for each item.

wilson(986, 1000)                  the 95% interval of a share
mcnemar(lost, gained)              p of two classifiers on the same items
paired_test(own, other)            the same from raw values: lists of wrong items, or a loss for each item
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENT = 0.05  # a p-value below it is a difference
Z = 1.959963984540054  # the 97.5% quantile of the normal distribution
DRAWS = 10_000  # sign flips of the permutation test, so p is resolved to 1e-4

WRONG, ITEMS, LOSSES = "wrong", "items", "losses"  # names of the raw values that `evaluate` returns

Raw = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Paired:
    """Two models on the same items: `difference` is the first's mean error or loss minus the second's."""

    difference: float  # above 0: the first is worse
    p: float  # probability of a difference of at least this size if both are equally good
    items: int

    @property
    def differ(self) -> bool:
        """Whether the difference is more than chance explains."""
        return self.p < CONFIDENT


def wilson(share: float, items: int) -> tuple[float, float]:
    """Return the 95% interval of a share of `items` independent items.

    Wilson's score interval: where the true share p satisfies |share - p| <= z sqrt(p (1 - p) / n). Unlike
    share +- z sqrt(share (1 - share) / n), it stays within 0 and 1, and it is not empty at 0% and 100%.

    Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22, 1927; recommended
    by Brown, Cai, and DasGupta, "Interval Estimation for a Binomial Proportion", Statistical Science 16, 2001.

    >>> [round(end, 4) for end in wilson(0.99, 10_000)]
    [0.9879, 0.9918]
    """
    center = (share + Z**2 / (2 * items)) / (1 + Z**2 / items)
    half = Z / (1 + Z**2 / items) * math.sqrt(share * (1 - share) / items + Z**2 / (4 * items**2))
    return (0.0 if share == 0 else center - half), (1.0 if share == 1 else center + half)  # exactly, without rounding


def is_share_of(raw: Raw, value: float | None) -> bool:
    """Return whether a metric's value is the share of items that are not among the raw values' wrong ones."""
    items = items_of(raw)
    return value is not None and items > 0 and abs(1 - len(raw[WRONG]) / items - value) < 1e-9


def items_of(raw: Raw) -> int:
    """Return the number of items that were classified; 0 if the raw values do not state it."""
    stated = raw.get(ITEMS) or [0]
    return int(stated[0]) if WRONG in raw and len(stated) == 1 and len(raw[WRONG]) <= stated[0] else 0


def mcnemar(first_only: int, second_only: int) -> float:
    """Return the two-sided p-value of McNemar's exact test.

    Only the items on which the two disagree count: if both are equally good, each of them is a fair coin.

    Args:
        first_only: items that only the first model classifies wrongly.
        second_only: items that only the second model classifies wrongly.

    Source: McNemar, Psychometrika 12, 1947; recommended for classifiers by Dietterich, "Approximate Statistical Tests
    for Comparing Supervised Classification Learning Algorithms", Neural Computation 10, 1998.

    >>> mcnemar(2, 0), round(mcnemar(30, 10), 4)
    (0.5, 0.0022)
    """
    n, fewer = first_only + second_only, min(first_only, second_only)
    tail = sum(math.comb(n, k) for k in range(fewer + 1))
    return min(1.0, 2 * tail / 2**n)  # integers of any size: the quotient is correctly rounded


def sign_flips(differences: Sequence[float], seed: int = 0) -> float:
    """Return the two-sided p-value of a paired permutation test of the mean difference.

    If both models are equally good, each item's difference is as likely to have the other sign. Unlike the t-test, it
    makes no assumption about how the differences are distributed.

    Source: Fisher, "The Design of Experiments", 1935; Noreen, "Computer-Intensive Methods for Testing Hypotheses",
    1989.
    """
    values = np.asarray(differences, dtype=float)
    if not values.any():
        return 1.0
    rng = np.random.default_rng(seed)
    found, size = abs(values.sum()), 1000
    as_large = 0
    for _ in range(DRAWS // size):
        signs = rng.integers(0, 2, (size, len(values)), dtype=np.int8) * 2.0 - 1.0
        as_large += int((np.abs(signs @ values) >= found * (1 - 1e-12)).sum())
    return (as_large + 1) / (DRAWS + 1)  # the observed signs are one of the draws, so p is never 0


def paired_test(first: Raw, second: Raw) -> Paired | None:
    """Compare two models on the same items, from the raw values that `evaluate` returned; None if these differ.

    Args:
        first, second: {"wrong": indices of wrong answers, "items": [their number]} or {"losses": one per item}.
    """
    items = items_of(first)
    if items > 0 and items == items_of(second):
        own, other = set(first[WRONG]), set(second[WRONG])
        p = mcnemar(len(own - other), len(other - own))
        return Paired((len(own) - len(other)) / items, p, items)
    if LOSSES in first and LOSSES in second and len(first[LOSSES]) == len(second[LOSSES]) > 1:
        differences = np.subtract(first[LOSSES], second[LOSSES])
        return Paired(float(differences.mean()), sign_flips(differences.tolist()), len(differences))
    return None
