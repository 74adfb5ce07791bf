"""The types with which `table` describes layers: settings and their ranges, tensors, and slots for parts.

This file does not depend on any layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

FLOATS = ("float32", "float16", "bfloat16", "float64")
LARGEST = 100_000_000  # number of rows, columns, channels, ...
WIDEST = 1024  # size of a window over images, or of a grid of outputs
HIGHEST_EPS = 1e6

Settings = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """The allowed values of a setting: `fits` checks a JSON value, `expected` describes them in error messages."""

    expected: str
    fits: Callable[[Any], bool]


@dataclass(frozen=True)
class TensorSpec:
    """The requirements on a tensor.

    Attributes:
        trained: the tensor is a Parameter, not a buffer.
        least: no element is smaller than this, or NaN.
        most: no element is larger than this, or NaN.
    """

    shape: tuple[int, ...]
    dtypes: tuple[str, ...] = FLOATS
    trained: bool = True
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True)
class Slot:
    """A place for a part, or for a list of parts.

    Attributes:
        types: the allowed types; empty for any.
        many: whether the slot holds a list.
        least: the smallest length of that list.
        named: whether the attribute's name is part of the tensors' names (in Sequential it is not).
        apart: whether only parts that do not mix positions are allowed, at any depth (see `Kind.apart`).
    """

    types: tuple[str, ...] = ()
    many: bool = False
    least: int = 0
    named: bool = True
    apart: bool = False


@dataclass(frozen=True)
class PlannedLayer:
    """A checked node of a description: what to build, before anything is built."""

    kind: Kind
    settings: Settings
    prefix: str
    parts: dict[str, Any]  # a PlannedLayer, or a list of them


@dataclass(frozen=True)
class Kind:
    """A row of the table.

    Attributes:
        make: the class, or the function itself.
        attributes: all attributes of an instance, in the constructor's order: settings, tensors, and parts.
        settings: name -> the allowed values.
        tensors: settings -> name -> the requirements on the tensor.
        parts: name -> slot.
        read: instance -> the settings that are not attributes.
        derived: settings -> the attributes that are computed from them.
        derived_bytes: settings -> the memory that these attributes take, in bytes.
        optional: tensors that may be None; the setting of the same name says whether they exist.
        problem: settings -> a contradiction between them, or "".
        clash: the checked layer -> a contradiction between its parts, or "".
        apart: settings -> whether the layer mixes only the last dimension, given that its parts do: then no position of
            (B, T, C) influences another.
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
    """Return a setting for an integer in a range."""
    return Setting(f"a whole number from {least} to {most}", lambda v: type(v) is int and least <= v <= most)


def number(least: float, most: float) -> Setting:
    """Return a setting for a finite number in a range, which excludes NaN."""
    return Setting(f"a number from {least} to {most}", lambda v: type(v) in (int, float) and least <= v <= most)


def pair(least: int) -> Setting:
    """Return a setting for two integers, vertical and horizontal."""
    one = whole(least, WIDEST)
    return Setting(f"two numbers, each {one.expected}", lambda v: _is_pair(v, one))


def one_or_two(least: int, optional: bool = False) -> Setting:
    """Return a setting for one integer, or one for each direction; or null if it is optional."""
    one = whole(least, WIDEST)
    expected = f"{one.expected}, or two of them{', or null' if optional else ''}"
    return Setting(expected, lambda v: one.fits(v) or _is_pair(v, one) or (optional and v is None))


def _is_pair(value: Any, one: Setting) -> bool:
    return type(value) in (list, tuple) and len(value) == 2 and all(one.fits(v) for v in value)


size = whole(1, LARGEST)
dim = whole(-8, 7)
flag = Setting("true or false", lambda v: type(v) is bool)
eps = number(0, HIGHEST_EPS)
integer = Setting('"uint8", "int8", or null', lambda v: v is None or v in ("uint8", "int8"))
share = Setting("a number p, 0 <= p < 1", lambda v: number(0, 1).fits(v) and v < 1)
