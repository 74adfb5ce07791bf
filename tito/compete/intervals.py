"""What decides that one entry beats another: bootstrap tests of latency over processes, and of quality over items.

Pure functions of receipts. The draws of a receipt depend only on its id, so that the same receipts always give the
same ranks, in whatever order they are read.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from tinytorch.benchmarking import SMALLEST_EFFECT, Interval
from tito.compete.receipt import Quality, Receipt

RESAMPLES = 4000
TAILS = (0.025, 0.975)  # of a 95% interval
FEW = int(TAILS[0] * RESAMPLES)  # a 95% interval excludes a value if at most this many draws are on its other side
FEWEST_CHILDREN = 11  # with fewer, the 95% interval of a median is nearly the whole range of its samples
# A gain of more or less than these many standard errors needs no draws: the bootstrap's answer is known, as a property
# test checks. A thousand entries then take seconds, not minutes.
CERTAIN, HOPELESS = 3.5, 1.4


@dataclass(frozen=True, eq=False)
class Latency:
    """The ratio of the medians, reference to entry, over child processes: above 1 the entry is faster."""

    ratio: float
    draws: np.ndarray  # (RESAMPLES,) of the ratio

    @cached_property
    def interval(self) -> Interval:
        """The 95% interval of the ratio."""
        low, high = np.quantile(self.draws, TAILS)
        return Interval(float(low), float(high))

    @cached_property
    def _range(self) -> tuple[float, float]:
        return float(self.draws.min()), float(self.draws.max())

    def beats(self, other: Latency) -> bool:
        """Whether the ratio of the two ratios exceeds 1 by more than 2%, and its 95% interval excludes 1."""
        if self.ratio / other.ratio <= 1 + SMALLEST_EFFECT:
            return False
        if self._range[0] > other._range[1]:
            return True  # every draw would exceed 1
        return bool(np.count_nonzero(self.draws <= other.draws) <= FEW)


def latency_of(receipt: Receipt) -> Latency | None:
    """Return an entry's latency relative to the reference; None with fewer than FEWEST_CHILDREN processes."""
    if len(receipt.times) < FEWEST_CHILDREN:
        return None
    own = np.array([child.own.p50_us for child in receipt.times])
    reference = np.array([child.reference.p50_us for child in receipt.times])
    return latency(own, reference, receipt.id)


def latency(own: np.ndarray, reference: np.ndarray, name: str) -> Latency:
    """Return the ratio of two models' times by process, (n,) each; the draws depend on the name.

    Each draw takes n processes with replacement, and from these the ratio of the two medians: entry and reference of
    one process stay together, because what slowed the machine for a while slowed both.
    """
    n = len(own)
    chosen = _generator(name).integers(0, n, size=(n, RESAMPLES))  # processes first: the sort is twice as fast
    return Latency(float(np.median(reference) / np.median(own)), _medians(reference[chosen]) / _medians(own[chosen]))


def _medians(drawn: np.ndarray) -> np.ndarray:
    """Return the median of each column: (n, RESAMPLES) -> (RESAMPLES,)."""
    n = len(drawn)
    drawn.sort(axis=0)
    return (drawn[(n - 1) // 2] + drawn[n // 2]) / 2


@dataclass(frozen=True, eq=False)
class Accuracy:
    """Accuracy over the images of the test split: more is better."""

    value: float
    correct: np.ndarray  # (bytes,): packed bits, one for each image
    items: int

    @cached_property
    def interval(self) -> Interval:
        """The 95% interval: with replacement, the number of correct images is binomial."""
        share = int(np.bitwise_count(self.correct).sum()) / self.items
        drawn = np.random.default_rng(0).binomial(self.items, share, RESAMPLES) / self.items
        return Interval(*map(float, np.quantile(drawn, TAILS)))

    def beats(self, other: ItemQuality) -> bool:
        """Whether the 95% interval of the difference, over images drawn in pairs, excludes 0.

        Of the pairs only those count that one of the two gets right alone; with replacement, their numbers are
        multinomial.
        """
        if not isinstance(other, Accuracy) or other.items != self.items:
            return False
        won = int(np.bitwise_count(self.correct & ~other.correct).sum())
        lost = int(np.bitwise_count(~self.correct & other.correct).sum())
        if won <= lost:
            return False
        n, gain = self.items, won - lost
        errors = gain / math.sqrt(max(won + lost - gain**2 / n, 1e-12))
        if not HOPELESS <= errors <= CERTAIN:
            return errors > CERTAIN
        drawn = np.random.default_rng(0).multinomial(n, (won / n, lost / n, (n - won - lost) / n), RESAMPLES)
        return bool(np.count_nonzero(drawn[:, 0] <= drawn[:, 1]) <= FEW)


@dataclass(frozen=True, eq=False)
class Loss:
    """Mean loss in nats over windows of text: less is better."""

    value: float
    losses: np.ndarray  # (windows,)
    draws: np.ndarray  # (RESAMPLES,) of the mean; draw i takes the same windows for every entry

    @cached_property
    def interval(self) -> Interval:
        """The 95% interval over windows drawn with replacement."""
        return Interval(*map(float, np.quantile(self.draws, TAILS)))

    def beats(self, other: ItemQuality) -> bool:
        """Whether the 95% interval of the difference, over windows drawn in pairs, excludes 0."""
        if not isinstance(other, Loss) or len(other.losses) != len(self.losses):
            return False
        return bool(np.count_nonzero(self.draws >= other.draws) <= FEW)


ItemQuality = Accuracy | Loss


def qualities_of(qualities: Sequence[Quality]) -> list[ItemQuality]:
    """Return each entry's quality with one result for each item."""
    losses = {i: quality.own().astype(float) for i, quality in enumerate(qualities) if quality.metric == "loss"}
    draws: dict[int, np.ndarray] = {}
    for n in {len(own) for own in losses.values()}:  # one matrix product for all entries
        alike = [i for i, own in losses.items() if len(own) == n]
        drawn = np.stack([losses[i] for i in alike]) @ _counts(n).T / n  # (entries, RESAMPLES)
        draws.update(zip(alike, drawn, strict=True))
    return [
        Loss(quality.value, losses[i], draws[i])
        if i in losses
        else Accuracy(quality.value, np.packbits(quality.own()), quality.items)
        for i, quality in enumerate(qualities)
    ]


@lru_cache(maxsize=4)
def _counts(n: int) -> np.ndarray:
    """How often each of n items is drawn, (RESAMPLES, n)."""
    return np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(np.float64)


def _generator(name: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))
