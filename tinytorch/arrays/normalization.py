"""Module 09: the arithmetic of batch normalisation, in as few passes over memory as it takes.

Arrays are channels-last, (N, H, W, C), and taken in blocks that are still in the cache when the next
operation needs them: 128 images of 32 channels are 17 MB, and each pass over them costs as much as
1.5 ms of matrix products. Nothing here knows of tensors.
"""

from __future__ import annotations

import numpy as np
from numpy import ndarray as Array

from tinytorch.arrays.parallel import in_parallel
from tinytorch.arrays.windows import blocks, repeat_channels, sum_channels, sum_parts

BLOCK = 2**17  # elements: half a megabyte of float32


def _rows(x: Array) -> tuple[Array, int]:
    """(N, H, W, C) as N*H rows of whole lines of pixels. Long rows, because NumPy's cost is per row; how many
    make a block."""
    rows = x.reshape(-1, x.shape[2] * x.shape[3])
    return rows, max(1, BLOCK // rows.shape[1])


def channel_statistics(x: Array) -> tuple[Array, Array]:
    """Mean and (biased) variance of each channel, in one pass.

    var = mean((x - s)^2) - mean(x - s)^2 for any s; with s near the mean (here: of the first rows) nothing
    cancels.
    """
    (rows, step), (_, height, width, c) = _rows(x), x.shape
    n = x.size // c
    near = rows[:step].reshape(-1, c).mean(axis=0)
    shift = repeat_channels(near, width)

    def work(begin: int, end: int) -> tuple[Array, Array]:
        sums, squares = np.zeros(c), np.zeros(c)
        for part in blocks(begin * height, end * height, step):
            block = rows[part] - shift
            sums += sum_channels(block.reshape(-1, width, c))
            block *= block
            squares += sum_channels(block.reshape(-1, width, c))
        return sums, squares

    sums, squares = sum_parts(in_parallel(x, work))
    offset = sums / n
    return (near + offset).astype(x.dtype), np.maximum(squares / n - offset**2, 0).astype(x.dtype)


def scale_channels(x: Array, scale: Array, shift: Array) -> Array:
    """x scale + shift, with a number for each channel."""
    (rows, step), (height, width) = _rows(x), x.shape[1:3]
    scale, shift, out = repeat_channels(scale, width), repeat_channels(shift, width), np.empty_like(rows)

    def work(begin: int, end: int) -> None:
        for part in blocks(begin * height, end * height, step):
            block = np.multiply(rows[part], scale, out=out[part])
            block += shift

    in_parallel(x, work)
    return out.reshape(x.shape)


def normalized_gradients(g: Array, x: Array, weight: Array, mean: Array, inv_std: Array) -> tuple[Array, Array, Array]:
    """Gradients of y = z weight + bias with z = (x - mean) inv_std, with respect to x, weight and bias.

    dbias = sum g, dweight = sum g z, and, since mean and std are the batch's own and depend on x,
    dx = weight inv_std (g - mean(g) - z mean(g z)).
    """
    dot, dbias = _sums(g, x, mean)
    dweight, scale = dot * inv_std, weight * inv_std
    (g_rows, step), (x_rows, _), (height, width) = _rows(g), _rows(x), x.shape[1:3]
    n = g.size // g.shape[3]
    slope = -scale * inv_std * dweight / n  # of x in dx; the rest is constant for a channel
    shift = repeat_channels(-scale * dbias / n - slope * mean, width)
    scale, slope, dx = repeat_channels(scale, width), repeat_channels(slope, width), np.empty_like(g_rows)

    def work(begin: int, end: int) -> None:
        for part in blocks(begin * height, end * height, step):
            block = np.multiply(x_rows[part], slope, out=dx[part])
            block += shift
            block += g_rows[part] * scale

    in_parallel(x, work)
    return dx.reshape(g.shape), dweight, dbias


def scale_gradients(g: Array, x: Array, scale: Array) -> tuple[Array, Array, Array]:
    """Gradients of y = x scale + shift: dx = g scale, dscale = sum g x, dshift = sum g."""
    dscale, dshift = _sums(g, x, np.zeros_like(scale))
    return scale_channels(g, scale, np.zeros_like(scale)), dscale, dshift


def _sums(g: Array, x: Array, mean: Array) -> tuple[Array, Array]:
    """sum g (x - mean) and sum g, of each channel."""
    (g_rows, step), (x_rows, _), (_, height, width, c) = _rows(g), _rows(x), x.shape
    centre = repeat_channels(mean, width)

    def work(begin: int, end: int) -> tuple[Array, Array]:
        dot, total = np.zeros(c, g.dtype), np.zeros(c, g.dtype)
        for part in blocks(begin * height, end * height, step):
            block = x_rows[part] - centre
            block *= g_rows[part]
            dot += sum_channels(block.reshape(-1, width, c))
            total += sum_channels(g_rows[part].reshape(-1, width, c))
        return dot, total

    return sum_parts(in_parallel(x, work))
