"""Resizing of images and sequences, and padding as layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytorch.autograd import derivative
from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.base.promotion import is_half
from tinytorch.graph.reads import reads
from tinytorch.layers import Module
from tinytorch.nn.conv import pad
from tinytorch.spatial import adaptive_avg_pool2d
from tinytorch.tensor import Array, Op, Tensor, apply


def interpolate(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Tensor:
    """Resize (N, C, L) or (N, C, H, W) to `size`, or by `scale_factor`.

    Modes: nearest, linear (for sequences), bilinear, area. With align_corners, the centers of the corner pixels
    coincide; otherwise the edges of the images do.

    Raises:
        SettingError: neither or both of size and scale_factor are given, or the mode is unknown.
    """
    count = input.ndim - 2
    if count not in (1, 2):
        raise ShapeError(f"interpolate: input of shape {input.shape}: expected (N, C, L) or (N, C, H, W)")
    if (size is None) == (scale_factor is None):
        raise SettingError("interpolate: expected either size or scale_factor")
    factors = None
    if size is None:
        factors = (scale_factor,) * count if isinstance(scale_factor, int | float) else tuple(scale_factor)
        sizes: Any = tuple(math.floor(n * f) for n, f in zip(input.shape[2:], factors, strict=True))
    else:
        sizes = (size,) * count if isinstance(size, int) else tuple(size)
    if mode == "nearest":
        return _nearest(input, sizes, factors)
    if mode == "area":
        return adaptive_avg_pool2d(input, sizes) if count == 2 else interpolate_area(input, sizes[0])
    if mode != {1: "linear", 2: "bilinear"}[count]:
        raise SettingError(f"interpolate: mode {mode!r} for shape {input.shape}: expected nearest, area, or "
                           f"{'linear' if count == 1 else 'bilinear'}")  # fmt: skip
    y = input
    for i, n in enumerate(sizes):
        factor = None if factors is None else factors[i]
        low, high, share = _places(input.shape[2 + i], n, bool(align_corners), factor)
        y = apply(between_, y, low=low, high=high, share=share, axis=2 + i)
    return y


def interpolate_area(x: Tensor, size: int) -> Tensor:
    """Return the means of windows that divide a sequence."""
    return adaptive_avg_pool2d(x.unsqueeze(2), (1, size)).squeeze(2)


def _nearest(x: Tensor, sizes: tuple[int, ...], factors: tuple[float, ...] | None) -> Tensor:
    for i, n in enumerate(sizes):
        old = x.shape[2 + i]
        step = old / n if factors is None else 1 / factors[i]
        places = np.minimum(np.floor(np.arange(n) * np.float32(step)).astype(np.int64), old - 1)
        x = x[(slice(None),) * (2 + i) + (places,)]
    return x


def _places(old: int, new: int, align_corners: bool, factor: float | None) -> tuple[Array, Array, Array]:
    """Return, for each new pixel, the two old ones around it, and the weight of the second."""
    i = np.arange(new)
    if align_corners:
        place = i * ((old - 1) / (new - 1)) if new > 1 else i * 0.0
    else:
        place = np.maximum((i + 0.5) * (old / new if factor is None else 1 / factor) - 0.5, 0)
    low = np.minimum(place.astype(np.int64), old - 1)
    return low, np.minimum(low + 1, old - 1), place - low


def _between(x: Array, low: Array, high: Array, share: Array, axis: int) -> Array:
    """Return weighted means of two elements along an axis. (As a product with a matrix, one infinite pixel would reach
    every new one, as infinity times 0.)
    """
    weight = share.astype(x.dtype).reshape((-1,) + (1,) * (x.ndim - axis - 1))
    return x.take(low, axis) * (1 - weight) + x.take(high, axis) * weight


def _between_x(g: Array, y: Array, x: Array, low: Array, high: Array, share: Array, axis: int) -> Array:
    """Add each gradient to the two elements that were read."""
    out = np.zeros(x.shape, np.float32 if is_half(g.dtype) else g.dtype)
    weight = share.astype(out.dtype).reshape((-1,) + (1,) * (x.ndim - axis - 1))
    front: Any = (slice(None),) * axis
    np.add.at(out, (*front, low), g * (1 - weight))
    np.add.at(out, (*front, high), g * weight)
    return out


between_ = Op("interpolate", _between)
derivative(between_, _between_x)
reads(between_, ())


def pixel_shuffle(x: Tensor, upscale_factor: int) -> Tensor:
    """Move channels into pixels: (N, C r^2, H, W) -> (N, C, H r, W r)."""
    if x.ndim != 4:
        raise ShapeError(f"pixel_shuffle: input of shape {x.shape}: expected (N, C, H, W)")
    (n, c, h, w), r = x.shape, upscale_factor
    if r < 1 or c % (r * r):
        raise ShapeError(f"pixel_shuffle: {c} channels, factor {r}: expected a multiple of the factor's square")
    return x.reshape(n, c // (r * r), r, r, h, w).permute(0, 1, 4, 2, 5, 3).reshape(n, c // (r * r), h * r, w * r)


class Upsample(Module):
    """`interpolate` as a layer."""

    def __init__(
        self, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
    ) -> None:
        self.size, self.scale_factor, self.mode, self.align_corners = size, scale_factor, mode, align_corners

    def forward(self, x: Tensor) -> Tensor:
        return interpolate(x, self.size, self.scale_factor, self.mode, self.align_corners)


class PixelShuffle(Module):
    """`pixel_shuffle` as a layer."""

    def __init__(self, upscale_factor: int) -> None:
        self.upscale_factor = upscale_factor

    def forward(self, x: Tensor) -> Tensor:
        return pixel_shuffle(x, self.upscale_factor)


class _Pad(Module):
    """`pad` as a layer: one width for all sides, or (left, right, top, bottom)."""

    mode, count = "constant", 2

    def __init__(self, padding: Any, value: float = 0.0) -> None:
        self.padding = (padding,) * (2 * self.count) if isinstance(padding, int) else tuple(padding)
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        return pad(x, self.padding, self.mode, self.value)


class ZeroPad2d(_Pad):
    """Pads images with zeros."""


class ConstantPad2d(_Pad):
    """Pads images with one value."""


class ReflectionPad2d(_Pad):
    """Pads images by mirroring them at their edges."""

    mode = "reflect"


class ReplicationPad2d(_Pad):
    """Pads images with their edge pixels."""

    mode = "replicate"
