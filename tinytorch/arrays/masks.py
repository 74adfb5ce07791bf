"""Gradients of functions that select: a value or 0, without multiplying by 0, which would turn infinity into NaN.

All functions are independent of Tensor. `spread` undoes a reduction's loss of dimensions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray as Array

Axis = int | tuple[int, ...] | None

INTEGERS: dict[int, Any] = {
    2: np.dtype(np.int16),
    4: np.dtype(np.int32),
    8: np.dtype(np.int64),
}  # by the size of a number in bytes


def masked(g: Array, keep: Array) -> Array:
    """Return g where `keep` (booleans) is true, and 0 elsewhere.

    The bits of g, read as integers, are multiplied by 0 or 1, which is exact for infinity and NaN, too. For 128 x 32 x
    32 x 32 random values this takes 2.2 ms, `g * keep` 2.4 ms, and `np.where(keep, g, 0)` 21 ms.
    """
    return (g.view(INTEGERS[g.itemsize]) * keep).view(g.dtype)


def spread(g: Array, x: Array, dim: Axis, keepdim: bool) -> Array:
    """Undo a reduction's loss of dimensions: broadcast g to the shape of x."""
    if dim is not None and not keepdim:
        g = np.expand_dims(g, dim)
    return np.broadcast_to(g, x.shape)


def share_of_extremes(g: Array, y: Array, x: Array, dim: Axis, keepdim: bool) -> Array:
    """Send g to the elements of x that are the maximum (or minimum) y, and 0 to the others; k of them get g/k each."""
    wide = spread(y, x, dim, keepdim)
    chosen = (x == wide) | ((x != x) & (wide != wide))  # a maximum that is NaN is that of the NaNs
    return masked(spread(g, x, dim, keepdim) / chosen.sum(axis=dim, keepdims=True, dtype=g.dtype), chosen)


def put_along(g: Array, indices: Array, x: Array, dim: int, keepdim: bool) -> Array:
    """Send g to the elements at `indices`, and 0 to the others."""
    out = np.zeros(x.shape, g.dtype)
    np.put_along_axis(out, indices, g if keepdim else np.expand_dims(g, dim), dim)
    return out


def share_of_maximum(g: Array, a: Array, b: Array) -> Array:
    """Send g to the elements of a that are larger than b, and half of it to the ones that are equal; NaN gets g."""
    return masked(g * (1 - np.equal(a, b) * g.dtype.type(0.5)), ~np.less(a, b))


def share_of_minimum(g: Array, a: Array, b: Array) -> Array:
    """Send g to the elements of a that are smaller than b, and half of it to the ones that are equal; NaN gets g."""
    return masked(g * (1 - np.equal(a, b) * g.dtype.type(0.5)), ~np.greater(a, b))
