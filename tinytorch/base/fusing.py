"""Layers that are computed together, or prepared: when that is possible, and for a `Sequential`, how."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Layer = Callable[[Any], Any]
Way = Callable[[Sequence[Layer]], Sequence[Layer]]

_ways: list[Way] = []


def add(way: Way) -> None:
    """Let `way(layers)` join layers from now on: it returns a list in which one entry may stand for several layers."""
    _ways.append(way)


def is_seen(layer: Any) -> bool:
    """Return whether hooks, `surgery.watched`, or a `forward` of its own see what a layer computes."""
    return getattr(layer, "_hooks", None) is not None or "forward" in getattr(layer, "__dict__", ())


def joined(layers: Sequence[Layer]) -> Sequence[Layer]:
    """Return what to call in place of these layers, with the same result."""
    for way in _ways:
        layers = way(layers)
    return layers
