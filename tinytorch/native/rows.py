"""GELU and layer normalization of float32 arrays for training, computed by oneDNN. See `kept` for threads.

Products are not here: OpenBLAS is as fast for them. In a GPT's training iteration (768 rows), oneDNN's products took
the same time on two threads, and in that of an MLP (128 to 1,024 rows) up to 1.3 times as long.
"""

from __future__ import annotations

from collections.abc import Callable
from ctypes import c_float

import numpy as np
from numpy import ndarray as Array

from tinytorch.arrays.parallel import in_parallel
from tinytorch.native import primitives as dnn
from tinytorch.native.kept import Kernel, float32, kernel
from tinytorch.native.primitives import Descriptor

SHARED = 2**21  # values: fewer take less than a millisecond, and to hand a part to another thread takes 90 us
SUMMED = 2**12  # rows whose gradients oneDNN adds up, one by one: 2^20 equal ones are wrong by 1%
_SCALE, _SHIFT = 2, 4  # dnnl_normalization_flags_t


# GELU -------------------------------------------------------------------------------------------------


class _Gelu:
    """The kernels of GELU in the form with tanh, for arrays of one size."""

    def __init__(self, size: int) -> None:
        x, zero, alg = Descriptor((size,), np.float32), c_float(0), dnn.ELTWISE["gelu"]
        arguments = (dnn.FORWARD_TRAINING, alg, x, x, zero, zero, None)
        self.forward = Kernel("eltwise_forward", arguments, {dnn.SRC: x, dnn.DST: x})
        back = (alg, x, x, x, zero, zero, self.forward, None)
        self.backward = Kernel("eltwise_backward", back, {dnn.SRC: x, dnn.DIFF_DST: x, dnn.DIFF_SRC: x})


def gelu(x: Array) -> Array:
    """Return x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) for each element, in the memory order of x."""
    order = _order(x)
    values = float32(x.transpose(order))
    y = np.empty_like(values)
    flat, out = values.reshape(-1), y.reshape(-1)

    def work(begin: int, end: int) -> None:
        kernel(_Gelu, end - begin).forward.run({dnn.SRC: flat[begin:end], dnn.DST: out[begin:end]})

    _shared(flat, work)
    return y.transpose(np.argsort(order))


def gelu_gradient(g: Array, x: Array) -> Array:
    """Return the gradient of x, given g, the gradient of gelu(x), in the memory order of x."""
    order = _order(x)
    values, given = float32(x.transpose(order)), float32(g.transpose(order))
    dx = np.empty_like(values)
    flat, flat_g, out = (array.reshape(-1) for array in (values, given, dx))

    def work(begin: int, end: int) -> None:
        arrays = {dnn.SRC: flat[begin:end], dnn.DIFF_DST: flat_g[begin:end], dnn.DIFF_SRC: out[begin:end]}
        kernel(_Gelu, end - begin).backward.run(arrays)

    _shared(flat, work)
    return dx.transpose(np.argsort(order))


def _shared(flat: Array, work: Callable[[int, int], None]) -> None:
    """Work on all values, in parts on all cores if there are enough of them."""
    if flat.size < SHARED:
        work(0, flat.size)
    else:
        in_parallel(flat, work)


def _order(x: Array) -> Array:
    """Return the dimensions by falling stride: transposed so, channels-last images are contiguous."""
    return np.argsort([-abs(stride) for stride in x.strides], kind="stable")


# Layer normalization ----------------------------------------------------------------------------------


class _LayerNorm:
    """The kernels of one layer normalization of rows (N, D)."""

    def __init__(self, rows: int, width: int, eps: float, biased: bool) -> None:
        x, stat = Descriptor((rows, width), np.float32), Descriptor((rows,), np.float32)
        scale, flags = Descriptor((width,), np.float32), _SCALE | (_SHIFT if biased else 0)
        shared: dict[int, Descriptor | None] = {dnn.SRC: x, dnn.MEAN: stat, dnn.VARIANCE: stat, dnn.SCALE: scale}
        shared |= {dnn.SHIFT: scale} if biased else {}
        arguments = (dnn.FORWARD_TRAINING, x, x, stat, c_float(eps), flags, None)
        self.forward = Kernel("layer_normalization_forward", arguments, shared | {dnn.DST: x})
        back = (dnn.BACKWARD, x, x, x, stat, c_float(eps), flags, self.forward, None)
        gradients: dict[int, Descriptor | None] = {dnn.DIFF_DST: x, dnn.DIFF_SRC: x, dnn.DIFF_SCALE: scale}
        gradients |= {dnn.DIFF_SHIFT: scale} if biased else {}
        self.backward = Kernel("layer_normalization_backward", back, shared | gradients)


def layer_norm(x: Array, weight: Array, bias: Array | None, eps: float) -> tuple[Array, Array, Array]:
    """Return y, the means, and the variances of the rows of x (N, D): (N, D), (N,), (N,)."""
    x = float32(x)
    y, mean, variance = np.empty_like(x), np.empty(len(x), np.float32), np.empty(len(x), np.float32)
    arrays = {dnn.SRC: x, dnn.DST: y, dnn.MEAN: mean, dnn.VARIANCE: variance, dnn.SCALE: float32(weight)}
    arrays |= {} if bias is None else {dnn.SHIFT: float32(bias)}
    kernel(_LayerNorm, *x.shape, eps, bias is not None).forward.run(arrays)
    return y, mean, variance


def layer_norm_gradients(
    g: Array, x: Array, mean: Array, variance: Array, weight: Array, biased: bool, eps: float
) -> tuple[Array, Array, Array | None]:
    """Return the gradients of x, the weight, and the bias, which is None without one."""
    g, x, weight = float32(g), float32(x), float32(weight)
    dx, sums = np.empty_like(x), np.zeros((2, len(weight)))
    for i in range(0, len(x), SUMMED):
        part, found = slice(i, i + SUMMED), np.zeros((2, len(weight)), np.float32)
        arrays = {dnn.SRC: x[part], dnn.MEAN: mean[part], dnn.VARIANCE: variance[part], dnn.SCALE: weight}
        arrays |= {dnn.DIFF_DST: g[part], dnn.DIFF_SRC: dx[part], dnn.DIFF_SCALE: found[0]}
        arrays |= {dnn.SHIFT: weight, dnn.DIFF_SHIFT: found[1]} if biased else {}  # SHIFT is not read
        kernel(_LayerNorm, *x[part].shape, eps, biased).backward.run(arrays)
        sums += found
    dweight, dbias = sums.astype(np.float32)
    return dx, dweight, dbias if biased else None
