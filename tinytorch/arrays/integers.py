"""Arrays for INT8 arithmetic: integer ranges, the parts of a layer, row scales, and the shift from int8 to uint8."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy import ndarray as Array

LARGEST = {"uint8": 255, "int8": 127}  # int8 starts at -127, so that its range is symmetric
SMALLEST_SCALE = float(np.finfo(np.float32).tiny)  # below this, float32 loses digits and 1 / scale overflows
_STEP, _LEAST = np.array([1 / 127], np.float32), np.array([SMALLEST_SCALE], np.float32)  # scalars take 0.3 µs longer


@dataclass(frozen=True, eq=False)
class IntegerLayer:
    """The parts of one INT8 linear or convolution layer that a kernel needs.

    Without an input dtype and scale, the layer is dynamic: each row of its input has its own scale. Without an output
    dtype and scale, it returns float32.
    """

    weight: Array  # int8, output channels first: (out, in), or (K, C/groups, kh, kw)
    weight_scale: Array  # float32 (out,)
    bias: Array | None  # float32 (out,)
    input_dtype: str | None  # "uint8" or "int8"
    input_scale: Array | None  # float32 ()
    output_dtype: str | None
    output_scale: Array | None
    relu: bool  # applied before the output is rounded
    groups: int = 1

    @property
    def depth(self) -> int:
        """Number of products in one sum."""
        return self.weight[0].size


def row_scales(x: Array, sizes: Array, scale: Array) -> Array:
    """Write the scale of each row of float32 values x (N, D), max |x| / 127, to `scale` (N, 1), and return it.

    A scale is at least SMALLEST_SCALE. A row that contains NaN or infinity gets a non-finite scale. |x| is left in
    `sizes` (N, D).

    The maximum is computed on the bits as int32, because nonnegative floats sort like their bits read as integers, with
    NaN last. For 8192 rows of 112, the integer maximum takes 0.26 ms; the float maximum, which checks for NaN, takes
    0.44 to 0.65 ms.
    """
    np.absolute(x, sizes)
    np.maximum.reduce(sizes.view(np.int32), axis=1, out=scale.view(np.int32), keepdims=True, initial=0)
    np.multiply(scale, _STEP, scale)
    return np.maximum(scale, _LEAST, out=scale)


def shifted(q: Array) -> Array:
    """Return int8 q + 128 as uint8, by flipping the sign bit."""
    return np.ascontiguousarray(q).view(np.uint8) ^ np.uint8(128)


def shift_of(weight: Array) -> Array:
    """Return what the shift adds to the sum of each output channel, int32 (out,): (q + 128) W = q W + 128 (1 W)."""
    return 128 * weight.sum(tuple(range(1, weight.ndim)), dtype=np.int32)
