"""Module 17: quantization. From floating-point numbers to integers: scales, rounding, and calibration.

    q = round(x / scale),    x is about q scale

Scales are symmetric, so 0 stays 0. Each output channel of a weight has its own scale. The scale of an activation is
either fixed by calibration, which observes the input of each layer (`Observer`), or computed from each row at run time
(`quantize_rows`). `FakeQuantized` rounds during training, so that the weights adapt to the rounding.

`fold` merges batch normalization into the convolution before it.

The INT8 layers are in `quantized.layers`; `quantized.models` replaces the layers of a whole model.
Source: Jacob et al. 2018, https://arxiv.org/abs/1712.05877; per-channel weights, symmetric: Krishnamoorthi 2018,
https://arxiv.org/abs/1806.08342.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Literal

import numpy as np

from tinytorch.arrays.integers import LARGEST, SMALLEST_SCALE, row_scales
from tinytorch.autograd import derivative, no_grad
from tinytorch.base.errors import NonFiniteError, SettingError
from tinytorch.graph.reads import reads
from tinytorch.layers import Linear, Module, linear
from tinytorch.spatial import BatchNorm2d, Conv2d, conv2d
from tinytorch.surgery.parts import Watcher, watched
from tinytorch.tensor import Array, Op, Tensor, apply, as_tensor

Method = Literal["minmax", "percentile", "mse"]
BINS = 2048  # bins of a calibration histogram
PERCENTILE = 0.9999  # fraction of the values that the method "percentile" does not saturate
MOMENTUM = 0.05  # weight of a new batch in the running range of `FakeQuantized`

# Scales and rounding ----------------------------------------------------------------------------------


def scales_for(largest: Array | float, steps: int) -> Array:
    """Return largest / steps, the float32 scale that maps `largest` to the integer `steps`; an array of its shape.

    The quotient is computed in float64. It is 1 where `largest` is 0, and at least SMALLEST_SCALE elsewhere, so that
    float32 represents it well.
    """
    scale = np.asarray(largest, np.float64) / steps
    return np.where(scale > 0, np.maximum(scale, SMALLEST_SCALE), 1.0).astype(np.float32)


def quantize(x: Array, scale: Array | np.floating, dtype: str) -> Array:
    """Return round(x / scale) in `dtype`, saturated: uint8 to 0 to 255, int8 to -127 to 127.

    x is float32, and `scale` one float32 number above 0. Halves are rounded to the nearest even integer (`np.rint`).
    NaN becomes the lowest value, because integers have no NaN. No value of x, infinity included, causes a warning.
    """
    high = LARGEST[dtype] * float(scale)  # saturated before the division, which then cannot overflow
    low = -high if dtype == "int8" else 0.0
    most = float(np.finfo(np.float32).max)
    y = np.fmin(np.fmax(x, np.float32(max(low, -most))), np.float32(min(high, most)))
    y = np.asarray(y, np.float32)
    np.divide(y, scale, out=y)
    return np.rint(y, out=y).astype(dtype)


def quantize_rows(x: Array) -> tuple[Array, Array]:
    """Quantize to int8 with one scale for each index of the first axis: dynamic quantization.

        scale = max(max|row| (1 / 127), SMALLEST_SCALE),    q = round(row (1 / scale))

    Everything is float32: 1 / 127 and 1 / scale are rounded to float32 before they are multiplied with, as in
    `native.int8`, so both return the same integers. `row_scales` computes the scales of the rows of a matrix.

    Nothing saturates, and no row depends on another. A row that contains NaN or infinity gets a non-finite scale, so
    every result computed from it is non-finite, too; its integers have no meaning.

    Returns:
        q, int8 of x's shape, and the scales, float32 (N, 1, ..., 1).
    """
    rows = x.reshape(len(x), math.prod(x.shape[1:])).astype(np.float32, copy=False)
    y = np.empty(rows.shape, np.float32)
    scale = row_scales(rows, y, np.empty((len(rows), 1), np.float32))
    with np.errstate(invalid="ignore"):
        np.multiply(rows, np.reciprocal(scale), y)
        q = np.rint(y, y).astype(np.int8)
    return q.reshape(x.shape), scale.reshape(len(x), *[1] * (x.ndim - 1))


def quantize_weight(weight: Array, bits: int = 8) -> tuple[Array, Array]:
    """Quantize a weight (K, ...) to integers from -n to n, with n = 2^(bits - 1) - 1 and one scale per output channel.

        scale[k] = max|weight[k]| / n,    q = round(weight / scale), computed in float64

    Returns:
        q, int8 of the weight's shape, and the scales, float32 (K,).

    Raises:
        SettingError: bits is not an integer from 2 to 8.
        NonFiniteError: a weight is NaN or infinite.
    """
    if not isinstance(bits, int) or not 2 <= bits <= 8:
        raise SettingError(f"quantization: bits {bits}: expected an integer from 2 to 8")
    if not np.isfinite(weight).all():
        raise NonFiniteError(f"quantization: a weight of shape {weight.shape} contains NaN or infinity")
    steps = 2 ** (bits - 1) - 1
    rows = weight.reshape(len(weight), -1).astype(np.float64)
    scale = scales_for(np.abs(rows).max(axis=1), steps)
    q = np.clip(np.rint(rows / scale[:, None]), -steps, steps)
    return q.astype(np.int8).reshape(weight.shape), scale


# Calibration ------------------------------------------------------------------------------------------


class Observer:
    """The range of a layer's input, and a histogram of its magnitudes.

    Call `see` with all batches first, and then `count` with all batches: the histogram needs the final range.

    Attributes:
        low, high: the smallest and the largest value, as floats; inf and -inf before the first batch.
        dtype: "uint8" if no value is negative, else "int8". largest: the largest magnitude.
        counts: int64 (BINS,), the number of magnitudes in each of BINS equal bins from 0 to `largest`.
    """

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf
        self.counts = np.zeros(BINS, np.int64)

    @property
    def dtype(self) -> str:
        return "uint8" if self.low >= 0 else "int8"

    @property
    def largest(self) -> float:
        return float(max(abs(self.low), abs(self.high)))

    def see(self, name: str, x: Array) -> None:
        """Extend the range, `low` to `high`, to the values of x. An empty x changes nothing.

        Raises:
            NonFiniteError: x contains NaN or infinity. The message names the layer, `name`.
        """
        if not x.size:
            return
        low, high = float(x.min()), float(x.max())
        if not np.isfinite([low, high]).all():
            raise NonFiniteError(f"calibration: the input of {name} contains NaN or infinity")
        self.low, self.high = min(self.low, low), max(self.high, high)

    def count(self, name: str, x: Array) -> None:
        """Add the magnitudes of x to the histogram.

        The magnitude m is in bin floor(m / largest BINS), and `largest` itself in the last one, BINS - 1. If `largest`
        is 0, nothing is counted.
        """
        if self.largest > 0:
            x = x.astype(np.float64) if x.dtype.kind in "iu" else x  # the magnitude of int8(-128) is not an int8
            bins = (np.abs(x).ravel() / self.largest * BINS).astype(np.int64)
            self.counts += np.bincount(np.minimum(bins, BINS - 1), minlength=BINS)

    def scale(self, method: Method) -> Array:
        """Return the scale for `dtype`, whose largest integer is n.

        "minmax" maps `largest` to n. "percentile" maps the upper edge of the bin that contains the PERCENTILE quantile
        of the magnitudes to n. "mse" chooses among the scales of largest k / 128, k = 16 to 128, the one with the least
        squared rounding error of the histogram, with each magnitude at the center of its bin.
        """
        steps = LARGEST[self.dtype]
        if method == "minmax" or not self.counts.any():
            return scales_for(self.largest, steps)
        edges = np.arange(1, BINS + 1) * (self.largest / BINS)
        if method == "percentile":
            shares = self.counts.cumsum() / self.counts.sum()
            return scales_for(edges[np.searchsorted(shares, PERCENTILE)], steps)
        sizes = edges - edges[0] / 2  # the middle of each bin
        candidates = scales_for(self.largest * np.arange(16, 129) / 128, steps)
        rounded = np.minimum(np.rint(sizes / candidates[:, None]), steps) * candidates[:, None]
        return np.asarray(candidates[((rounded - sizes) ** 2 @ self.counts).argmin()])


@no_grad()
def observed(model: Module, batches: Iterable[Array], method: Method) -> dict[int, Observer]:
    """Run the batches through the model, and return an Observer of the input of each Linear and Conv2d, by layer id.

    Methods that need a histogram run the batches twice: once for the ranges and once for the histograms.

    Raises:
        SettingError: the batches are empty, or a layer receives no input.
        NonFiniteError: the input of a layer contains NaN or infinity.
    """
    layers = [(name, part) for name, part in model.named_modules() if type(part) in (Linear, Conv2d)]
    observers = {id(layer): Observer() for _, layer in layers}
    kept = [np.asarray(batch) for batch in batches]
    if not any(batch.size for batch in kept):
        raise SettingError("calibration: no data; expected at least one batch of the model's inputs")
    looks = [Observer.see] if method == "minmax" else [Observer.see, Observer.count]
    for look in looks:
        with watched(layers, _noting(observers, look)):
            for batch in kept:
                model(Tensor(batch))
    for name, layer in layers:
        if observers[id(layer)].low > observers[id(layer)].high:
            raise SettingError(f"calibration: {name} received no input; expected batches that use every layer")
    return observers


def _noting(observers: dict[int, Observer], look: Callable[[Observer, str, Array], None]) -> Watcher:
    return lambda name, layer, x, y: look(observers[id(layer)], name, x.data)


# Folding ----------------------------------------------------------------------------------------------


def fold(conv: Conv2d, norm: BatchNorm2d) -> tuple[Array, Array]:
    """Return the weight and the bias of one convolution that computes norm(conv(x)) in inference.

        s = weight / sqrt(running_var + eps)                    of the norm, (K,)
        s (w * x + b - mean) + bias  =  (s w) * x + (s (b - mean) + bias)

    `conv` has K output channels, a weight w (K, C / groups, kh, kw), and a bias b (K,) or None. The mean is the norm's
    `running_mean`. Both results are computed in float64 and have the dtype of w. Neither layer is changed.
    """
    s = norm.weight.data.astype(np.float64) / np.sqrt(norm.running_var.data.astype(np.float64) + norm.eps)
    bias = 0.0 if conv.bias is None else conv.bias.data
    shift = s * (bias - norm.running_mean.data) + norm.bias.data
    dtype = conv.weight.dtype
    weight = conv.weight.data.astype(np.float64) * s[:, None, None, None]
    return weight.astype(dtype), shift.astype(dtype)


# Rounding in training ---------------------------------------------------------------------------------


def _rounding(x: Array, scale: Array, dtype: str) -> tuple[Array, Array]:
    """Return q scale, the value that x is rounded to, and where x is not saturated: (float32, bool), both of x's shape.

    q is `quantize(x, scale, dtype)`. A value is saturated outside of 0 to 255 scale (uint8) or -127 scale to 127 scale
    (int8); the ends are inside.
    """
    largest = scale * LARGEST[dtype]
    return quantize(x, scale, dtype) * scale, (x >= (0 if dtype == "uint8" else -largest)) & (x <= largest)


def _straight_through(g: Array, inside: Array, x: Array, scale: Array, dtype: str) -> Array:
    """Return dL/dx for the gradient g of the rounded values: g where x is not saturated (`inside`), 0 elsewhere.

    Rounding has slope 0 almost everywhere. The straight-through estimator treats it as the identity where nothing
    saturates (Bengio et al. 2013, https://arxiv.org/abs/1308.3432).
    """
    return g * inside


def _rounding_weight(weight: Array, bits: int) -> Array:
    """Return q scale, the value that each weight is rounded to, float32 of its shape; see `quantize_weight`."""
    q, scale = quantize_weight(weight, bits)
    return q * scale.reshape(-1, *[1] * (weight.ndim - 1))


fake_quantize_ = Op("fake_quantize", _rounding)
fake_quantize_weight_ = Op("fake_quantize_weight", _rounding_weight)
derivative(fake_quantize_, _straight_through)
derivative(fake_quantize_weight_, lambda g, y, weight, bits: g)  # straight through; no weight saturates
reads(fake_quantize_, ())
reads(fake_quantize_weight_, ())


class FakeQuantized(Module):
    """A Linear or Conv2d that computes in float32 what its INT8 counterpart computes, for training with rounding.

    Weights and input are rounded to the values of their integers, q scale. The underlying weights stay float32 and
    adapt to the rounding. In training, the input's range is a moving average over the batches:
    range = (1 - 0.05) range + 0.05 (range of the batch). The first batch sets it.

    Buffers: low and high, this range, float32 of shape (); NaN before the first batch.
    """

    def __init__(self, layer: Linear | Conv2d, bits: int = 8) -> None:
        self.layer, self.bits = layer, bits
        self.low, self.high = Tensor(np.array(np.nan, np.float32)), Tensor(np.array(np.nan, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        x = as_tensor(x)
        if self.training:
            self._follow(x.data)
        dtype, scale = self.input_range()
        rounded = apply(fake_quantize_, x, scale=scale, dtype=dtype)
        layer, weight, bias = self.layer, self.weight, self.bias
        if isinstance(layer, Conv2d):
            return conv2d(rounded, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)
        return apply(linear, rounded, weight) if bias is None else apply(linear, rounded, weight, bias)

    @property
    def weight(self) -> Tensor:
        """The rounded weight, for callers that read the weight of a Linear or Conv2d."""
        return apply(fake_quantize_weight_, self.layer.weight, bits=self.bits)

    @property
    def bias(self) -> Tensor | None:
        """The layer's bias."""
        return self.layer.bias

    def input_range(self) -> tuple[str, Array]:
        """Return the dtype and the "minmax" scale of the input.

        Raises:
            SettingError: the layer has not processed a batch in training mode.
        """
        seen = Observer()
        seen.low, seen.high = float(self.low.data), float(self.high.data)
        if np.isnan(seen.low):
            raise SettingError("quantization-aware training: no range yet; train on at least one batch first")
        return seen.dtype, seen.scale("minmax")

    def _follow(self, x: Array) -> None:
        """Update `low` and `high`, the moving average of the range, with the range of a batch x.

        The first batch sets them. MOMENTUM is the weight of a later one. The new `data` is a float32 array of shape ().
        An `Observer` finds the range of a batch, and rejects NaN and infinity.
        """
        seen = Observer()
        seen.see("a layer", x)
        for buffer, value in ((self.low, seen.low), (self.high, seen.high)):
            old = float(buffer.data)
            new = value if np.isnan(old) else old + MOMENTUM * (value - old)
            buffer.data = np.array(new, np.float32)
