"""Pools with PyTorch's settings: `ceil_mode`, `dilation`, `count_include_pad`, and `divisor_override`.

A pool with none of them is the course's own function or layer.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytorch import spatial
from tinytorch import tensor as T
from tinytorch.base.course import Longer
from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.layers import Module
from tinytorch.nn.conv import Sizes, pad, sizes
from tinytorch.tensor import Array, Tensor

Pair = tuple[int, int]


def _without_indices(name: str, return_indices: bool) -> None:
    if return_indices:
        raise SettingError(f"{name}: return_indices is not supported: expected False; for the places of the largest "
                           f"values, use x.unfold(...).max(dim=-1)")  # fmt: skip


def _pool_settings(
    name: str, kernel_size: Sizes, stride: Sizes | None, padding: Sizes, count: int
) -> tuple[Any, Any, Any]:
    k = sizes(f"{name}: kernel_size", kernel_size, count, 1)
    s = k if stride is None else sizes(f"{name}: stride", stride, count, 1)
    p = sizes(f"{name}: padding", padding, count, 0)
    if any(2 * one > of for one, of in zip(p, k, strict=True)):
        raise SettingError(f"{name}: padding {padding}: expected at most half of kernel_size {kernel_size}")
    return k, s, p


def _extra(size: int, k: int, s: int, p: int) -> int:
    """Return how many rows `ceil_mode` adds at the end: windows may go beyond it, but not begin there."""
    count = math.ceil((size + 2 * p - k) / s) + 1
    if (count - 1) * s >= size + p:
        count -= 1
    return max(0, (count - 1) * s + k - (size + 2 * p))


def _images(name: str, x: Tensor) -> Tensor:
    if x.ndim != 4:
        raise ShapeError(f"{name}: input of shape {x.shape}: expected (N, C, H, W) or (C, H, W)")
    return x


def max_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """Return the largest value in each window, for images (N, C, H, W) or (C, H, W).

    With `ceil_mode`, the last windows may go beyond the padded image, so that each pixel is in a window.
    """
    _without_indices("max_pool2d", return_indices)
    if input.ndim == 3:
        return max_pool2d(input.unsqueeze(0), kernel_size, stride, padding, dilation, ceil_mode).squeeze(0)
    plain = kernel_size if stride is None else stride
    d: Pair = sizes("max_pool2d: dilation", dilation, 2, 1)
    if d == (1, 1) and not ceil_mode:
        return spatial.max_pool2d(input, kernel_size, plain, padding)  # type: ignore[arg-type]
    k, s, p = _pool_settings("max_pool2d", kernel_size, stride, padding, 2)
    x = _images("max_pool2d", input)
    reach = [di * (ki - 1) + 1 for di, ki in zip(d, k, strict=True)]
    extra = [_extra(x.shape[2 + i], reach[i], s[i], p[i]) if ceil_mode else 0 for i in (0, 1)]
    x = pad(x, (p[1], p[1] + extra[1], p[0], p[0] + extra[0]), value=-math.inf)
    if d == (1, 1):
        return spatial.max_pool2d(x, k, s)
    count = [(x.shape[2 + i] - reach[i]) // s[i] + 1 for i in (0, 1)]
    if min(count) < 1:
        raise ShapeError(f"max_pool2d: a window of {reach[0]} x {reach[1]} is larger than the padded image")
    places = [(i * d[0], j * d[1]) for i in range(k[0]) for j in range(k[1])]
    seen = [x[:, :, top :: s[0], left :: s[1]][:, :, : count[0], : count[1]] for top, left in places]
    return T.stack(seen, -1).max(-1).values


def avg_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Return the mean of each window, for images (N, C, H, W) or (C, H, W).

    Args:
        ceil_mode: as in `max_pool2d`. Pixels beyond the padded image do not count.
        count_include_pad: whether the zeros of the padding count.
        divisor_override: what the sums are divided by instead.
    """
    if input.ndim == 3:
        options = (ceil_mode, count_include_pad, divisor_override)
        return avg_pool2d(input.unsqueeze(0), kernel_size, stride, padding, *options).squeeze(0)
    plain = kernel_size if stride is None else stride
    if not ceil_mode and count_include_pad and divisor_override is None:
        return spatial.avg_pool2d(input, kernel_size, plain, padding)  # type: ignore[arg-type]
    if divisor_override is not None and divisor_override == 0:
        raise SettingError("avg_pool2d: divisor_override 0: expected another number")
    k, s, p = _pool_settings("avg_pool2d", kernel_size, stride, padding, 2)
    x = _images("avg_pool2d", input)
    extra = [_extra(x.shape[2 + i], k[i], s[i], p[i]) if ceil_mode else 0 for i in (0, 1)]
    counts = [_counts(x.shape[2 + i], extra[i], k[i], s[i], p[i], count_include_pad) for i in (0, 1)]
    x = pad(x, (p[1], p[1] + extra[1], p[0], p[0] + extra[0]))
    total = spatial.avg_pool2d(x, k, s) * (k[0] * k[1])
    divisor = counts[0][:, None] * counts[1] if divisor_override is None else np.asarray(divisor_override)
    return total / divisor.astype(x.dtype)


def _counts(size: int, extra: int, k: int, s: int, p: int, padding_counts: bool) -> Array:
    """Return how many pixels of each window count, in one direction."""
    start = np.arange((size + 2 * p + extra - k) // s + 1) * s - p
    end = np.minimum(start + k, size + p)
    return end - start if padding_counts else np.minimum(end, size) - np.maximum(start, 0)


def max_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """Return the largest value in each window of a sequence (N, C, L) or (C, L)."""
    _without_indices("max_pool1d", return_indices)
    k, s, p = (one[0] for one in _pool_settings("max_pool1d", kernel_size, stride, padding, 1))
    d = sizes("max_pool1d: dilation", dilation, 1, 1)[0]
    return max_pool2d(input.unsqueeze(-2), (1, k), (1, s), (0, p), (1, d), ceil_mode).squeeze(-2)


def avg_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Return the mean of each window of a sequence (N, C, L) or (C, L)."""
    k, s, p = (one[0] for one in _pool_settings("avg_pool1d", kernel_size, stride, padding, 1))
    return avg_pool2d(input.unsqueeze(-2), (1, k), (1, s), (0, p), ceil_mode, count_include_pad).squeeze(-2)


def adaptive_avg_pool1d(x: Tensor, output_size: Sizes) -> Tensor:
    """Return the means of windows that divide a sequence (N, C, L) into `output_size`."""
    size = sizes("adaptive_avg_pool1d: output_size", output_size, 1, 1)[0]
    return spatial.adaptive_avg_pool2d(x.unsqueeze(2), (1, size)).squeeze(2)


def adaptive_max_pool2d(x: Tensor, output_size: Sizes, return_indices: bool = False) -> Tensor:
    """Return the maxima of windows that divide the image into `output_size`."""
    _without_indices("adaptive_max_pool2d", return_indices)
    oh, ow = sizes("adaptive_max_pool2d: output_size", output_size, 2, 1)
    if x.ndim not in (3, 4):
        raise ShapeError(f"adaptive_max_pool2d: input of shape {x.shape}: expected (N, C, H, W) or (C, H, W)")
    h, w = x.shape[-2:]
    rows = [
        T.stack([x[..., i * h // oh : -(-(i + 1) * h // oh), j * w // ow : -(-(j + 1) * w // ow)].amax((-2, -1))
                 for j in range(ow)], -1)
        for i in range(oh)
    ]  # fmt: skip
    return T.stack(rows, -2)


# The same as layers -------------------------------------------------------------------------------------


class MaxPool2d(spatial.MaxPool2d, metaclass=Longer):
    """The course's MaxPool2d, with `dilation` and `ceil_mode`."""

    course = spatial.MaxPool2d

    @staticmethod
    def plain(
        *given: Any, dilation: Any = 1, ceil_mode: bool = False, return_indices: bool = False, **named: Any
    ) -> Any:
        """Return the arguments for the course's layer, or None if it lacks a setting."""
        _without_indices("MaxPool2d", return_indices)
        return (given, named) if len(given) <= 3 and dilation in (1, (1, 1)) and not ceil_mode else None

    def __init__(
        self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, dilation: Sizes = 1,
        return_indices: bool = False, ceil_mode: bool = False,
    ) -> None:  # fmt: skip
        _without_indices("MaxPool2d", return_indices)
        super().__init__(kernel_size, stride, padding)  # type: ignore[arg-type]
        self.dilation, self.ceil_mode = dilation, ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        return max_pool2d(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)


class AvgPool2d(spatial.AvgPool2d, metaclass=Longer):
    """The course's AvgPool2d, with `ceil_mode`, `count_include_pad`, and `divisor_override`."""

    course = spatial.AvgPool2d

    @staticmethod
    def plain(
        *given: Any, ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: Any = None, **named: Any
    ) -> Any:
        """Return the arguments for the course's layer, or None if it lacks a setting."""
        usual = not ceil_mode and count_include_pad and divisor_override is None
        return (given, named) if len(given) <= 3 and usual else None

    def __init__(
        self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(kernel_size, stride, padding)  # type: ignore[arg-type]
        self.ceil_mode, self.count_include_pad, self.divisor_override = ceil_mode, count_include_pad, divisor_override

    def forward(self, x: Tensor) -> Tensor:
        options = (self.ceil_mode, self.count_include_pad, self.divisor_override)
        return avg_pool2d(x, self.kernel_size, self.stride, self.padding, *options)


class MaxPool1d(Module):
    """`max_pool1d` as a layer."""

    def __init__(
        self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, dilation: Sizes = 1,
        return_indices: bool = False, ceil_mode: bool = False,
    ) -> None:  # fmt: skip
        _without_indices("MaxPool1d", return_indices)
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.dilation, self.ceil_mode = dilation, ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        return max_pool1d(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)


class AvgPool1d(Module):
    """`avg_pool1d` as a layer."""

    def __init__(
        self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:  # fmt: skip
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, x: Tensor) -> Tensor:
        return avg_pool1d(x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)


class AdaptiveAvgPool1d(Module):
    """`adaptive_avg_pool1d` as a layer."""

    def __init__(self, output_size: Sizes) -> None:
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        return adaptive_avg_pool1d(x, self.output_size)


class AdaptiveMaxPool2d(Module):
    """`adaptive_max_pool2d` as a layer."""

    def __init__(self, output_size: Sizes) -> None:
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        return adaptive_max_pool2d(x, self.output_size)
