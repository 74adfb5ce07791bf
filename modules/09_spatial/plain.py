"""Module 09, written as a learner would: the course's proof tests that these answers pass, too."""

from __future__ import annotations

import numpy as np

from tinytorch.activations import relu
from tinytorch.arrays.windows import Gradients, Window, channels_first, channels_last, pad
from tinytorch.layers import Module, Sequential
from tinytorch.spatial import BatchNorm2d, Conv2d
from tinytorch.tensor import Array, Tensor


def windows(padded: Array, window: Window) -> Array:
    (kh, kw), (sh, sw), (dh, dw), (oh, ow) = window.kernel, window.stride, window.dilation, window.positions
    reach = (dh * (kh - 1) + 1, dw * (kw - 1) + 1)
    every = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(1, 2))  # (N, rows, columns, C, reach)
    chosen = every[:, ::sh, ::sw, :, ::dh, ::dw][:, :oh, :ow]
    return chosen.transpose(0, 1, 2, 4, 5, 3)


def im2col(x: Array, window: Window, groups: int) -> Array:
    seen = windows(pad(x, window.padding), window)
    n, oh, ow, kh, kw, c = seen.shape
    share = c // groups
    parts = []
    for k in range(groups):
        part = seen[..., k * share : (k + 1) * share]
        parts.append(part.reshape(n * oh * ow, kh * kw * share))
    return np.stack(parts)


def col2im(columns: Array, shape: tuple[int, ...], window: Window) -> Array:
    n, height, width, channels = shape
    (kh, kw), (sh, sw), (dh, dw) = window.kernel, window.stride, window.dilation
    (ph, pw), (oh, ow) = window.padding, window.positions
    groups = len(columns)
    share = channels // groups
    padded = np.zeros((n, height + 2 * ph, width + 2 * pw, channels), columns.dtype)
    for k in range(groups):
        pixels = columns[k].reshape(n, oh, ow, kh, kw, share)
        for u in range(kh):
            for v in range(kw):
                rows = np.arange(oh) * sh + u * dh
                places = np.arange(ow) * sw + v * dw
                padded[:, rows[:, None], places, k * share : (k + 1) * share] += pixels[:, :, :, u, v]
    return padded[:, ph : ph + height, pw : pw + width]


def im2col_forward(x: Array, matrix: Array, b: Array | None, window: Window) -> Array:
    groups, _, share = matrix.shape
    columns = im2col(x, window, groups)
    y = np.concatenate([columns[k] @ matrix[k] for k in range(groups)], axis=1)
    if b is not None:
        y = y + b
    return y.reshape(len(x), *window.positions, groups * share)


def im2col_backward(g: Array, x: Array, matrix: Array, window: Window, input_gradient: bool) -> Gradients:
    groups, _, share = matrix.shape
    columns = im2col(x, window, groups)
    rows = g.reshape(-1, groups * share)
    dmatrix, dcolumns = [], []
    for k in range(groups):
        part = rows[:, k * share : (k + 1) * share]
        dmatrix.append(columns[k].T @ part)
        dcolumns.append(part @ matrix[k].T)
    dx = col2im(np.stack(dcolumns), x.shape, window) if input_gradient else None
    return dx, np.stack(dmatrix), rows.sum(axis=0)


def _max_pool2d(x: Array, *, window: Window) -> tuple[Array, tuple[Array, Array] | Array]:
    seen = windows(pad(channels_last(x), window.padding, fill=-np.inf), window)
    n, oh, ow, kh, kw, c = seen.shape
    y = channels_first(seen.reshape(n, oh, ow, kh * kw, c).max(axis=3))
    return y, y


def _max_pool2d_x(g: Array, kept: tuple[Array, Array] | Array, x: Array, *, window: Window) -> Array:
    n, c, height, width = x.shape
    count = window.kernel[0] * window.kernel[1]
    seen = windows(pad(channels_last(x), window.padding, fill=-np.inf), window).reshape(-1, count, c)
    rows = channels_last(g).reshape(-1, 1, c)
    chosen = np.arange(count)[:, None] == seen.argmax(axis=1)[:, None]
    columns = (rows * chosen).reshape(1, -1, count * c)
    return channels_first(col2im(columns, (n, height, width, c), window))


def _avg_pool2d(x: Array, *, window: Window) -> tuple[Array, None]:
    seen = windows(pad(channels_last(x), window.padding), window)
    count = window.kernel[0] * window.kernel[1]
    return channels_first(seen.sum(axis=(3, 4)) / count), None


def _avg_pool2d_x(g: Array, kept: None, x: Array, *, window: Window) -> Array:
    n, c, height, width = x.shape
    count = window.kernel[0] * window.kernel[1]
    shares = channels_last(g).reshape(1, -1, c) / count
    columns = np.tile(shares, (1, 1, count))
    return channels_first(col2im(columns, (n, height, width, c), window))


def channel_statistics(x: Array) -> tuple[Array, Array]:
    rows = x.reshape(-1, x.shape[-1]).astype(np.float64)
    return rows.mean(axis=0).astype(x.dtype), rows.var(axis=0).astype(x.dtype)


def normalized_gradients(g: Array, x: Array, weight: Array, mean: Array, inv_std: Array) -> tuple[Array, Array, Array]:
    pixels = (0, 1, 2)
    z = (x - mean) * inv_std
    dx = g - g.mean(axis=pixels) - z * (g * z).mean(axis=pixels)
    return dx * weight * inv_std, (g * z).sum(axis=pixels), g.sum(axis=pixels)


class BasicBlock(Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        self.conv1 = Conv2d(in_channels, out_channels, 3, stride=stride, padding=1)
        self.bn1 = BatchNorm2d(out_channels)
        self.conv2 = Conv2d(out_channels, out_channels, 3, padding=1)
        self.bn2 = BatchNorm2d(out_channels)
        self.shortcut: Module = Sequential()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = Conv2d(in_channels, out_channels, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        y = relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return relu(y + self.shortcut(x))
