"""Convolution, max pooling, and batch normalization of float32 images by oneDNN, for training.

Images are (N, C, H, W) in channels-last memory, which oneDNN reads and writes as it is. Preparing a kernel for a new
shape takes 0.2 to 5 ms.

Measured against NumPy on two cores with AVX-512, forward and backward: convolutions of 3x3 to 7x7 are 1.4 to 3.5
times as fast as im2col and Winograd's algorithm, 6 to 12 times in groups, and 1x1 kernels 1.6 to 1.8 times. Max pooling
is 2.3 to 3.5 times as fast, and batch normalization 2 to 3 times. A training step of ResNet-8 takes 0.40 of the time,
and that of a 3-32-64-128 network 0.70, or 0.51 with the layers that `sequences` joins.

oneDNN skips the padding of a convolution. NumPy multiplies its zeros, so that an infinite weight makes NaN of them.
"""

from __future__ import annotations

import math
from contextlib import suppress

import numpy as np

from tinytorch.arrays import normalization
from tinytorch.arrays.windows import Gradients, Window, channels_first, channels_last
from tinytorch.autograd import joint_derivative
from tinytorch.base.promotion import in_float32, is_half, like
from tinytorch.graph.reads import reads
from tinytorch.native import images
from tinytorch.native.backend import backend
from tinytorch.native.library import UnsupportedError
from tinytorch.tensor import Array, Op, Tensor, is_grad_enabled

LEAST_WORK, LEAST_POINTWISE = 2**18, 2**23  # multiplications of a convolution; 1x1 is a plain product for NumPy
LEAST_SIZE = 2**15  # values of a layer's input
DRIFT = 3e-5  # of the mean magnitude of a gradient: how far oneDNN's mean of it may be from NumPy's
FLOAT32 = np.dtype(np.float32)


def is_native(x: Array, *others: Array) -> bool:
    """Return whether x is large enough, all arrays are float32, and oneDNN is in use."""
    return x.size >= max(1, LEAST_SIZE) and all(a.dtype == np.float32 for a in (x, *others)) and backend() == "onednn"


# Convolution ------------------------------------------------------------------------------------------


def convolves(x: Tensor, weight: Tensor, window: Window, groups: int) -> bool:
    """Return whether `convolution_` is the fastest op for this convolution, and has kernels for it."""
    if not (_computes(x.data) and _computes(weight.data)) or backend() != "onednn":
        return False
    n, c, height, width = x.shape
    least = LEAST_POINTWISE if window.kernel == (1, 1) and groups == 1 else LEAST_WORK
    if n * math.prod(window.positions) * weight.data.size < max(1, least):
        return False
    return images.has_convolution((n, height, width, c), FLOAT32, weight.shape, window, groups, is_grad_enabled())


def _computes(x: Array) -> bool:
    """Return whether x is float32, or is computed in float32."""
    return x.dtype == FLOAT32 or is_half(x.dtype)


def convolution_forward(x: Array, w: Array, b: Array | None, window: Window) -> Array:
    """Convolve x (N, H, W, C) with w (K, C/groups, kh, kw) and b (K,): (N, OH, OW, K)."""
    return images.convolution_forward(x, w, b, window, x.shape[3] // w.shape[1])


def convolution_backward(g: Array, x: Array, w: Array, window: Window, input_gradient: bool) -> Gradients:
    """Return the gradients of x, w, and of a bias, given g (N, OH, OW, K)."""
    return images.convolution_backward(g, x, w, True, window, x.shape[3] // w.shape[1], input_gradient)


def _forward(x: Array, w: Array, b: Array | None = None, *, window: Window, input_gradient: bool) -> tuple[Array, None]:
    wide = channels_last(in_float32(x)), in_float32(w), None if b is None else in_float32(b)
    return channels_first(like(convolution_forward(*wide, window), x)), None


def _gradients(
    g: Array, kept: None, x: Array, w: Array, b: Array | None = None, *, window: Window, input_gradient: bool
) -> Gradients:
    g, x = (channels_last(images.astype(FLOAT32, copy=False)) for images in (g, x))
    dx, dw, db = convolution_backward(g, x, in_float32(w), window, input_gradient)
    return None if dx is None else channels_first(dx), dw, db


convolution_ = Op("conv2d (oneDNN)", _forward)
joint_derivative(convolution_, _gradients)
reads(convolution_, (1,), (0,), ())


# Max pooling ------------------------------------------------------------------------------------------


def max_pool_forward(x: Array, window: Window, recording: bool) -> tuple[Array, Array] | None:
    """Return the maxima of images (N, H, W, C) and their places, if recording; None if NumPy is faster or x has NaN."""
    if not is_native(x):
        return None
    with suppress(UnsupportedError):
        y, places = images.max_pool_forward(x, window, recording)
        return y, y if places is None else places
    return None


def max_pool_backward(g: Array, places: Array, shape: tuple[int, ...], window: Window) -> Array:
    """Return the gradient of images of `shape` (N, H, W, C), given g (N, OH, OW, C) and the places of the maxima."""
    return images.max_pool_backward(g.astype(FLOAT32, copy=False), places, shape, window)


# Batch normalization ----------------------------------------------------------------------------------
#
# The statistics of a batch remain NumPy's: it sums in float64.


def scale_channels(x: Array, scale: Array, shift: Array) -> Array:
    """Return x scale + shift for images (N, H, W, C), with one scale and one shift per channel."""
    if is_native(x, scale, shift):
        with suppress(UnsupportedError):
            return images.normalize(x, scale, shift, np.zeros_like(scale), np.ones_like(scale))
    return normalization.scale_channels(x, scale, shift)


def normalized_gradients(g: Array, x: Array, weight: Array, mean: Array, inv_std: Array) -> tuple[Array, Array, Array]:
    """Return the gradients of `normalization.normalized_gradients`.

    oneDNN adds the numbers of a channel one by one. If they are alike, as below a mean over images, its sums drift, and
    with them the gradient of x; a million equal numbers are wrong by 1%. Then NumPy computes all of it.
    """
    if is_native(x, g, weight, mean, inv_std):
        with suppress(UnsupportedError):
            dx, dweight, sums = images.normalized_gradients(g, x, weight, mean, 1 / np.square(inv_std))
            dbias = normalization.channel_sums(g)
            some = np.abs(g[:: max(1, len(g) // 4)]).mean()
            if np.abs(sums - dbias).max(initial=0) <= DRIFT * some * g.size / len(dbias):
                return dx, dweight, dbias
    return normalization.normalized_gradients(g, x, weight, mean, inv_std)
