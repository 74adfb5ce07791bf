"""The closed division: every number of an entry is the reference's, cast, or rounded to nearest.

    reference                  entry
    Conv2d, BatchNorm2d        the same, or one Conv2d with the normalization folded in
    Linear, Conv2d             the same, or quantized: round(weight / scale), each output channel with its own scale
    Embedding, LearnedPositions  the same, or quantized likewise, each row with its own scale
    ReLU                       a layer, or a part of the quantized layer before it
    float32                    float16, bfloat16, or float64: the nearest number
    any other layer            the same

Scales, the settings of a cache, and how tensors are packed are free. A scale that rounds all weights of a channel to 0
is not: that is pruning. Nothing that was learned after the reference passes: a retrained, pruned, or re-biased number
is none of the above.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tinytorch.base.dtypes import rounded
from tinytorch.layers import Module
from tinytorch.saved.folder import DESCRIPTION, TENSORS
from tinytorch.tensor import Array
from tito.compete.problems import Problem, shown
from tito.compete.steps import Numbers, Step, steps_of

MOST_PROBLEMS = 20
TIE = 1e-3  # of a scale: how far from halfway between two integers either one passes, for other orders of rounding
EPS = {"float64": 2.0**-23, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}  # of folded float32 numbers
LEAST = {"float16": 2.0**-24}  # the distance of numbers near 0
LARGEST = 127


@dataclass(frozen=True)
class Expected:
    """What the reference's numbers are: exactly these, or, where folding computed them, these within `slack`."""

    values: Array
    slack: Array | None = None


def check_lineage(model: Module, reference: Module) -> list[Problem]:
    """Return everything in an entry's model that is not the reference's, layer by layer."""
    own = steps_of(model)
    problems = [*_compared(own, steps_of(reference)), *_scales(own, None)]
    return problems[:MOST_PROBLEMS]


def _problem(file: str, where: str, found: str, expected: str) -> Problem:
    return Problem("lineage", file, where or "model", found, expected)


def _compared(own: list[Step], reference: list[Step]) -> Iterator[Problem]:
    """Compare step by step; after a step of another kind the rest has no counterpart."""
    left = list(reference)
    for i, step in enumerate(own):
        if not left:
            yield _problem(DESCRIPTION, step.where, step.kind, "no more layers")
            return
        expected = left.pop(0)
        if step.kind != expected.kind:
            yield _problem(DESCRIPTION, step.where, step.kind, expected.kind)
            return
        numbers = {name: Expected(given.values) for name, given in expected.numbers.items()}
        normalized = left and left[0].kind == "BatchNorm2d"
        keeps_norm = i + 1 < len(own) and own[i + 1].kind == "BatchNorm2d"
        if step.kind == "Conv2d" and normalized and not keeps_norm:
            numbers = _folded(expected, left.pop(0))
        yield from _step(step, expected, numbers)
    if left:
        yield _problem(DESCRIPTION, own[-1].where if own else "", "the end", left[0].kind)


def _step(own: Step, reference: Step, numbers: dict[str, Expected]) -> Iterator[Problem]:
    for key, expected in reference.settings.items():
        if own.settings.get(key) != expected:
            yield _problem(DESCRIPTION, f"{own.where}.{key}", shown(own.settings.get(key)), shown(expected))
    for key in sorted(own.parts.keys() ^ reference.parts.keys()):
        found, expected = (key, "nothing") if key in own.parts else ("nothing", key)
        yield _problem(DESCRIPTION, own.where, found, expected)
    for key in [key for key in own.parts if key in reference.parts]:
        yield from _compared(own.parts[key], reference.parts[key])
    for name in sorted(own.numbers.keys() ^ numbers.keys()):
        found, expected = (f"a {name}", f"no {name}") if name in own.numbers else (f"no {name}", f"a {name}")
        yield _problem(TENSORS, own.where, found, expected)
    for name in [name for name in own.numbers if name in numbers]:
        where = f"{own.where}.{own.numbers[name].name}".lstrip(".")
        problem = _numbers(where, own.numbers[name], numbers[name])
        if problem:
            yield problem


def _folded(conv: Step, norm: Step) -> dict[str, Expected]:
    """Return the numbers of a convolution that does what batch normalization did after it (see `quantized.folding`)."""
    weight = conv.numbers["weight"].values.astype(np.float64)
    bias = conv.numbers["bias"].values.astype(np.float64) if "bias" in conv.numbers else np.zeros(len(weight))
    gain, shift, mean, variance = (
        norm.numbers[name].values.astype(np.float64) for name in ("weight", "bias", "running_mean", "running_var")
    )
    s = gain / np.sqrt(variance + norm.settings["eps"])
    rounding = 4 * EPS["float32"]
    folded, moved = weight * s[:, None, None, None], s * (bias - mean) + shift
    terms = np.abs(s * bias) + np.abs(s * mean) + np.abs(shift)
    return {"weight": Expected(folded, rounding * np.abs(folded)), "bias": Expected(moved, rounding * terms)}


def _numbers(where: str, own: Numbers, expected: Expected) -> Problem | None:
    if own.values.shape != expected.values.shape:
        return _problem(TENSORS, where, f"shape {list(own.values.shape)}", str(list(expected.values.shape)))
    if own.scale is not None:
        return _integers(where, own.values, own.scale, expected)
    if expected.slack is None:
        exact = rounded(expected.values, own.values.dtype)
        return _first(where, own.values, own.values != exact, exact)
    exact, dtype = expected.values, own.values.dtype.name
    slack = expected.slack + EPS[dtype] * np.abs(exact) + LEAST.get(dtype, 0.0)
    return _first(where, own.values, ~(np.abs(own.values.astype(np.float64) - exact) <= slack), exact)


def _integers(where: str, own: Array, scale: Array, expected: Expected) -> Problem | None:
    """Check that integers are the nearest ones at their scales, or the largest ones where a number is beyond these."""
    scales = scale.astype(np.float64).reshape(-1, *[1] * (own.ndim - 1))
    exact = expected.values.astype(np.float64) / scales
    slack = 0.5 + TIE + (0.0 if expected.slack is None else expected.slack / scales)
    nearest = np.clip(exact, -LARGEST, LARGEST)
    problem = _first(where, own, ~(np.abs(own - nearest) <= slack), np.rint(nearest))
    if problem:
        return problem
    axes = tuple(range(1, own.ndim))
    empty = ~own.any(axis=axes) & expected.values.any(axis=axes)
    if empty.any():
        channel = int(np.flatnonzero(empty)[0])
        return _problem(TENSORS, f"{where}[{channel}]", "all 0 at this scale", "a scale that keeps the largest number")
    return None


def _first(where: str, own: Array, wrong: Array, expected: Array) -> Problem | None:
    """Return the problem of the first wrong number."""
    count = int(np.count_nonzero(wrong))
    if not count:
        return None
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    more = f" (and {count - 1} more)" if count > 1 else ""
    at = f"{where}[{', '.join(map(str, place))}]" if place else where
    return _problem(TENSORS, at, f"{own[place]!s}{more}", f"{expected[place]!s}, from the reference")


def _scales(steps: list[Step], given: float | None) -> Iterator[Problem]:
    """Check that integers are read with the scale they were written with: another one would multiply them."""
    for step in steps:
        if given is not None and step.input_scale is not None and step.input_scale != given:
            yield _problem(TENSORS, f"{step.where}.input_scale", str(step.input_scale), f"{given}, as the layer before")
        for part in step.parts.values():
            yield from _scales(part, given if step.kind == "BasicBlock" else None)
        if step.kind in ("Linear", "Conv2d"):
            given = step.output_scale
        elif step.kind not in ("relu", "MaxPool2d", "Flatten"):
            given = None
