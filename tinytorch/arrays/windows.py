"""Shared code of the sliding-window layers: windows, padding, blocks of samples, channel arithmetic, memory layout.

Arrays are channels-last, (N, H, W, C): the values of one pixel are adjacent in memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy import ndarray as Array

Pair = tuple[int, int]
Gradients = tuple[Array | None, Array, Array]  # of the input (None if not needed), the weight, and the bias


@dataclass(frozen=True, slots=True)
class Window:
    """A sliding window: its settings and its number of positions, each as (height, width)."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    positions: Pair


def pad(x: Array, padding: Pair, extra: Pair = (0, 0), fill: float = 0.0) -> Array:
    """Pad each image with `padding` rows and columns on each side, and `extra` more at the bottom and right."""
    (n, height, width, channels), (ph, pw) = x.shape, padding
    if not (ph or pw or extra[0] or extra[1]):
        return x
    shape = (n, height + 2 * ph + extra[0], width + 2 * pw + extra[1], channels)
    padded = np.full(shape, fill, x.dtype) if fill else np.zeros(shape, x.dtype)
    padded[:, ph : ph + height, pw : pw + width] = x
    return padded


def windows(padded: Array, window: Window) -> Array:
    """Return every window of padded images, (N, OH, OW, kh, kw, C), as a view, without copying."""
    sn, sh, sw, sc = padded.strides
    (kh, kw), (th, tw), (dh, dw), (oh, ow) = window.kernel, window.stride, window.dilation, window.positions
    shape = (len(padded), oh, ow, kh, kw, padded.shape[3])
    strides = (sn, sh * th, sw * tw, sh * dh, sw * dw, sc)
    return np.lib.stride_tricks.as_strided(padded, shape, strides, writeable=False)


def blocks(begin: int, end: int, step: int) -> list[slice]:
    """Split range(begin, end) into slices of at most `step`."""
    return [slice(i, min(i + step, end)) for i in range(begin, end, step)]


def sum_parts(parts: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Add up the results of `in_parallel` for work that returns two sums over its part."""
    first, second = zip(*parts, strict=True)
    return sum(first[1:], first[0]), sum(second[1:], second[0])


def add_channels(y: Array, b: Array) -> Array:
    """Add b to a contiguous (..., C) array in place, in rows of many pixels, because NumPy's overhead is per row."""
    rows = y.reshape(-1, y.shape[-2] * y.shape[-1])
    rows += repeat_channels(b, y.shape[-2])
    return y


def repeat_channels(b: Array, pixels: int) -> Array:
    """Repeat one number per channel for a row of pixels: (C,) -> (pixels*C,).

    np.tile takes three times as long (2.6 µs), which matters for a single image.
    """
    row = np.empty((pixels, len(b)), b.dtype)
    row[...] = b
    return row.reshape(-1)


def sum_channels(g: Array) -> Array:
    """Return the sum of each channel of a contiguous (..., C) array, computed as a matrix product."""
    rows = g.reshape(-1, g.shape[-2] * g.shape[-1])
    return (np.ones(len(rows), g.dtype) @ rows).reshape(-1, g.shape[-1]).sum(axis=0)


def channels_last(x: Array) -> Array:
    """Return (N, C, H, W) as a contiguous (N, H, W, C): a view if the memory already has that layout."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def channels_first(x: Array) -> Array:
    """Return (N, H, W, C) as a view of shape (N, C, H, W)."""
    return x.transpose(0, 3, 1, 2)
