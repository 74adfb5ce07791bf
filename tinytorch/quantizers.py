"""Module 17: from numbers to integers: which scale, and how to round. Scales are symmetric, so that 0 stays 0.

    q = round(x / scale), x about q scale

Weights get a scale for each output channel. An activation's scale comes from what calibration saw of it
(`Observer`), or from the row itself (`quantize_rows`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np

from tinytorch.errors import NonFiniteError, SettingError
from tinytorch.layers import Module
from tinytorch.tensor import Array, Tensor

Method = Literal["minmax", "percentile", "mse"]
Watcher = Callable[[str, Module, Tensor, Tensor], None]  # name, layer, input, output
BINS = 2048  # of a calibration histogram
PERCENTILE = 0.9999  # of the numbers stay unsaturated with the method "percentile"
LARGEST = {"uint8": 255, "int8": 127}  # int8 goes from -127: symmetric
SMALLEST_SCALE = float(np.finfo(np.float32).tiny)  # below, float32 loses digits, and 1 / scale overflows
_STEP, _LEAST = np.array([1 / 127], np.float32), np.array([SMALLEST_SCALE], np.float32)  # scalars take 0.3 us more


def scales_for(largest: Array | float, steps: int) -> Array:
    """The float32 scale at which `largest` becomes `steps`; 1 for zeros, and no smaller than float32 can hold well."""
    scale = np.asarray(largest, np.float64) / steps
    return np.where(scale > 0, np.maximum(scale, SMALLEST_SCALE), 1.0).astype(np.float32)


def quantize(x: Array, scale: Array | np.floating, dtype: str) -> Array:
    """round(x / scale), halves to the even number, saturated: uint8 0 to 255, int8 -127 to 127.

    NaN, which no integer can be, becomes the lowest number.
    """
    high = LARGEST[dtype] * float(scale)  # saturated first: then the division cannot overflow
    low = -high if dtype == "int8" else 0.0
    most = float(np.finfo(np.float32).max)
    y = np.fmin(np.fmax(x, np.float32(max(low, -most))), np.float32(min(high, most)))
    y = np.asarray(y, np.float32)
    np.divide(y, scale, out=y)
    return np.rint(y, out=y).astype(dtype)


def row_scales(x: Array, sizes: Array, scale: Array) -> Array:
    """Write to `scale` (N, 1) that of each row of float32 numbers (N, D), by its largest; |x| is left in `sizes`.

    A row with a NaN or an infinite number gets a scale that is no number either. Floats that are not negative lie in
    the order of their bits read as integers, NaN last: 8192 rows of 112 take the integers' maximum 0.26 ms, the
    floats', which looks for NaN, 0.44 to 0.65.
    """
    np.absolute(x, sizes)
    np.maximum.reduce(sizes.view(np.int32), axis=1, out=scale.view(np.int32), keepdims=True, initial=0)
    np.multiply(scale, _STEP, scale)
    return np.maximum(scale, _LEAST, out=scale)


def quantize_rows(x: Array) -> tuple[Array, Array]:
    """int8, with a scale of its own for each index of the first axis: dynamic quantization.

    The scale is that of the largest number, so that nothing saturates, and no row depends on another. A row with a
    NaN or an infinite number gets a scale that is no number either, and so does what is made of it. It is the factor
    1 / scale, rounded to float32, that the numbers are multiplied by: so does `onednn_int8`, to the same integers.
    """
    rows = x.reshape(len(x), math.prod(x.shape[1:])).astype(np.float32, copy=False)
    y = np.empty(rows.shape, np.float32)
    scale = row_scales(rows, y, np.empty((len(rows), 1), np.float32))
    with np.errstate(invalid="ignore"):
        np.multiply(rows, np.reciprocal(scale), y)
        q = np.rint(y, y).astype(np.int8)
    return q.reshape(x.shape), scale.reshape(len(x), *[1] * (x.ndim - 1))


def quantize_weight(weight: Array, bits: int = 8) -> tuple[Array, Array]:
    """int8 numbers within +-(2^(bits - 1) - 1), and a float32 scale for each output channel, that of its largest.

    Raises:
        SettingError: bits is not 2 to 8. NonFiniteError: a weight is NaN or infinite.
    """
    if not isinstance(bits, int) or not 2 <= bits <= 8:
        raise SettingError(f"quantization: bits {bits}: expected a whole number from 2 to 8")
    if not np.isfinite(weight).all():
        raise NonFiniteError(f"quantization: a weight of shape {weight.shape} holds NaN or infinite numbers")
    steps = 2 ** (bits - 1) - 1
    rows = weight.reshape(len(weight), -1).astype(np.float64)
    scale = scales_for(np.abs(rows).max(axis=1), steps)
    q = np.clip(np.rint(rows / scale[:, None]), -steps, steps)
    return q.astype(np.int8).reshape(weight.shape), scale


# Calibration ------------------------------------------------------------------------------------------


class Observer:
    """What reaches a place: the smallest and largest number, and a histogram of the sizes once these are known."""

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
        """Widen the range.

        Raises:
            NonFiniteError: x holds NaN or infinite numbers.
        """
        if not x.size:
            return
        low, high = float(x.min()), float(x.max())
        if not np.isfinite([low, high]).all():
            raise NonFiniteError(f"calibration: the input of {name} holds NaN or infinite numbers")
        self.low, self.high = min(self.low, low), max(self.high, high)

    def count(self, name: str, x: Array) -> None:
        """Add to the histogram, once the range is known."""
        if self.largest > 0:
            bins = (np.abs(x).ravel() / self.largest * BINS).astype(np.int64)
            self.counts += np.bincount(np.minimum(bins, BINS - 1), minlength=BINS)

    def scale(self, method: Method) -> Array:
        """The scale of `dtype` by the range, by a percentile of the sizes, or by the least squared error."""
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


@contextmanager
def watched(
    layers: Iterable[tuple[str, Module]], look: Callable[[str, Module, Tensor, Tensor], None]
) -> Iterator[None]:
    """Within it, `look(name, layer, input, output)` at each call of one of these layers."""
    chosen = {id(layer): (name, layer) for name, layer in layers}

    def begin(name: str, layer: Module) -> None:
        forward = layer.forward

        def noted(x: Tensor) -> Tensor:
            y = forward(x)
            look(name, layer, x, y)
            return y

        layer.forward = noted  # type: ignore[method-assign]

    for name, layer in chosen.values():
        begin(name, layer)
    try:
        yield
    finally:
        for _, layer in chosen.values():
            del layer.forward  # the class's own again


def named_modules(module: Module, prefix: str = "") -> Iterator[tuple[str, Module]]:
    """A model and all its parts with their full names."""
    yield prefix.rstrip(".") or type(module).__name__, module
    for name, child in module.named_children():
        yield from named_modules(child, f"{prefix}{name}.")
