"""Charts that need no script: SVG lines and HTML marks at places in percent, so that they fit any width.

A thousand pages with such a chart are small. The leaderboard's script only adds tooltips and filters.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from tito.report import units

SPAN = 1000  # units of the drawing in either direction; it is stretched to the box
FEWEST_TICKS, MOST_TICKS = 3, 8
STEPS = ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 4, 5, 6, 7, 8, 9))  # in a decade, from sparse to dense


@dataclass(frozen=True)
class Axis:
    """A logarithmic axis; from 0 to 1 along it."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Return where a value is, as a share of the axis."""
        return math.log(value / self.low) / self._length

    @cached_property
    def _length(self) -> float:
        return math.log(self.high / self.low)

    def ticks(self) -> list[float]:
        """Return three to eight round values on the axis: evenly spaced ones if it spans less than a factor of 4."""
        if self.high < 4 * self.low:
            step = next(step for step in _round_steps(self.low) if (self.high - self.low) / step < MOST_TICKS)
            first, last = math.ceil(self.low / step), math.floor(self.high / step)
            return [float(f"{i * step:.6g}") for i in range(first, last + 1)]
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        found: list[float] = []
        for steps in STEPS:
            every = [float(f"{step}e{decade}") for decade in decades for step in steps]
            found = [tick for tick in every if self.low <= tick <= self.high]
            if len(found) >= FEWEST_TICKS:
                break
        return found[:: -(-len(found) // MOST_TICKS)]


def _round_steps(low: float) -> Iterator[float]:
    """Yield 1, 2, and 5 times each power of ten, from far below `low` on."""
    for decade in itertools.count(math.floor(math.log10(low)) - 4):
        yield from (float(f"{step}e{decade}") for step in (1, 2, 5))


def axis(values: Sequence[float], margin: float) -> Axis:
    """Return an axis around positive values; `margin` is the share of its length on each side."""
    low, high = min(values), max(values)
    if high < low * 1.02:
        low, high = low / 1.1, high * 1.1
    free = (high / low) ** margin
    return Axis(low / free, high * free)


@dataclass(frozen=True)
class Tick:
    """A labelled grid line, in percent from the left or from the top."""

    at: str
    text: str


@dataclass(frozen=True)
class Line:
    """A path in the drawing with the class that colors it."""

    css: str
    path: str


@dataclass(frozen=True)
class Mark:
    """One point: a symbol, where it is in percent, and what it opens and says."""

    css: str
    symbol: str
    left: str
    top: str
    href: str
    label: str
    techniques: str = ""


@dataclass(frozen=True)
class Chart:
    """A drawing with grid lines, labels, lines, and marks."""

    x_title: str
    y_title: str
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    lines: Sequence[Line] = field(default=())
    marks: Sequence[Mark] = field(default=())


def x_ticks(along: Axis, unit: str) -> list[Tick]:
    """Return labels below the drawing."""
    return [Tick(percent(along.at(tick)), _text(tick, unit)) for tick in along.ticks()]


def y_ticks(along: Axis, unit: str) -> list[Tick]:
    """Return labels to the left of the drawing; large values are at the top."""
    return [Tick(percent(1 - along.at(tick)), _text(tick, unit)) for tick in along.ticks()]


def percent(share: float) -> str:
    """Return a share as CSS writes it: 12.3%."""
    return f"{100 * share:.4g}%"


def polyline(points: Sequence[tuple[float, float]]) -> str:
    """Return a path through points (x, y) that are shares of the axes, y from the bottom."""
    return "M" + "L".join(f"{x * SPAN:.0f} {(1 - y) * SPAN:.0f}" for x, y in points)


def _text(value: float, unit: str) -> str:
    if unit == "bytes":
        return _short(units.size(value))
    if unit == "us":
        return _short(units.microseconds(value))
    return f"{value:.3g}×"


def _short(text: str) -> str:
    """Return a quantity without zeros after its point: 20 µs, not 20.0 µs."""
    number, space, unit = text.partition(units.THIN)
    return (number.rstrip("0").rstrip(".") if "." in number else number) + space + unit
