"""What the sliding-window layers share: the window, padding, blocks of samples, channel arithmetic, memory layout.

Arrays are channels-last, (N, H, W, C): the values of one pixel are adjacent in memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy import ndarray as Array

Pair = tuple[int, int]


Gradients = tuple[Array | None, Array, Array]  # of the input (None where nobody asked), the weight, the bias


@dataclass(frozen=True, slots=True)
class Window:
    """A sliding window: (height, width) of each setting, and of the positions that it takes."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    positions: Pair


def pad(x: Array, padding: Pair, extra: Pair = (0, 0), fill: float = 0.0) -> Array:
    """Surround each image with `padding` rows and columns, and `extra` more below and to the right."""
    (n, height, width, channels), (ph, pw) = x.shape, padding
    if not (ph or pw or extra[0] or extra[1]):
        return x
    shape = (n, height + 2 * ph + extra[0], width + 2 * pw + extra[1], channels)
    padded = np.full(shape, fill, x.dtype) if fill else np.zeros(shape, x.dtype)
    padded[:, ph : ph + height, pw : pw + width] = x
    return padded


def windows(padded: Array, window: Window) -> Array:
    """Every window of padded images, (N, OH, OW, kh, kw, C), as a view: nothing is copied."""
    sn, sh, sw, sc = padded.strides
    (kh, kw), (th, tw), (dh, dw), (oh, ow) = window.kernel, window.stride, window.dilation, window.positions
    shape = (len(padded), oh, ow, kh, kw, padded.shape[3])
    strides = (sn, sh * th, sw * tw, sh * dh, sw * dw, sc)
    return np.lib.stride_tricks.as_strided(padded, shape, strides, writeable=False)


def blocks(begin: int, end: int, step: int) -> list[slice]:
    """range(begin, end) in slices of at most `step`."""
    return [slice(i, min(i + step, end)) for i in range(begin, end, step)]


def sum_parts(parts: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    """What `in_parallel` gives for work that returns two sums over its part: the sums over all."""
    first, second = zip(*parts, strict=True)
    return sum(first[1:], first[0]), sum(second[1:], second[0])


def add_channels(y: Array, b: Array) -> Array:
    """y += b in place for a contiguous (..., C) array, as rows of many pixels: NumPy's cost is per row."""
    rows = y.reshape(-1, y.shape[-2] * y.shape[-1])
    rows += repeat_channels(b, y.shape[-2])
    return y


def repeat_channels(b: Array, pixels: int) -> Array:
    """A number for each channel, for a row of pixels. np.tile takes three times as long (2.6 us), which counts for
    a single image."""
    row = np.empty((pixels, len(b)), b.dtype)
    row[...] = b
    return row.reshape(-1)


def sum_channels(g: Array) -> Array:
    """The sum of each channel of a contiguous (..., C) array, as a matrix product."""
    rows = g.reshape(-1, g.shape[-2] * g.shape[-1])
    return (np.ones(len(rows), g.dtype) @ rows).reshape(-1, g.shape[-1]).sum(axis=0)


def channels_last(x: Array) -> Array:
    """(N, C, H, W) as a contiguous (N, H, W, C): a view where the memory already lies so."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def channels_first(x: Array) -> Array:
    """(N, H, W, C) as a view of shape (N, C, H, W)."""
    return x.transpose(0, 3, 1, 2)
