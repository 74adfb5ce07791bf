"""Module 17: the words that `saved_types` describes layers in: settings and their ranges, tensors, places for parts.

Nothing here knows a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

FLOATS = ("float32", "float16", "bfloat16", "float64")
LARGEST = 100_000_000  # of any number of rows, columns, channels, ...
WIDEST = 1024  # of a window over images, or of a grid of outputs
HIGHEST_EPS = 1e6

Settings = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """What a setting may be: `fits` says so of the JSON value, `expected` says so to the reader."""

    expected: str
    fits: Callable[[Any], bool]


@dataclass(frozen=True)
class TensorSpec:
    """What a tensor must be. `trained`: a Parameter rather than a buffer. `least`: no element is smaller, and none NaN.
    `most`: none is larger."""

    shape: tuple[int, ...]
    dtypes: tuple[str, ...] = FLOATS
    trained: bool = True
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True)
class Slot:
    """A place for a part, or for a list of parts.

    Attributes:
        types: the types that may stand there; empty for any.
        many: a list. least: of so many at least.
        named: whether the attribute's name is in the tensors' names (it is not in Sequential's).
        apart: only what treats each position apart may stand there, all the way down (see `Kind.apart`).
    """

    types: tuple[str, ...] = ()
    many: bool = False
    least: int = 0
    named: bool = True
    apart: bool = False


@dataclass(frozen=True)
class PlannedLayer:
    """A checked node of a description: what to build, before anything is."""

    kind: Kind
    settings: Settings
    prefix: str
    parts: dict[str, Any]  # a PlannedLayer, or a list of them


@dataclass(frozen=True)
class Kind:
    """A row of the table.

    Attributes:
        make: the class, or the function itself.
        attributes: all that an instance holds, in the constructor's order; settings, tensors or parts.
        settings: name -> what it may be.
        tensors: settings -> name -> what the tensor must be.
        parts: name -> slot.
        read: instance -> the settings that no attribute holds.
        derived: settings -> attributes that follow from them.
        derived_bytes: settings -> what those take in memory.
        optional: tensors that may be None; the setting of the same name says whether they are there.
        problem: settings -> what is wrong between them, or "".
        clash: the checked layer -> what does not go together in it, or "".
        apart: settings -> whether the last dimension alone is mixed, if its parts do so: then what stands in one
            position of (B, T, C) reaches no other one.
    """

    make: Any
    attributes: tuple[str, ...] = ()
    settings: Mapping[str, Setting] = field(default_factory=dict)
    tensors: Callable[[Settings], dict[str, TensorSpec]] = lambda s: {}
    parts: Mapping[str, Slot] = field(default_factory=dict)
    read: Callable[[Any], Settings] = lambda x: {}
    derived: Callable[[Settings], dict[str, Any]] = lambda s: {}
    derived_bytes: Callable[[Settings], int] = lambda s: 0
    optional: tuple[str, ...] = ()
    problem: Callable[[Settings], str] = lambda s: ""
    clash: Callable[[PlannedLayer], str] = lambda layer: ""
    apart: Callable[[Settings], bool] = lambda s: False


def whole(least: int, most: int) -> Setting:
    """An integer in a range."""
    return Setting(f"a whole number from {least} to {most}", lambda v: type(v) is int and least <= v <= most)


def number(least: float, most: float) -> Setting:
    """A finite number in a range; NaN is in none."""
    return Setting(f"a number from {least} to {most}", lambda v: type(v) in (int, float) and least <= v <= most)


def pair(least: int) -> Setting:
    """Two integers: down and across."""
    one = whole(least, WIDEST)
    return Setting(f"two numbers, each {one.expected}", lambda v: _is_pair(v, one))


def one_or_two(least: int, optional: bool = False) -> Setting:
    """An integer, or one for each direction; null where it may be left out."""
    one = whole(least, WIDEST)
    expected = f"{one.expected}, or two of them{', or null' if optional else ''}"
    return Setting(expected, lambda v: one.fits(v) or _is_pair(v, one) or (optional and v is None))


def _is_pair(value: Any, one: Setting) -> bool:
    return type(value) in (list, tuple) and len(value) == 2 and all(one.fits(v) for v in value)


size = whole(1, LARGEST)
dim = whole(-8, 7)
flag = Setting("true or false", lambda v: type(v) is bool)
eps = number(0, HIGHEST_EPS)
integer = Setting('"uint8", "int8" or null', lambda v: v is None or v in ("uint8", "int8"))
share = Setting("a number p, 0 <= p < 1", lambda v: number(0, 1).fits(v) and v < 1)
