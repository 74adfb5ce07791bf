"""The layers of a convolutional network in bfloat16, computed by oneDNN.

Arrays are contiguous and channels-last, (N, H, W, C), so a bfloat16 network passes them from layer to layer without a
copy. Weights and biases are given as float32 and rounded while they are packed into the layout that the kernel needs;
their gradients are float32. All sums are accumulated in float32. The kernels read raw bytes, so arrays of another dtype
or byte order are rejected in the same way as shapes that have no kernel.

A kernel is prepared once for its shapes and kept for each thread, because it does one run at a time. A batch is split
between threads as in `parallel`, and oneDNN computes each part on one thread. OpenMP could split the batch inside
oneDNN, but its threads wait for each other by spinning, dozens of times in a training step: with another program on
one of two cores, a step took 60 times as long.
If oneDNN has no kernel, the functions raise `library.UnsupportedError`, and the caller computes the result another way.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from ctypes import byref, c_char_p, c_float
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy import ndarray as Array

from tinytorch.arrays.parallel import in_parallel
from tinytorch.arrays.windows import Gradients, Window, sum_parts
from tinytorch.base.dtypes import bfloat16
from tinytorch.native import primitives as dnn
from tinytorch.native.library import UnsupportedError, check, library
from tinytorch.native.primitives import Descriptor

Shape = tuple[int, ...]
Kernel = TypeVar("Kernel")
_IMPLEMENTATION_NAME = 8  # dnnl_query_impl_info_str
KEPT = 512  # prepared kernels that each thread keeps; a network needs a few dozen
_USE_BATCH, _USE_GIVEN, _SCALE_AND_SHIFT = 0, 1, 2 | 4  # dnnl_normalization_flags_t
_INFINITY_BITS, _NEGATIVE_INFINITY_BITS = 0x7F80, 0xFF80  # of bfloat16; larger bits are NaN


class _Primitive(dnn.Primitive):
    """An operation with an optimized kernel. oneDNN falls back to plain loops, "ref", which are 1,000 times as slow."""

    def __init__(self, function: str, arguments: Sequence[Any], arrays: Mapping[int, Descriptor | None]) -> None:
        super().__init__(function, arguments, arrays, dnn.ONE_THREAD)
        name = c_char_p()
        status = library().c.dnnl_primitive_desc_query(self.hint, _IMPLEMENTATION_NAME, 0, byref(name))
        check(status, "a kernel's name")
        if (name.value or b"").startswith(b"ref"):
            raise UnsupportedError(f"oneDNN has no kernel for {function}, only plain loops")


class _Mine(threading.local):
    """This thread's kernels, by function and settings."""

    def __init__(self) -> None:
        self.made: dict[Hashable, Any] = {}


_mine = _Mine()


def _kernel(make: Callable[..., Kernel], *settings: Hashable) -> Kernel:
    """Return `make(*settings)`, kept from an earlier call if possible."""
    made, key = _mine.made, (make, *settings)
    if key not in made:
        if len(made) >= KEPT:
            made.pop(next(iter(made)))
        made[key] = make(*settings)
    return made[key]


def _reject_nan(x: Array) -> None:
    """Raise UnsupportedError if x contains NaN: oneDNN's maximum of NaN and a number is the number, hiding a failure.

    Read as unsigned integers, negative NaNs are the largest values; read as signed integers, positive NaNs are. The
    two passes take 1% of a training step, a tenth of the time of `isnan`.
    """
    if x.view(np.uint16).max(initial=0) > _NEGATIVE_INFINITY_BITS or x.view(np.int16).max(initial=0) > _INFINITY_BITS:
        raise UnsupportedError("oneDNN's maximum ignores NaN")


def _require_float32(array: Array) -> None:
    if array.dtype != np.float32:  # the other byte order compares unequal, too
        raise UnsupportedError(f"parameters of {array.dtype}: expected float32")


def _float32(array: Array) -> Array:
    """Return the array as contiguous float32; another dtype is an error."""
    _require_float32(array)
    return np.ascontiguousarray(array)


def _images(shape: Shape) -> Descriptor:
    """Return the descriptor of channels-last images, whose shape oneDNN expects as (N, C, H, W)."""
    n, h, w, c = shape
    return Descriptor((n, c, h, w), bfloat16(), "channels_last")


def _channels(count: int) -> Descriptor:
    return Descriptor((count,), np.float32)


# Convolution ------------------------------------------------------------------------------------------


class _Copier:
    """A prepared conversion of arrays from one layout and dtype to another."""

    def __init__(self, source: Descriptor, target: Descriptor) -> None:
        engine, self._size = library().engine, target.size
        arrays = {dnn.SRC: source, dnn.DST: target}
        what = source, engine, target, engine, None
        self._primitive = dnn.Primitive("reorder", what, arrays, dnn.ONE_THREAD)

    def __call__(self, array: Array, out: Array | None = None) -> Array:
        out = dnn.aligned(self._size) if out is None else out
        self._primitive.run({dnn.SRC: array, dnn.DST: out})
        return out


class _Convolution:
    """The kernels of one convolution: forward, and backward to the input and to the weight, each created on first use.

    Each kernel chooses the layout of its weights ("any"); float32 weights are rounded and packed into that layout.
    """

    def __init__(self, x: Shape, weight: Shape, window: Window, groups: int, biased: bool) -> None:
        k = weight[0]
        self.biased, self._b = biased, _channels(k) if biased else None
        self._x, self._y = _images(x), _images((x[0], *window.positions, k))
        self._shape = weight if groups == 1 else (groups, k // groups, *weight[1:])
        self._weight = Descriptor(self._shape, bfloat16(), "any")
        self._plain = Descriptor(self._shape, np.float32)
        dilation = [d - 1 for d in window.dilation]  # oneDNN counts the skipped rows
        self._geometry = window.stride, dilation, window.padding, window.padding
        arguments = (dnn.FORWARD_TRAINING, dnn.CONVOLUTION_DIRECT, self._x, self._weight, self._b, self._y)
        arrays = {dnn.SRC: self._x, dnn.WEIGHTS: None, dnn.DST: self._y} | self._with_bias(dnn.BIAS)
        self.forward = _Primitive("convolution_forward", (*arguments, *self._geometry, None), arrays)
        self.pack_forward = _Copier(self._plain, self.forward.descriptor(dnn.WEIGHTS))

    def _with_bias(self, argument: int) -> dict[int, Descriptor | None]:
        return {argument: self._b} if self.biased else {}

    @cached_property
    def to_input(self) -> _Primitive:
        arguments = (dnn.CONVOLUTION_DIRECT, self._x, self._weight, self._y, *self._geometry, self.forward, None)
        arrays = {dnn.DIFF_SRC: self._x, dnn.WEIGHTS: None, dnn.DIFF_DST: self._y}
        return _Primitive("convolution_backward_data", arguments, arrays)

    @cached_property
    def pack_backward(self) -> _Copier:
        return _Copier(self._plain, self.to_input.descriptor(dnn.WEIGHTS))

    @cached_property
    def to_weight(self) -> _Primitive:
        free = Descriptor(self._shape, np.float32, "any")
        arguments = (dnn.CONVOLUTION_DIRECT, self._x, free, self._b, self._y, *self._geometry, self.forward, None)
        arrays = {dnn.SRC: self._x, dnn.DIFF_WEIGHTS: None, dnn.DIFF_DST: self._y}
        return _Primitive("convolution_backward_weights", arguments, arrays | self._with_bias(dnn.DIFF_BIAS))

    @cached_property
    def unpack(self) -> _Copier:
        return _Copier(self.to_weight.descriptor(dnn.DIFF_WEIGHTS), self._plain)


def convolution_forward(x: Array, w: Array, b: Array | None, window: Window, groups: int) -> Array:
    """Convolve x (N, H, W, C) bfloat16 with w (K, C/groups, kh, kw), b (K,) float32; result (N, OH, OW, K) bfloat16."""
    y = np.empty((len(x), *window.positions, len(w)), x.dtype)
    w = _float32(w)
    bias = {} if b is None else {dnn.BIAS: _float32(b)}

    def work(begin: int, end: int) -> None:
        part = x[begin:end]
        made = _kernel(_Convolution, part.shape, w.shape, window, groups, b is not None)
        made.forward.run({dnn.SRC: part, dnn.WEIGHTS: made.pack_forward(w), dnn.DST: y[begin:end]} | bias)

    in_parallel(x, work)
    return y


def convolution_backward(
    g: Array, x: Array, w: Array, b: Array | None, window: Window, groups: int, input_gradient: bool
) -> Gradients:
    """Return the gradients of x in bfloat16 and of w and b in float32, given g = dL/dy in bfloat16."""
    if window.padding[1] and x.shape[2] < window.stride[1]:  # 3.2 leaves dw uninitialized here
        raise UnsupportedError("oneDNN has no kernel for padded images narrower than the stride")
    dx = np.empty(x.shape, x.dtype) if input_gradient else None
    w = _float32(w)

    def work(begin: int, end: int) -> tuple[Array, Array]:
        part, g_part = x[begin:end], g[begin:end]
        made = _kernel(_Convolution, part.shape, w.shape, window, groups, b is not None)
        if dx is not None:
            arrays = {dnn.DIFF_SRC: dx[begin:end], dnn.WEIGHTS: made.pack_backward(w), dnn.DIFF_DST: g_part}
            made.to_input.run(arrays)
        packed, db = dnn.aligned(made.to_weight.descriptor(dnn.DIFF_WEIGHTS).size), np.zeros(len(w), np.float32)
        bias = {} if b is None else {dnn.DIFF_BIAS: db}
        made.to_weight.run({dnn.SRC: part, dnn.DIFF_WEIGHTS: packed, dnn.DIFF_DST: g_part} | bias)
        return made.unpack(packed, np.empty(w.shape, np.float32)), db

    dw, db = sum_parts(in_parallel(x, work))
    return dx, dw, db


# Pooling ----------------------------------------------------------------------------------------------


class _MaxPool:
    """The kernels of one max pooling; the workspace `places` records the position of each window's maximum."""

    def __init__(self, x: Shape, window: Window) -> None:
        x_, y_ = _images(x), _images((x[0], *window.positions, x[3]))
        geometry = window.stride, window.kernel, (0, 0), window.padding, window.padding
        arrays: dict[int, Descriptor | None] = {dnn.SRC: x_, dnn.DST: y_}
        arguments = (dnn.POOLING_MAX, x_, y_, *geometry)
        self.inference = _Primitive("pooling_forward", (dnn.FORWARD_INFERENCE, *arguments, None), arrays)
        places = {dnn.WORKSPACE: None}
        self.forward = _Primitive("pooling_forward", (dnn.FORWARD_TRAINING, *arguments, None), arrays | places)
        arrays = {dnn.DIFF_SRC: x_, dnn.DIFF_DST: y_} | places
        self.backward = _Primitive("pooling_backward", (*arguments, self.forward, None), arrays)
        self.places_size = self.forward.descriptor(dnn.WORKSPACE).size


def max_pool_forward(x: Array, window: Window, recording: bool) -> tuple[Array, dict[int, Array]]:
    """Return the maximum of each window and, with `recording`, the positions of the maxima for the backward pass: one
    array for each part of the batch, with the index of its first sample as the key."""
    y, places = np.empty((len(x), *window.positions, x.shape[3]), x.dtype), {}

    def work(begin: int, end: int) -> None:
        part = x[begin:end]
        _reject_nan(part)
        made = _kernel(_MaxPool, part.shape, window)
        arrays = {dnn.SRC: part, dnn.DST: y[begin:end]}
        if recording:
            places[begin] = np.empty(made.places_size, np.uint8)
            made.forward.run(arrays | {dnn.WORKSPACE: places[begin]})
        else:
            made.inference.run(arrays)

    in_parallel(x, work)
    return y, places


def max_pool_backward(g: Array, places: dict[int, Array], shape: Shape, window: Window) -> Array:
    """Pass each window's gradient to the position of its maximum. Of equal values the first in row order receives it;
    NumPy's 2x2 windows compare columns first, so they may choose (1, 0) instead of (0, 1) if these are equal."""
    dx = np.empty(shape, g.dtype)

    def work(begin: int, end: int) -> None:
        part = dx[begin:end]
        arrays = {dnn.DIFF_SRC: part, dnn.DIFF_DST: g[begin:end], dnn.WORKSPACE: places[begin]}
        _kernel(_MaxPool, part.shape, window).backward.run(arrays)

    in_parallel(dx, work)  # dx has the size of x, so the parts are the same
    return dx


# Batch normalization ----------------------------------------------------------------------------------


class _BatchNorm:
    """The kernels of one batch normalization; eps is 0, because callers add it to the variance they pass."""

    def __init__(self, x: Shape) -> None:
        x_, c, zero = _images(x), _channels(x[3]), c_float(0)
        arrays: dict[int, Descriptor | None] = {dnn.SRC: x_, dnn.DST: x_, dnn.MEAN: c, dnn.VARIANCE: c}
        affine: dict[int, Descriptor | None] = {dnn.SCALE: c, dnn.SHIFT: c}
        function, training = "batch_normalization_forward", dnn.FORWARD_TRAINING
        self.measure = _Primitive(function, (training, x_, x_, zero, _USE_BATCH, None), arrays)
        given = _USE_GIVEN | _SCALE_AND_SHIFT
        self.forward = _Primitive(function, (training, x_, x_, zero, given, None), arrays | affine)
        hint = _Primitive(function, (training, x_, x_, zero, _SCALE_AND_SHIFT, None), arrays | affine)
        arrays = {dnn.SRC: x_, dnn.DIFF_DST: x_, dnn.DIFF_SRC: x_, dnn.MEAN: c, dnn.VARIANCE: c, dnn.SCALE: c,
                  dnn.DIFF_SCALE: c, dnn.DIFF_SHIFT: c}  # fmt: skip
        arguments = (dnn.BACKWARD, x_, x_, x_, zero, _SCALE_AND_SHIFT, hint, None)
        self.backward = _Primitive("batch_normalization_backward", arguments, arrays)


def channel_statistics(x: Array) -> tuple[Array, Array]:
    """Return the mean and the (biased) variance of each channel in float32."""

    def work(begin: int, end: int) -> tuple[float, Array, Array]:
        part, mean, var = x[begin:end], np.empty(x.shape[3], np.float32), np.empty(x.shape[3], np.float32)
        arrays = {dnn.SRC: part, dnn.DST: np.empty_like(part), dnn.MEAN: mean, dnn.VARIANCE: var}
        _kernel(_BatchNorm, part.shape).measure.run(arrays)
        return (end - begin) / len(x), mean, var

    parts = in_parallel(x, work)
    total = np.zeros(x.shape[3], np.float32)
    mean = sum((share * own for share, own, _ in parts), total)
    return mean, sum((share * (var + (own - mean) ** 2) for share, own, var in parts), total)


def normalize(x: Array, scale: Array, shift: Array, mean: Array, var: Array) -> Array:
    """Return (x - mean) / sqrt(var) * scale + shift; the four are float32 (C,), one value for each channel."""
    given = {dnn.MEAN: mean, dnn.VARIANCE: var, dnn.SCALE: scale, dnn.SHIFT: shift}
    y, numbers = np.empty_like(x), {argument: _float32(array) for argument, array in given.items()}

    def work(begin: int, end: int) -> None:
        part = x[begin:end]
        _kernel(_BatchNorm, part.shape).forward.run({dnn.SRC: part, dnn.DST: y[begin:end]} | numbers)

    in_parallel(x, work)
    return y


def normalized_gradients(g: Array, x: Array, scale: Array, mean: Array, var: Array) -> tuple[Array, Array, Array]:
    """Return the gradients of x (bfloat16), scale, and shift (float32), for the batch's own mean and variance. The
    batch is not split, because each part's gradient needs the sums over the whole batch."""
    scale, mean, var = map(_float32, (scale, mean, var))
    dx, dscale, dshift = np.empty_like(x), np.empty_like(scale), np.empty_like(scale)
    arrays = {dnn.SRC: x, dnn.DIFF_DST: g, dnn.DIFF_SRC: dx, dnn.MEAN: mean, dnn.VARIANCE: var, dnn.SCALE: scale,
              dnn.DIFF_SCALE: dscale, dnn.DIFF_SHIFT: dshift}  # fmt: skip
    _kernel(_BatchNorm, x.shape).backward.run(arrays)
    return dx, dscale, dshift


# ReLU -----------------------------------------------------------------------------------------------


def _relu(size: int) -> _Primitive:
    x = Descriptor((size,), bfloat16())
    arguments = (dnn.FORWARD_INFERENCE, dnn.ELTWISE_RELU, x, x, c_float(0), c_float(0), None)
    return _Primitive("eltwise_forward", arguments, {dnn.SRC: x, dnn.DST: x})


def relu(x: Array) -> Array:
    """Return max(x, 0) for a contiguous array."""
    y = np.empty_like(x)

    def work(begin: int, end: int) -> None:
        part = x[begin:end]
        _reject_nan(part)
        _kernel(_relu, part.size).run({dnn.SRC: part, dnn.DST: y[begin:end]})

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
        self.primitive = _Primitive("matmul", (a_, b_, bias, y, None), arrays)
        if packed:
            self.pack = _Copier(Descriptor(b_shape, np.float32, b_strides), self.primitive.descriptor(dnn.WEIGHTS))


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
        _require_float32(b)
    y = np.empty((*a.shape[:-1], b.shape[-1]), np.float32 if exact else bfloat16())
    given = {} if bias is None else {dnn.BIAS: _float32(bias)}

    def work(begin: int, end: int) -> None:
        part, other = a[begin:end], b if b.ndim == 2 else b[begin:end]
        made = _kernel(_Product, _layout(part), _layout(other), bias is not None, exact, packed)
        weights = made.pack(other) if packed else other
        made.primitive.run({dnn.SRC: part, dnn.WEIGHTS: weights, dnn.DST: y[begin:end]} | given)

    in_parallel(y if y.size > a.size else a, work)
    return y
