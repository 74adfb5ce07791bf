"""ReLU and matrix products in bfloat16 for training, computed by oneDNN; `images` has the layers of images.

Weights and biases are given as float32, and weights are rounded while they are packed into the layout that the kernel
needs. All sums are accumulated in float32. The kernels read raw bytes, so arrays of another dtype or byte order are
rejected in the same way as shapes that have no kernel. See `kept` for threads.
"""

from __future__ import annotations

import math
from ctypes import c_float
from itertools import pairwise

import numpy as np
from numpy import ndarray as Array

from tinytorch.arrays.parallel import in_parallel
from tinytorch.base.dtypes import bfloat16
from tinytorch.native import primitives as dnn
from tinytorch.native.images import Shape
from tinytorch.native.kept import Copier, Kernel, float32, kernel, reject_nan, require_float32
from tinytorch.native.primitives import Descriptor

# ReLU -----------------------------------------------------------------------------------------------


def _relu(size: int) -> Kernel:
    x = Descriptor((size,), bfloat16())
    arguments = (dnn.FORWARD_INFERENCE, dnn.ELTWISE_RELU, x, x, c_float(0), c_float(0), None)
    return Kernel("eltwise_forward", arguments, {dnn.SRC: x, dnn.DST: x})


def relu(x: Array) -> Array:
    """Return max(x, 0) for a contiguous array."""
    y = np.empty_like(x)

    def work(begin: int, end: int) -> None:
        part = x[begin:end]
        reject_nan(part)
        kernel(_relu, part.size).run({dnn.SRC: part, dnn.DST: y[begin:end]})

    in_parallel(x, work)
    return y


# Products ---------------------------------------------------------------------------------------------


class _Product:
    """The kernel of a matrix product a b, (..., M, K) with (..., K, N), for arrays with these strides.

    With `packed`, b is given as float32 and rounded into the layout that the kernel has chosen.
    """

    def __init__(self, a: tuple[Shape, Shape], b: tuple[Shape, Shape], biased: bool, exact: bool, packed: bool) -> None:
        (shape, strides), (b_shape, b_strides), width = a, b, b[0][-1]
        a_ = Descriptor(shape, bfloat16(), strides)
        y = Descriptor((*shape[:-1], width), np.float32 if exact else bfloat16())
        b_ = Descriptor(b_shape, bfloat16(), "any" if packed else b_strides)
        bias = Descriptor((1, width), np.float32) if biased else None
        arrays = {dnn.SRC: a_, dnn.WEIGHTS: None if packed else b_, dnn.DST: y}
        arrays |= {dnn.BIAS: bias} if biased else {}
        self.primitive = Kernel("matmul", (a_, b_, bias, y, None), arrays)
        if packed:
            self.pack = Copier(Descriptor(b_shape, np.float32, b_strides), self.primitive.descriptor(dnn.WEIGHTS))


def _matrix(x: Array) -> Array:
    """Return x itself if its rows or its columns are contiguous and no two values overlap, as oneDNN requires;
    otherwise a copy."""
    dimensions = sorted(zip(x.strides, x.shape, strict=True))
    apart = all(stride * size <= wider for (stride, size), (wider, _) in pairwise(dimensions))
    plain = min(x.shape) > 1 and x.itemsize == dimensions[0][0] and x.itemsize in x.strides[-2:] and apart
    return x if plain else np.ascontiguousarray(x)


def _layout(x: Array) -> tuple[Shape, Shape]:
    """Return the shape and the strides in elements. The strides of a contiguous array are computed, because NumPy's
    strides of dimensions of size 1 are arbitrary."""
    if x.flags.c_contiguous:
        return x.shape, tuple(math.prod(x.shape[i + 1 :]) for i in range(x.ndim))
    return x.shape, tuple(stride // x.itemsize for stride in x.strides)


def product(a: Array, b: Array, bias: Array | None = None, exact: bool = False) -> Array:
    """Return a b + bias in bfloat16, or with `exact` as float32 sums: (..., M, K), (..., K, N) -> (..., M, N).

    a is bfloat16, b is bfloat16 or float32, and the bias (N,) is float32. The first dimension is split between threads.
    """
    a, b, packed = _matrix(a), _matrix(b), b.dtype != bfloat16()
    if packed:
        require_float32(b)
    y = np.empty((*a.shape[:-1], b.shape[-1]), np.float32 if exact else bfloat16())
    given = {} if bias is None else {dnn.BIAS: float32(bias)}

    def work(begin: int, end: int) -> None:
        part, other = a[begin:end], b if b.ndim == 2 else b[begin:end]
        made = kernel(_Product, _layout(part), _layout(other), bias is not None, exact, packed)
        weights = made.pack(other) if packed else other
        made.primitive.run({dnn.SRC: part, dnn.WEIGHTS: weights, dnn.DST: y[begin:end]} | given)

    in_parallel(y if y.size > a.size else a, work)
    return y
