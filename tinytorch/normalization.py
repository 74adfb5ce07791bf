"""Module 09: the arithmetic of batch normalisation, in as few passes over memory as it takes.

Arrays are channels-last, (N, H, W, C), and taken in blocks that are still in the cache when the next
operation needs them: 128 images of 32 channels are 17 MB, and each pass over them costs as much as
1.5 ms of matrix products. Nothing here knows of tensors.
"""

from __future__ import annotations

import numpy as np

from tinytorch.convolution import sum_channels
from tinytorch.tensor import Array

BLOCK = 2**17  # elements: half a megabyte of float32


def _rows(x: Array) -> tuple[Array, int, range]:
    """(N, H, W, C) as rows of whole lines of pixels, how many pixels one row holds, and where blocks of rows
    begin. Long rows, because NumPy's cost is per row."""
    rows = x.reshape(-1, x.shape[2] * x.shape[3])
    return rows, x.shape[2], range(0, len(rows), max(1, BLOCK // rows.shape[1]))


def channel_statistics(x: Array) -> tuple[Array, Array]:
    """Mean and (biased) variance of each channel, in one pass.

    var = mean((x - s)^2) - mean(x - s)^2 for any s; with s near the mean (here: of the first rows) nothing
    cancels.
    """
    (rows, pixels, starts), c = _rows(x), x.shape[3]
    n = x.size // c
    near = rows[: starts.step].reshape(-1, c).mean(axis=0)
    shift, sums, squares = np.tile(near, pixels), np.zeros(c), np.zeros(c)
    for i in starts:
        block = rows[i : i + starts.step] - shift
        sums += sum_channels(block.reshape(-1, pixels, c))
        block *= block
        squares += sum_channels(block.reshape(-1, pixels, c))
    offset = sums / n
    return (near + offset).astype(x.dtype), np.maximum(squares / n - offset**2, 0).astype(x.dtype)


def scale_channels(x: Array, scale: Array, shift: Array) -> Array:
    """x scale + shift, with a number for each channel."""
    rows, pixels, starts = _rows(x)
    scale, shift, out = np.tile(scale, pixels), np.tile(shift, pixels), np.empty_like(rows)
    for i in starts:
        block = np.multiply(rows[i : i + starts.step], scale, out=out[i : i + starts.step])
        block += shift
    return out.reshape(x.shape)


def normalized_gradients(
    g: Array, x: Array, weight: Array, mean: Array, inv_std: Array, batch_statistics: bool
) -> tuple[Array, Array, Array]:
    """Gradients of y = z weight + bias with z = (x - mean) inv_std, with respect to x, weight and bias.

    dbias = sum g, dweight = sum g z, and dx = weight inv_std g; where mean and std are the batch's own, and so
    depend on x, dx = weight inv_std (g - mean(g) - z mean(g z)).
    """
    (g_rows, pixels, starts), x_rows, c = _rows(g), _rows(x)[0], x.shape[3]
    n, centre, dot = g.size // c, np.tile(mean, pixels), np.zeros(c, g.dtype)
    for i in starts:
        block = x_rows[i : i + starts.step] - centre
        block *= g_rows[i : i + starts.step]
        dot += sum_channels(block.reshape(-1, pixels, c))
    dbias, dweight, scale = sum_channels(g), dot * inv_std, weight * inv_std
    if not batch_statistics:
        return scale_channels(g, scale, np.zeros_like(scale)), dweight, dbias
    slope = -scale * inv_std * dweight / n  # of x in dx; the rest is constant for a channel
    shift = np.tile(-scale * dbias / n - slope * mean, pixels)
    scale, slope, dx = np.tile(scale, pixels), np.tile(slope, pixels), np.empty_like(g_rows)
    for i in starts:
        block = np.multiply(x_rows[i : i + starts.step], slope, out=dx[i : i + starts.step])
        block += shift
        block += g_rows[i : i + starts.step] * scale
    return dx.reshape(g.shape), dweight, dbias
