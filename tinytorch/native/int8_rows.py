"""Dynamic INT8 for float32 rows: their scales, their integers, and the product, as primitives of a program.

    scale = max |x| / 127                    absolute values, then the maximum of each row
    q = round(x / scale)
    y = f(scale weight_scale (q W^T) + bias)

For one row, the product itself applies the scale and f. For several, oneDNN 3.2 multiplies with one input scale only,
and another primitive follows. `int8.Linear` is the version for layers outside a program, which finds the scales with
NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_float
from typing import Any

import numpy as np
from numpy import ndarray as Array

from tinytorch.arrays.integers import SMALLEST_SCALE
from tinytorch.native import int8
from tinytorch.native.library import library
from tinytorch.native.primitives import (
    ATTR_SCALES,
    BIAS,
    BINARY_MULTIPLY,
    DST,
    ELTWISE_ABS,
    ELTWISE_POWER,
    FACTORS,
    FORWARD_INFERENCE,
    REDUCTION_MAX,
    SRC,
    SUM,
    WEIGHTS,
    Attributes,
    Descriptor,
    Post,
    Primitive,
    operand,
    threads,
)
from tinytorch.native.program import cost_of

Room = dict[Any, Array]


def _floats(*shape: int) -> Descriptor:
    return Descriptor(shape, np.float32)


def _memory(room: Room, name: str, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    """Return an array of the room, which all layers of a program share, so that it stays in the cache."""
    return room.setdefault((name, shape), np.empty(shape, dtype))


class Scales:
    """The part that does not depend on a layer: the scales of rows x (M, in), scale (M, 1), and their integers q."""

    def __init__(self, x: Array, alone: bool, room: Room) -> None:
        self.q = _memory(room, "integers", x.shape, np.int8)
        self.scale = _memory(room, "scales", (len(x), 1))
        sizes, inverse = _memory(room, "sizes", x.shape), _memory(room, "inverse", (len(x), 1))
        rows, column, rounded = _floats(*x.shape), _floats(len(x), 1), Descriptor(x.shape, np.int8)
        zero, engine, one_thread, cost = c_float(0), library().engine, threads(alone), cost_of(0, 2 * x.nbytes)
        absolute = (FORWARD_INFERENCE, ELTWISE_ABS, rows, rows, zero, zero, None)
        # a row of zeros gets the smallest scale; to any other one, it adds less than its rounding
        share = Attributes(post=[("linear", 1 / 127, SMALLEST_SCALE)])
        largest = (REDUCTION_MAX, rows, column, zero, zero, share)
        reciprocal = (FORWARD_INFERENCE, ELTWISE_POWER, column, column, c_float(1), c_float(-1), None)
        many = len(x) > 1  # a reorder divides by a single scale of its result, or multiplies by one for each row
        scaled, factor = (SRC, inverse) if many else (DST, self.scale)
        rounding = (rows, engine, rounded, engine, Attributes({scaled: int(many)}))
        arrays = {SRC: rows, DST: rounded, ATTR_SCALES | scaled: _floats(len(x))}
        self.primitives = [
            Primitive("eltwise_forward", absolute, {SRC: rows, DST: rows}, one_thread, cost),
            Primitive("reduction", largest, {SRC: rows, DST: column}, one_thread, cost),
            Primitive("reorder", rounding, arrays, one_thread, cost),
        ]
        self.primitives[0].bind({SRC: x, DST: sizes})
        self.primitives[1].bind({SRC: sizes, DST: self.scale})
        self.primitives[2].bind({SRC: x, DST: self.q, ATTR_SCALES | scaled: factor.reshape(-1)})
        if many:
            inverted = Primitive("eltwise_forward", reciprocal, {SRC: column, DST: column}, one_thread)
            inverted.bind({SRC: self.scale, DST: inverse})
            self.primitives.insert(2, inverted)


class Rows:
    """A dynamic linear layer for float32 rows, followed by the operations in `post`.

    Args:
        factor: (out,), by which the outputs are multiplied before those operations, or None.
    """

    def __init__(self, kernel: int8.Linear, factor: Array | None = None, post: Sequence[str] = ()) -> None:
        layer, self._weight = kernel.layer, kernel.weight
        self._out, self._depth = layer.weight.shape
        one = np.float32(1) if factor is None else factor
        self._scale = np.ascontiguousarray(layer.weight_scale * one, np.float32)
        self._bias = None if layer.bias is None else np.ascontiguousarray(layer.bias * one, np.float32)
        self._post = (*(["relu"] if layer.relu else []), *post)

    def primitives(self, x: Array, y: Array, alone: bool, room: Room) -> list[Primitive]:
        """Return the primitives from x (M, in) to y (M, out); the arrays in `room` serve one layer after another."""
        scales = Scales(x, alone, room)
        if len(x) == 1:
            return [*scales.primitives, self._product(scales.q, y, alone, scales.scale.reshape(1))]
        sums = _memory(room, "sums", y.shape)
        return [*scales.primitives, self._product(scales.q, sums, alone), self._scaled(sums, scales.scale, y, alone)]

    def _product(self, q: Array, y: Array, alone: bool, scale: Array | None = None) -> Primitive:
        """Return the product with the weights' scales, and with all that follows if the rows' only scale is given."""
        rows, out, free = Descriptor(q.shape, np.int8), _floats(*y.shape), self._described("any")
        bias = None if scale is None else self._bias
        given = {ATTR_SCALES | WEIGHTS: self._scale} | ({} if scale is None else {ATTR_SCALES | SRC: scale})
        attributes = Attributes({WEIGHTS: 2}) if scale is None else Attributes({SRC: 0, WEIGHTS: 2}, self._post)
        arrays: dict[int, Descriptor | None] = {SRC: rows, WEIGHTS: None, DST: out}
        added = None if bias is None else _floats(1, self._out)
        arrays |= {} if added is None else {BIAS: added}
        arrays |= {argument: _floats(*array.shape) for argument, array in given.items()}
        cost = cost_of(2 * len(q) * self._depth * self._out // int8.SPEEDUP, self._depth * self._out + y.nbytes)
        product = Primitive("matmul", (rows, free, added, out, attributes), arrays, threads(alone), cost)
        weight = self._weight.packed_in(product.descriptor(WEIGHTS))
        product.bind({SRC: q, WEIGHTS: weight, DST: y} | given | ({} if bias is None else {BIAS: bias}))
        return product

    def _described(self, layout: str) -> Descriptor:
        return Descriptor((self._depth, self._out), np.int8, layout)

    def _scaled(self, sums: Array, scale: Array, y: Array, alone: bool) -> Primitive:
        """Return y = f(sums scale + bias), with a sum of y's previous values first."""
        values, column, row = _floats(*y.shape), _floats(len(y), 1), _floats(1, self._out)
        post: list[Post] = [entry for entry in self._post if entry == SUM]
        arrays, bound = {SRC: values, FACTORS: column, DST: values}, {SRC: sums, FACTORS: scale, DST: y}
        if self._bias is not None:
            arrays[operand(len(post))], bound[operand(len(post))] = row, self._bias.reshape(1, -1)
            post.append(row)
        post += [entry for entry in self._post if entry != SUM]
        what = (BINARY_MULTIPLY, values, column, values, Attributes(post=post))
        primitive = Primitive("binary", what, arrays, threads(alone), cost_of(0, 3 * y.nbytes))
        primitive.bind(bound)
        return primitive
