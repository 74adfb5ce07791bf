"""The layers of a convolutional network for training, in float32 and bfloat16, computed by oneDNN.

Arrays are contiguous and channels-last, (N, H, W, C), so a network passes them from layer to layer without a copy.
oneDNN's own blocked layouts are about as fast: at most 1.5 times forward, and slower than a conversion of the weights'
gradient in parts. Weights and biases are given as float32; for bfloat16, they are rounded while they are packed into
the layout that the kernel needs. Their gradients are float32. All sums are accumulated in float32. The kernels read raw
bytes, so arrays of another dtype or byte order are rejected in the same way as shapes that have no kernel.
See `kept` for threads.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from ctypes import c_float
from functools import cached_property

import numpy as np
from numpy import ndarray as Array

from tinytorch.arrays.parallel import in_parallel, parts
from tinytorch.arrays.windows import Gradients, Window, sum_channels, sum_parts
from tinytorch.native import primitives as dnn
from tinytorch.native.kept import Copier, Kernel, float32, kernel, reject_nan
from tinytorch.native.library import UnsupportedError
from tinytorch.native.primitives import Descriptor

Shape = tuple[int, ...]
_USE_BATCH, _USE_GIVEN, _SCALE_AND_SHIFT = 0, 1, 2 | 4  # dnnl_normalization_flags_t


def _images(shape: Shape, dtype: np.dtype) -> Descriptor:
    """Return the descriptor of channels-last images, whose shape oneDNN expects as (N, C, H, W)."""
    n, h, w, c = shape
    return Descriptor((n, c, h, w), dtype, "channels_last")


def _channels(count: int) -> Descriptor:
    return Descriptor((count,), np.float32)


# Convolution ------------------------------------------------------------------------------------------


class Convolution:
    """The kernels of one convolution: forward, and backward to the input and to the weight, each created on first use.

    Each kernel chooses the layout of its weights ("any"); float32 weights are rounded and packed into that layout.
    """

    def __init__(
        self, x: Shape, dtype: np.dtype, weight: Shape, window: Window, groups: int, biased: bool, relu: bool = False
    ) -> None:
        k = weight[0]
        self.outputs, self._weight_shape = k, weight
        self.biased, self._b = biased, _channels(k) if biased else None
        self._x, self._y = _images(x, dtype), _images((x[0], *window.positions, k), dtype)
        self._shape = weight if groups == 1 else (groups, k // groups, *weight[1:])
        self._weight = Descriptor(self._shape, dtype, "any")
        self._plain = Descriptor(self._shape, np.float32)
        dilation = [d - 1 for d in window.dilation]  # oneDNN counts the skipped rows
        self._geometry = window.stride, dilation, window.padding, window.padding
        arguments = (dnn.FORWARD_TRAINING, dnn.CONVOLUTION_DIRECT, self._x, self._weight, self._b, self._y)
        arrays = {dnn.SRC: self._x, dnn.WEIGHTS: None, dnn.DST: self._y} | self._with_bias(dnn.BIAS)
        post = dnn.Attributes(post=["relu"]) if relu else None
        self.forward = Kernel("convolution_forward", (*arguments, *self._geometry, post), arrays)
        self.pack_forward = Copier(self._plain, self.forward.descriptor(dnn.WEIGHTS))

    def _with_bias(self, argument: int) -> dict[int, Descriptor | None]:
        return {argument: self._b} if self.biased else {}

    @cached_property
    def to_input(self) -> Kernel:
        arguments = (dnn.CONVOLUTION_DIRECT, self._x, self._weight, self._y, *self._geometry, self.forward, None)
        arrays = {dnn.DIFF_SRC: self._x, dnn.WEIGHTS: None, dnn.DIFF_DST: self._y}
        return Kernel("convolution_backward_data", arguments, arrays)

    @cached_property
    def pack_backward(self) -> Copier:
        return Copier(self._plain, self.to_input.descriptor(dnn.WEIGHTS))

    @cached_property
    def to_weight(self) -> Kernel:
        free = Descriptor(self._shape, np.float32, "any")
        arguments = (dnn.CONVOLUTION_DIRECT, self._x, free, self._b, self._y, *self._geometry, self.forward, None)
        arrays = {dnn.SRC: self._x, dnn.DIFF_WEIGHTS: None, dnn.DIFF_DST: self._y}
        return Kernel("convolution_backward_weights", arguments, arrays | self._with_bias(dnn.DIFF_BIAS))

    @cached_property
    def unpack(self) -> Copier:
        return Copier(self.to_weight.descriptor(dnn.DIFF_WEIGHTS), self._plain)

    def weight_gradients(self, x: Array, g: Array) -> tuple[Array, Array]:
        """Return the gradients of the weight and of the bias, which is 0 if there is none."""
        packed = dnn.aligned(self.to_weight.descriptor(dnn.DIFF_WEIGHTS).size)
        db = np.zeros(self.outputs, np.float32)
        bias = {dnn.DIFF_BIAS: db} if self.biased else {}
        self.to_weight.run({dnn.SRC: x, dnn.DIFF_WEIGHTS: packed, dnn.DIFF_DST: g} | bias)
        return self.unpack(packed, np.empty(self._weight_shape, np.float32)), db


def has_convolution(
    x: Shape, dtype: np.dtype, weight: Shape, window: Window, groups: int, backward: bool, counts: Iterable[int] = ()
) -> bool:
    """Return whether there are kernels for this convolution and, with `backward`, for its gradients.

    `counts` says how many images are computed together, if not those of each thread.
    """
    if window.padding[1] and x[2] < window.stride[1]:
        return False
    try:
        for count in counts or {end - begin for begin, end in parts(x)}:
            made = kernel(Convolution, (count, *x[1:]), dtype, weight, window, groups, True)
            if backward:
                made.to_input, made.to_weight  # noqa: B018 (created on first use)
    except UnsupportedError:
        return False
    return True


def convolution_forward(x: Array, w: Array, b: Array | None, window: Window, groups: int) -> Array:
    """Convolve x (N, H, W, C) with w (K, C/groups, kh, kw), b (K,) float32; the result has the dtype of x."""
    y = np.empty((len(x), *window.positions, len(w)), x.dtype)
    w = float32(w)
    bias = {} if b is None else {dnn.BIAS: float32(b)}

    def work(begin: int, end: int) -> None:
        part = x[begin:end]
        made = kernel(Convolution, part.shape, x.dtype, w.shape, window, groups, b is not None)
        made.forward.run({dnn.SRC: part, dnn.WEIGHTS: made.pack_forward(w), dnn.DST: y[begin:end]} | bias)

    in_parallel(x, work)
    return y


def convolution_backward(
    g: Array, x: Array, w: Array, biased: bool, window: Window, groups: int, input_gradient: bool
) -> Gradients:
    """Return the gradients of x in its dtype, and of w and the bias in float32.

    oneDNN adds the gradients of a bias one by one: of 819,200 equal ones, the sum was wrong by 0.1%. In float32, it is
    therefore NumPy's, a product.
    """
    if window.padding[1] and x.shape[2] < window.stride[1]:  # 3.2 leaves dw uninitialized here
        raise UnsupportedError("oneDNN has no kernel for padded images narrower than the stride")
    dx = np.empty(x.shape, x.dtype) if input_gradient else None
    w, summed = float32(w), biased and x.dtype == np.float32

    def work(begin: int, end: int) -> tuple[Array, Array]:
        part, g_part = x[begin:end], g[begin:end]
        made = kernel(Convolution, part.shape, x.dtype, w.shape, window, groups, biased and not summed)
        if dx is not None:
            arrays = {dnn.DIFF_SRC: dx[begin:end], dnn.WEIGHTS: made.pack_backward(w), dnn.DIFF_DST: g_part}
            made.to_input.run(arrays)
        dw, db = made.weight_gradients(part, g_part)
        return dw, sum_channels(g_part) if summed else db

    dw, db = sum_parts(in_parallel(x, work))
    return dx, dw, db


# Pooling ----------------------------------------------------------------------------------------------


class MaxPool:
    """The kernels of one max pooling; the workspace `places` records the position of each window's maximum."""

    def __init__(self, x: Shape, dtype: np.dtype, window: Window) -> None:
        x_, y_ = _images(x, dtype), _images((x[0], *window.positions, x[3]), dtype)
        geometry = window.stride, window.kernel, (0, 0), window.padding, window.padding
        arrays: dict[int, Descriptor | None] = {dnn.SRC: x_, dnn.DST: y_}
        arguments = (dnn.POOLING_MAX, x_, y_, *geometry)
        self.inference = Kernel("pooling_forward", (dnn.FORWARD_INFERENCE, *arguments, None), arrays)
        places = {dnn.WORKSPACE: None}
        self.forward = Kernel("pooling_forward", (dnn.FORWARD_TRAINING, *arguments, None), arrays | places)
        arrays = {dnn.DIFF_SRC: x_, dnn.DIFF_DST: y_} | places
        self.backward = Kernel("pooling_backward", (*arguments, self.forward, None), arrays)
        self.places_size = self.forward.descriptor(dnn.WORKSPACE).size

    def run_forward(self, x: Array, y: Array, places: Array | None) -> None:
        """Write the maxima of x to y, and their places unless it is None."""
        if places is None:
            self.inference.run({dnn.SRC: x, dnn.DST: y})
        elif self.places_size == places.nbytes:
            self.forward.run({dnn.SRC: x, dnn.DST: y, dnn.WORKSPACE: places})
        else:
            raise UnsupportedError("oneDNN stores more than the places of the maxima")

    def run_backward(self, g: Array, places: Array, shape: Shape, out: Array | None = None) -> Array:
        """Return the gradient of images of `shape`, in `out` if it is given."""
        dx = np.empty(shape, g.dtype) if out is None else out
        self.backward.run({dnn.DIFF_SRC: dx, dnn.DIFF_DST: g, dnn.WORKSPACE: places})
        return dx


def workspace(pooled: Shape, window: Window) -> Array:
    """Return memory for the places of the maxima: (N, OH, OW, C, 1) bytes, or 4 for large windows."""
    return np.empty((*pooled, 1 if math.prod(window.kernel) <= 256 else 4), np.uint8)


def has_max_pool(x: Shape, dtype: np.dtype, window: Window) -> bool:
    """Return whether there is a kernel for max pooling of images of this shape, and of a few of them."""
    try:
        kernel(MaxPool, (1, *x[1:]), dtype, window)
    except UnsupportedError:
        return False
    return True


LOWEST = np.finfo(np.float32).min


def max_pool_forward(x: Array, window: Window, recording: bool) -> tuple[Array, Array | None]:
    """Return the maximum of each window and, with `recording`, the places of the maxima for the backward pass."""
    y = np.empty((len(x), *window.positions, x.shape[3]), x.dtype)
    places = workspace(y.shape, window) if recording else None

    def work(begin: int, end: int) -> None:
        part = x[begin:end]
        reject_nan(part)
        made = kernel(MaxPool, part.shape, x.dtype, window)
        made.run_forward(part, y[begin:end], None if places is None else places[begin:end])
        if x.dtype == np.float32 and y[begin:end].min(initial=0) <= LOWEST:
            raise UnsupportedError("oneDNN's maximum of -inf is the lowest finite number")

    in_parallel(x, work)
    return y, places


def max_pool_backward(g: Array, places: Array, shape: Shape, window: Window) -> Array:
    """Pass each window's gradient to the position of its maximum. Of equal values the first in row order receives it;
    NumPy's 2x2 windows compare columns first, so they may choose (1, 0) instead of (0, 1) if these are equal."""
    dx = np.empty(shape, g.dtype)

    def work(begin: int, end: int) -> None:
        part = dx[begin:end]
        kernel(MaxPool, part.shape, g.dtype, window).run_backward(g[begin:end], places[begin:end], part.shape, part)

    in_parallel(dx, work)
    return dx


# Batch normalization ----------------------------------------------------------------------------------


class _BatchNorm:
    """The kernels of one batch normalization; eps is 0, because callers add it to the variance they pass."""

    def __init__(self, x: Shape, dtype: np.dtype) -> None:
        x_, c, zero = _images(x, dtype), _channels(x[3]), c_float(0)
        arrays: dict[int, Descriptor | None] = {dnn.SRC: x_, dnn.DST: x_, dnn.MEAN: c, dnn.VARIANCE: c}
        affine: dict[int, Descriptor | None] = {dnn.SCALE: c, dnn.SHIFT: c}
        function, training = "batch_normalization_forward", dnn.FORWARD_TRAINING
        self.measure = Kernel(function, (training, x_, x_, zero, _USE_BATCH, None), arrays)
        given = _USE_GIVEN | _SCALE_AND_SHIFT
        self.forward = Kernel(function, (training, x_, x_, zero, given, None), arrays | affine)
        hint = Kernel(function, (training, x_, x_, zero, _SCALE_AND_SHIFT, None), arrays | affine)
        arrays = {dnn.SRC: x_, dnn.DIFF_DST: x_, dnn.DIFF_SRC: x_, dnn.MEAN: c, dnn.VARIANCE: c, dnn.SCALE: c,
                  dnn.DIFF_SCALE: c, dnn.DIFF_SHIFT: c}  # fmt: skip
        arguments = (dnn.BACKWARD, x_, x_, x_, zero, _SCALE_AND_SHIFT, hint, None)
        self.backward = Kernel("batch_normalization_backward", arguments, arrays)


def channel_statistics(x: Array) -> tuple[Array, Array]:
    """Return the mean and the (biased) variance of each channel in float32."""

    def work(begin: int, end: int) -> tuple[float, Array, Array]:
        part, mean, var = x[begin:end], np.empty(x.shape[3], np.float32), np.empty(x.shape[3], np.float32)
        arrays = {dnn.SRC: part, dnn.DST: np.empty_like(part), dnn.MEAN: mean, dnn.VARIANCE: var}
        kernel(_BatchNorm, part.shape, x.dtype).measure.run(arrays)
        return (end - begin) / len(x), mean, var

    parts = in_parallel(x, work)
    total = np.zeros(x.shape[3], np.float32)
    mean = sum((share * own for share, own, _ in parts), total)
    return mean, sum((share * (var + (own - mean) ** 2) for share, own, var in parts), total)


def normalize(x: Array, scale: Array, shift: Array, mean: Array, var: Array) -> Array:
    """Return (x - mean) / sqrt(var) * scale + shift; the four are float32 (C,), one value for each channel."""
    given = {dnn.MEAN: mean, dnn.VARIANCE: var, dnn.SCALE: scale, dnn.SHIFT: shift}
    y, numbers = np.empty_like(x), {argument: float32(array) for argument, array in given.items()}

    def work(begin: int, end: int) -> None:
        part = x[begin:end]
        kernel(_BatchNorm, part.shape, x.dtype).forward.run({dnn.SRC: part, dnn.DST: y[begin:end]} | numbers)

    in_parallel(x, work)
    return y


def normalized_gradients(g: Array, x: Array, scale: Array, mean: Array, var: Array) -> tuple[Array, Array, Array]:
    """Return the gradients of x (in its dtype), scale, and shift (float32), for the batch's own mean and variance. The
    batch is not split, because each part's gradient needs the sums over the whole batch."""
    scale, mean, var = map(float32, (scale, mean, var))
    dx, dscale, dshift = np.empty_like(x), np.empty_like(scale), np.empty_like(scale)
    arrays = {dnn.SRC: x, dnn.DIFF_DST: g, dnn.DIFF_SRC: dx, dnn.MEAN: mean, dnn.VARIANCE: var, dnn.SCALE: scale,
              dnn.DIFF_SCALE: dscale, dnn.DIFF_SHIFT: dshift}  # fmt: skip
    kernel(_BatchNorm, x.shape, x.dtype).backward.run(arrays)
    return dx, dscale, dshift
