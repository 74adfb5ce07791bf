"""The plain answer to module 17, for the course's own proof."""

from __future__ import annotations

import numpy as np

from tinytorch.arrays.integers import LARGEST, SMALLEST_SCALE
from tinytorch.base.errors import NonFiniteError, SettingError
from tinytorch.quantization import BINS, MOMENTUM, PERCENTILE, Method
from tinytorch.spatial import BatchNorm2d, Conv2d
from tinytorch.tensor import Array


def scales_for(largest: Array | float, steps: int) -> Array:
    largest = np.asarray(largest, np.float64)
    scale = np.maximum(largest / steps, SMALLEST_SCALE)
    return np.where(largest == 0, 1.0, scale).astype(np.float32)


def quantize(x: Array, scale: Array | np.floating, dtype: str) -> Array:
    if dtype == "int8":
        low, high = -127, 127
    else:
        low, high = 0, 255
    with np.errstate(all="ignore"):
        y = x.astype(np.float64) / np.float64(scale)
    y = np.where(np.isnan(y), low, y)
    return np.clip(np.rint(y), low, high).astype(dtype)


def quantize_rows(x: Array) -> tuple[Array, Array]:
    q = np.zeros(x.shape, np.int8)
    scales = np.zeros((len(x), *[1] * (x.ndim - 1)), np.float32)
    for i, row in enumerate(x.astype(np.float32)):
        largest = np.max(np.abs(row), initial=np.float32(0))
        scale = np.maximum(largest * np.float32(1 / 127), np.float32(SMALLEST_SCALE))
        scales[i] = scale
        with np.errstate(invalid="ignore"):
            q[i] = np.rint(row * (np.float32(1) / scale)).astype(np.int8)
    return q, scales


def quantize_weight(weight: Array, bits: int = 8) -> tuple[Array, Array]:
    if not isinstance(bits, int) or not 2 <= bits <= 8:
        raise SettingError(f"quantization: bits {bits}: expected an integer from 2 to 8")
    if not np.isfinite(weight).all():
        raise NonFiniteError(f"quantization: a weight of shape {weight.shape} contains NaN or infinity")
    n = 2 ** (bits - 1) - 1
    q = np.zeros(weight.shape, np.int8)
    scales = np.zeros(len(weight), np.float32)
    for k, channel in enumerate(weight.astype(np.float64)):
        scales[k] = scales_for(np.abs(channel).max(), n)
        q[k] = np.clip(np.rint(channel / np.float64(scales[k])), -n, n)
    return q, scales


class Observer:
    def see(self, name: str, x: Array) -> None:
        if not x.size:
            return
        low, high = float(x.min()), float(x.max())
        if not np.isfinite([low, high]).all():
            raise NonFiniteError(f"calibration: the input of {name} contains NaN or infinity")
        if low < self.low:
            self.low = low
        if high > self.high:
            self.high = high

    def count(self, name: str, x: Array) -> None:
        if self.largest == 0:
            return
        for magnitude in np.abs(x).ravel().tolist():
            number = int(magnitude / self.largest * BINS)
            self.counts[min(number, BINS - 1)] += 1

    def scale(self, method: Method) -> Array:
        n = LARGEST[self.dtype]
        if method == "minmax" or self.counts.sum() == 0:
            return scales_for(self.largest, n)
        width = self.largest / BINS
        if method == "percentile":
            seen, number = 0, 0
            while (seen + self.counts[number]) / self.counts.sum() < PERCENTILE:
                seen += self.counts[number]
                number += 1
            return scales_for((number + 1) * width, n)
        centers = (np.arange(BINS) + 0.5) * width
        best, least = scales_for(self.largest, n), np.inf
        for k in range(16, 129):
            candidate = scales_for(self.largest * k / 128, n)
            back = np.minimum(np.rint(centers / candidate), n) * candidate
            error = ((back - centers) ** 2 * self.counts).sum()
            if error < least:
                best, least = candidate, error
        return best


def fold(conv: Conv2d, norm: BatchNorm2d) -> tuple[Array, Array]:
    factor = norm.weight.data.astype(np.float64) / np.sqrt(norm.running_var.data.astype(np.float64) + norm.eps)
    weight = np.empty(conv.weight.shape, np.float64)
    bias = np.empty(len(weight), np.float64)
    for k in range(len(weight)):
        weight[k] = conv.weight.data[k].astype(np.float64) * factor[k]
        before = 0.0 if conv.bias is None else float(conv.bias.data[k])
        bias[k] = factor[k] * (before - float(norm.running_mean.data[k])) + float(norm.bias.data[k])
    dtype = conv.weight.data.dtype
    return weight.astype(dtype), bias.astype(dtype)


def _rounding(x: Array, scale: Array, dtype: str) -> tuple[Array, Array]:
    rounded = quantize(x, scale, dtype) * scale
    high = LARGEST[dtype] * scale
    low = -high if dtype == "int8" else 0.0
    inside = np.logical_and(x >= low, x <= high)
    return rounded, inside


def _straight_through(g: Array, inside: Array, x: Array, scale: Array, dtype: str) -> Array:
    return np.where(inside, g, np.zeros_like(g))


def _rounding_weight(weight: Array, bits: int) -> Array:
    q, scale = quantize_weight(weight, bits)
    out = np.empty_like(weight)
    for k in range(len(weight)):
        out[k] = q[k] * scale[k]
    return out


class FakeQuantized:
    def _follow(self, x: Array) -> None:
        batch = Observer()
        batch.see("a layer", x)
        if np.isnan(self.low.data):
            low, high = batch.low, batch.high
        else:
            low = (1 - MOMENTUM) * float(self.low.data) + MOMENTUM * batch.low
            high = (1 - MOMENTUM) * float(self.high.data) + MOMENTUM * batch.high
        self.low.data = np.array(low, np.float32)
        self.high.data = np.array(high, np.float32)
