"""Layers of a `Sequential` that are computed together, if a package says how: see `fast.sequences`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Layer = Callable[[Any], Any]
Way = Callable[[Sequence[Layer]], Sequence[Layer]]

_ways: list[Way] = []


def add(way: Way) -> None:
    """Let `way(layers)` join layers from now on: it returns a list in which one entry may stand for several layers."""
    _ways.append(way)


def joined(layers: Sequence[Layer]) -> Sequence[Layer]:
    """Return what to call in place of these layers, with the same result."""
    for way in _ways:
        layers = way(layers)
    return layers
