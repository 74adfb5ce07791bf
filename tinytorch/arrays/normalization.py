"""Batch normalization for module 09, with as few passes over memory as possible.

Arrays are channels-last, (N, H, W, C). They are processed in blocks that are still in the cache when the next operation
needs them: 128 images of 32 channels are 17 MB, and each pass over them costs as much as 1.5 ms of matrix products.
All functions are independent of Tensor.
"""

from __future__ import annotations

import numpy as np
from numpy import ndarray as Array

from tinytorch.arrays.parallel import in_parallel
from tinytorch.arrays.windows import blocks, repeat_channels, sum_channels, sum_parts

BLOCK = 2**17  # elements: half a megabyte of float32


def _rows(x: Array) -> tuple[Array, int]:
    """Return (N, H, W, C) as N*H rows of W*C values, and the number of rows in a block.

    The rows are long, because NumPy's overhead is per row.
    """
    rows = x.reshape(-1, x.shape[2] * x.shape[3])
    return rows, max(1, BLOCK // rows.shape[1])


def channel_statistics(x: Array) -> tuple[Array, Array]:
    """Return the mean and biased variance of each channel, (C,) each, computed in one pass.

    var = mean((x - s)^2) - mean(x - s)^2 for any s. With s near the mean (here: the mean of the first rows), there
    is no cancellation.
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
    """Return x scale + shift, with one scale and one shift per channel."""
    (rows, step), (height, width) = _rows(x), x.shape[1:3]
    scale, shift, out = repeat_channels(scale, width), repeat_channels(shift, width), np.empty_like(rows)

    def work(begin: int, end: int) -> None:
        for part in blocks(begin * height, end * height, step):
            block = np.multiply(rows[part], scale, out=out[part])
            block += shift

    in_parallel(x, work)
    return out.reshape(x.shape)


def normalized_gradients(g: Array, x: Array, weight: Array, mean: Array, inv_std: Array) -> tuple[Array, Array, Array]:
    """Return the gradients of y = z weight + bias, z = (x - mean) inv_std, with respect to x, weight, and bias.

    dbias = sum g and dweight = sum g z. The mean and standard deviation are those of the batch and depend on x, so
    dx = weight inv_std (g - mean(g) - z mean(g z)).
    """
    dot, dbias = _sums(g, x, mean)
    dweight, scale = dot * inv_std, weight * inv_std
    (g_rows, step), (x_rows, _), (height, width) = _rows(g), _rows(x), x.shape[1:3]
    n = g.size // g.shape[3]
    slope = -scale * inv_std * dweight / n  # coefficient of x in dx; the rest is constant per channel
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
    """Return the gradients of y = x scale + shift: dx = g scale, dscale = sum g x, dshift = sum g."""
    dscale, dshift = _sums(g, x, np.zeros_like(scale))
    return scale_channels(g, scale, np.zeros_like(scale)), dscale, dshift


def channel_sums(g: Array) -> Array:
    """Return the sum of each channel, (C,)."""
    first, *others = in_parallel(g, lambda begin, end: sum_channels(g[begin:end]))
    return sum(others, first)


def _sums(g: Array, x: Array, mean: Array) -> tuple[Array, Array]:
    """Return sum g (x - mean) and sum g for each channel."""
    (g_rows, step), (x_rows, _), (_, height, width, c) = _rows(g), _rows(x), x.shape
    center = repeat_channels(mean, width)

    def work(begin: int, end: int) -> tuple[Array, Array]:
        dot, total = np.zeros(c, g.dtype), np.zeros(c, g.dtype)
        for part in blocks(begin * height, end * height, step):
            block = x_rows[part] - center
            block *= g_rows[part]
            dot += sum_channels(block.reshape(-1, width, c))
            total += sum_channels(g_rows[part].reshape(-1, width, c))
        return dot, total

    return sum_parts(in_parallel(x, work))
