"""Products, GELU, and layer normalization of float32 arrays for training, computed by oneDNN.

Arrays are read where they are: a product takes matrices of any strides, so no weight is turned or packed in a step.
See `kept` for threads.
"""

from __future__ import annotations

from ctypes import c_float

import numpy as np
from numpy import ndarray as Array

from tinytorch.arrays.parallel import in_parallel, on_all_cores
from tinytorch.native import primitives as dnn
from tinytorch.native.kept import Kernel, float32, kernel, layout, matrix
from tinytorch.native.primitives import Descriptor

Strided = tuple[tuple[int, ...], tuple[int, ...]]  # a shape and its strides in elements
_SCALE, _SHIFT = 2, 4  # dnnl_normalization_flags_t


# Products ---------------------------------------------------------------------------------------------


def _product(a: Strided, b: Strided, y: Strided, biased: bool) -> Kernel:
    a_, b_, y_ = (Descriptor(shape, np.float32, strides) for shape, strides in (a, b, y))
    bias = Descriptor((1, b[0][1]), np.float32) if biased else None
    arrays: dict[int, Descriptor | None] = {dnn.SRC: a_, dnn.WEIGHTS: b_, dnn.DST: y_}
    return Kernel("matmul", (a_, b_, bias, y_, None), arrays | ({dnn.BIAS: bias} if biased else {}))


def product(a: Array, b: Array, bias: Array | None = None) -> Array:
    """Return a b + bias for a (M, K), b (K, N), and bias (N,); the longer side of the result is split between threads.

    Raises:
        UnsupportedError: an array is not float32.
    """
    a, b = matrix(_checked(a)), matrix(_checked(b))
    y = np.empty((len(a), b.shape[1]), np.float32)
    by_rows = len(a) >= b.shape[1]
    given = None if bias is None else float32(bias)

    def work(begin: int, end: int) -> None:
        rows, columns = (slice(begin, end), slice(None)) if by_rows else (slice(None), slice(begin, end))
        part, other, out = a[rows], b[:, columns], y[rows, columns]
        made = kernel(_product, _strided(part), _strided(other), _strided(out), given is not None)
        arrays = {dnn.SRC: part, dnn.WEIGHTS: other, dnn.DST: out}
        made.run(arrays if given is None else arrays | {dnn.BIAS: given[columns]})

    on_all_cores(max(y.shape), work)
    return y


def _checked(x: Array) -> Array:
    float32(x[:0])  # another dtype or byte order is an error
    return x


def _strided(x: Array) -> Strided:
    return layout(x) if x.flags.c_contiguous else (x.shape, (x.strides[0] // 4, x.strides[1] // 4))


# GELU -------------------------------------------------------------------------------------------------


class _Gelu:
    """The kernels of GELU in the form with tanh, for arrays of one size."""

    def __init__(self, size: int) -> None:
        x, zero, alg = Descriptor((size,), np.float32), c_float(0), dnn.ELTWISE["gelu"]
        self.forward = Kernel(
            "eltwise_forward", (dnn.FORWARD_TRAINING, alg, x, x, zero, zero, None), {dnn.SRC: x, dnn.DST: x}
        )
        arguments = (alg, x, x, x, zero, zero, self.forward, None)
        self.backward = Kernel("eltwise_backward", arguments, {dnn.SRC: x, dnn.DIFF_DST: x, dnn.DIFF_SRC: x})


def gelu(x: Array) -> Array:
    """Return x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) for each element, in the memory order of x."""
    order = _order(x)
    values = float32(x.transpose(order))
    y = np.empty_like(values)
    flat, out = values.reshape(-1), y.reshape(-1)

    def work(begin: int, end: int) -> None:
        kernel(_Gelu, end - begin).forward.run({dnn.SRC: flat[begin:end], dnn.DST: out[begin:end]})

    in_parallel(flat, work)
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

    in_parallel(flat, work)
    return dx.transpose(np.argsort(order))


def _order(x: Array) -> Array:
    """Return the dimensions by falling stride: transposed so, channels-last images are contiguous."""
    return np.argsort([-abs(stride) for stride in x.strides], kind="stable")


# Layer normalization ----------------------------------------------------------------------------------


class _LayerNorm:
    """The kernels of one layer normalization of rows (N, D)."""

    def __init__(self, rows: int, width: int, eps: float, biased: bool) -> None:
        x, stat, wide = Descriptor((rows, width), np.float32), Descriptor((rows,), np.float32), (width,)
        scale, flags = Descriptor(wide, np.float32), _SCALE | (_SHIFT if biased else 0)
        shift: dict[int, Descriptor | None] = {dnn.SHIFT: scale} if biased else {}
        arrays: dict[int, Descriptor | None] = {
            dnn.SRC: x, dnn.DST: x, dnn.MEAN: stat, dnn.VARIANCE: stat, dnn.SCALE: scale,
        }  # fmt: skip
        arguments = (dnn.FORWARD_TRAINING, x, x, stat, c_float(eps), flags, None)
        self.forward = Kernel("layer_normalization_forward", arguments, arrays | shift)
        arrays = {
            dnn.SRC: x, dnn.DIFF_DST: x, dnn.DIFF_SRC: x, dnn.MEAN: stat, dnn.VARIANCE: stat, dnn.SCALE: scale,
            dnn.DIFF_SCALE: scale,
        }  # fmt: skip
        shift = {dnn.SHIFT: scale, dnn.DIFF_SHIFT: scale} if biased else {}
        back = (dnn.BACKWARD, x, x, x, stat, c_float(eps), flags, self.forward, None)
        self.backward = Kernel("layer_normalization_backward", back, arrays | shift)


def layer_norm(x: Array, weight: Array, bias: Array | None, eps: float) -> tuple[Array, Array, Array]:
    """Return y, the means, and the variances of the rows of x (N, D): (N, D), (N,), (N,)."""
    y, mean, variance = np.empty_like(x), np.empty(len(x), np.float32), np.empty(len(x), np.float32)
    given = {dnn.SCALE: float32(weight)} | ({} if bias is None else {dnn.SHIFT: float32(bias)})
    x = float32(x)

    def work(begin: int, end: int) -> None:
        part = slice(begin, end)
        made = kernel(_LayerNorm, end - begin, x.shape[1], eps, bias is not None)
        arrays = {dnn.SRC: x[part], dnn.DST: y[part], dnn.MEAN: mean[part], dnn.VARIANCE: variance[part]}
        made.forward.run(arrays | given)

    in_parallel(x, work)
    return y, mean, variance


def layer_norm_gradients(
    g: Array, x: Array, mean: Array, variance: Array, weight: Array, biased: bool, eps: float
) -> tuple[Array, Array, Array | None]:
    """Return the gradients of x, the weight, and the bias, which is None without one."""
    g, x, weight, dx = float32(g), float32(x), float32(weight), np.empty_like(x)

    def work(begin: int, end: int) -> tuple[Array, Array]:
        part, dweight, dbias = slice(begin, end), np.empty_like(weight), np.empty_like(weight)
        arrays = {
            dnn.SRC: x[part], dnn.DIFF_DST: g[part], dnn.DIFF_SRC: dx[part], dnn.MEAN: mean[part],
            dnn.VARIANCE: variance[part], dnn.SCALE: weight, dnn.DIFF_SCALE: dweight,
        }  # fmt: skip
        made = kernel(_LayerNorm, end - begin, x.shape[1], eps, biased)
        made.backward.run(arrays | ({dnn.SHIFT: weight, dnn.DIFF_SHIFT: dbias} if biased else {}))  # SHIFT is not read
        return dweight, dbias

    found = in_parallel(x, work)
    dweight = sum((part[0] for part in found[1:]), found[0][0])
    return dx, dweight, sum((part[1] for part in found[1:]), found[0][1]) if biased else None
