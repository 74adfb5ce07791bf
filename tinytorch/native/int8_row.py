"""Dynamic INT8 for a single float32 row: its scale, its integers, and their product, as four primitives of a program.

    scale = max |x| / 127                    absolute values, then their maximum
    q = round(x / scale)
    y = f(scale weight_scale (q W^T) + bias)

For several rows, `int8.Linear` finds the scales with NumPy, because oneDNN 3.2 multiplies with one input scale only.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_float

import numpy as np
from numpy import ndarray as Array

from tinytorch.arrays.integers import SMALLEST_SCALE
from tinytorch.native import int8
from tinytorch.native.library import library
from tinytorch.native.primitives import (
    ATTR_SCALES,
    BIAS,
    DST,
    ELTWISE_ABS,
    FORWARD_INFERENCE,
    REDUCTION_MAX,
    SRC,
    WEIGHTS,
    Attributes,
    Descriptor,
    Primitive,
    threads,
)
from tinytorch.native.program import cost_of


class Scales:
    """The part that does not depend on a layer: rows of one width and their integers."""

    def __init__(self, x: Array, alone: bool) -> None:
        self.scale, self.q = np.empty((1, 1), np.float32), np.empty(x.shape, np.int8)
        sizes, rows, one = np.empty_like(x), Descriptor(x.shape, np.float32), Descriptor((1, 1), np.float32)
        zero, engine, single = c_float(0), library().engine, Descriptor((1,), np.float32)
        absolute = (FORWARD_INFERENCE, ELTWISE_ABS, rows, rows, zero, zero, None)
        # a row of zeros gets the smallest scale; to any other one, it adds less than its rounding
        share = Attributes(post=[("linear", 1 / 127, SMALLEST_SCALE)])
        rounded = Descriptor(x.shape, np.int8)
        rounding = (rows, engine, rounded, engine, Attributes({DST: 0}))
        arrays = {SRC: rows, DST: rounded, ATTR_SCALES | DST: single}
        one_thread = threads(alone)
        self.primitives = [
            Primitive("eltwise_forward", absolute, {SRC: rows, DST: rows}, one_thread),
            Primitive("reduction", (REDUCTION_MAX, rows, one, zero, zero, share), {SRC: rows, DST: one}, one_thread),
            Primitive("reorder", rounding, arrays, one_thread),
        ]
        self.primitives[0].bind({SRC: x, DST: sizes})
        self.primitives[1].bind({SRC: sizes, DST: self.scale})
        self.primitives[2].bind({SRC: x, DST: self.q, ATTR_SCALES | DST: self.scale.reshape(1)})


class Row:
    """A dynamic linear layer for one row, followed by the operations in `post`.

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

    def primitives(self, x: Array, y: Array, alone: bool) -> list[Primitive]:
        """Return the primitives from x (1, in) to y (1, out)."""
        scales = Scales(x, alone)
        rows, out = Descriptor(x.shape, np.int8), Descriptor(y.shape, np.float32)
        free = Descriptor((self._depth, self._out), np.int8, "any")
        bias = None if self._bias is None else Descriptor((1, self._out), np.float32)
        attributes = Attributes({SRC: 0, WEIGHTS: 2}, self._post)
        arrays: dict[int, Descriptor | None] = {SRC: rows, WEIGHTS: None, DST: out} | ({BIAS: bias} if bias else {})
        given = {ATTR_SCALES | SRC: scales.scale.reshape(1), ATTR_SCALES | WEIGHTS: self._scale}
        arrays |= {argument: Descriptor(array.shape, np.float32) for argument, array in given.items()}
        cost = cost_of(2 * self._depth * self._out // int8.SPEEDUP, self._depth * self._out)
        product = Primitive("matmul", (rows, free, bias, out, attributes), arrays, threads(alone), cost)
        weight = self._weight.packed_in(product.descriptor(WEIGHTS))
        product.bind({SRC: scales.q, WEIGHTS: weight, DST: y} | given | ({} if bias is None else {BIAS: self._bias}))
        return [*scales.primitives, product]
