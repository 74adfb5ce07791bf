"""Where a figure of a history changed for good: "slower by 25 % since 2026-11-12". Pure functions of numbers.

    find_shift([10.0, 10.1, 9.9, 10.0, 10.2, 12.4, 12.5, 12.6])  ->  Shift(at=5, before=10.0, after=12.5, ...)

Levels are fitted to the history by least absolute deviations, so that single outliers decide nothing, with a price for
each further level. The last step between two levels counts if it is large compared with how much runs differ from
their level, and if it puts nearly all pairs of an earlier and a later run in order. docs/measuring.md gives the reasons
for the constants and the recorded noise on which they were tried.
"""

from __future__ import annotations

import math
import statistics
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

FEWEST = 8  # runs of a history
SHORTEST = 3  # runs of a level
SMALLEST = 0.05  # of a ratio, and
SMALLEST_POINTS = 0.002  # of a share: smaller steps are not reported
PRICE = 7.0  # of a further level, in spreads of a run
CERTAIN = 4.0  # standard errors that a step must have
APART = 0.85  # share of all pairs of an earlier and a later run that a step must put in order
FLOOR = 0.005  # the least spread of runs that is believed: few runs may agree by chance
FLOOR_POINTS = 0.0002
MAD_TO_SD = 1.4826  # of normally distributed values
WIDE, WIDE_TO_SD = 0.8, 1.2816  # a normal value is within 1.2816 standard deviations with a probability of 80%
MEDIAN_ERROR = math.sqrt(math.pi / 2)  # how much less precise a median is than a mean


@dataclass(frozen=True)
class Shift:
    """A step between two levels, the last one of a history."""

    at: int  # index of the first run of the new level
    before: float  # the median of the old level
    after: float
    runs_before: int
    runs_after: int

    @property
    def relative(self) -> float:
        """The step relative to the old level."""
        return self.after / self.before - 1


def find_shift(values: Sequence[float], share: bool = False) -> Shift | None:
    """Return the last step of a history, or None if its runs are at one level.

    Args:
        values: one figure of each run, oldest first; positive unless `share`.
        share: the values are fractions, whose steps are differences; otherwise they are ratios.
    """
    if not share and min(values, default=0) <= 0:
        return None
    scaled = list(values) if share else [math.log(value) for value in values]
    smallest, floor = (SMALLEST_POINTS, FLOOR_POINTS) if share else (math.log1p(SMALLEST), FLOOR)
    if len(values) < FEWEST or max(scaled) - min(scaled) < smallest:
        return None
    begins = [0, *_levels(scaled, floor)]
    for start, at in reversed(list(pairwise(begins))):
        if _stands(scaled[start:at], scaled[at:], smallest, floor):
            low, high = statistics.median(values[start:at]), statistics.median(values[at:])
            return Shift(at, low, high, at - start, len(values) - at)
    return None


def _levels(values: Sequence[float], floor: float) -> list[int]:
    """Return the index of each level's first value after the first level's, by the cheapest division into levels.

    A level costs its deviation and a price. The price is in units of the spread from one value to the next, which no
    step between levels widens.
    """
    steps = [abs(later - earlier) for earlier, later in pairwise(values)]
    price = PRICE * max(MAD_TO_SD * statistics.median(steps) / math.sqrt(2), floor)
    count = len(values)
    best = [(0.0, 0)] + [(math.inf, 0)] * count  # of the first n values: the cost, and where the last level begins
    for start in range(count - SHORTEST + 1):
        level: list[float] = []
        for end in range(start + 1, count + 1):
            insort(level, values[end - 1])
            if len(level) >= SHORTEST:
                cost = best[start][0] + price + _deviation(level)
                best[end] = min(best[end], (cost, start))
    begins, end = [], count
    while end:
        end = best[end][1]
        begins.append(end)
    return begins[-2::-1]


def _stands(old: Sequence[float], new: Sequence[float], smallest: float, floor: float) -> bool:
    """Return whether the step between two levels is large enough to be reported."""
    low, high = statistics.median(old), statistics.median(new)
    rest = [abs(value - low) for value in old] + [abs(value - high) for value in new]
    spread = max(sorted(rest)[round(WIDE * (len(rest) - 1))] / WIDE_TO_SD, floor)
    error = MEDIAN_ERROR * spread * math.sqrt(1 / len(old) + 1 / len(new))
    ordered = sum((later > earlier) == (high > low) for earlier in old for later in new)
    step = abs(high - low)
    return step >= max(smallest, CERTAIN * error) and ordered >= APART * len(old) * len(new)


def _deviation(level: Sequence[float]) -> float:
    """Return the sum of the absolute deviations of sorted values from their median: upper half minus lower half."""
    half = len(level) // 2
    return sum(level[-half:]) - sum(level[:half]) if half else 0.0
