"""Convolutions of sequences, transposed convolutions, and padding.

All of them are composed of the course's `conv2d` and of linear maps, so their gradients are theirs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from operator import index
from typing import Any

import numpy as np

from tinytorch import spatial
from tinytorch.autograd import derivative
from tinytorch.base.course import Longer
from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.base.words import described
from tinytorch.layers import Module, kaiming_uniform
from tinytorch.ops.shapes import flip
from tinytorch.tensor import Array, Op, Tensor, apply

Sizes = int | Sequence[int]

# Padding ------------------------------------------------------------------------------------------------


def _padded(x: Array, widths: tuple[tuple[int, int], ...], value: float) -> Array:
    y = np.pad(x, [(max(0, a), max(0, b)) for a, b in widths], constant_values=value)
    return y[tuple(slice(max(0, -a), n - max(0, -b)) for (a, b), n in zip(widths, y.shape, strict=True))]


pad_ = Op("pad", _padded)
derivative(pad_, lambda g, y, x, widths, value: _padded(g, tuple((-a, -b) for a, b in widths), 0))
_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def pad(x: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Pad the last dimensions: `pad` is (left, right), or (left, right, top, bottom), ... Negative widths crop.

    Modes: constant (with `value`, by default 0), reflect, replicate, circular.

    Raises:
        SettingError: the mode is none of these, or there are too many widths.
    """
    if len(pad) % 2 or len(pad) > 2 * x.ndim:
        raise SettingError(
            f"pad: {tuple(pad)} for shape {x.shape}: expected two widths per dimension, from the last one on"
        )
    pairs = [(int(pad[i]), int(pad[i + 1])) for i in range(0, len(pad), 2)]
    widths = tuple([(0, 0)] * (x.ndim - len(pairs)) + pairs[::-1])
    if mode == "constant":
        return apply(pad_, x, widths=widths, value=0 if value is None else value)
    if mode not in _MODES:
        raise SettingError(f"pad: mode {mode!r}: expected constant, {', '.join(_MODES)}")
    for dim, (before, after) in enumerate(widths):
        if before or after:
            if not x.shape[dim]:
                raise ShapeError(f"pad: {mode} for shape {x.shape}: expected at least one element to repeat")
            if mode == "reflect" and max(before, after) >= x.shape[dim]:
                raise ShapeError(f"pad: reflect by {max(before, after)}: expected less than the size {x.shape[dim]}")
            places = np.pad(np.arange(x.shape[dim]), (before, after), mode=_MODES[mode])  # type: ignore[call-overload]
            x = x[(slice(None),) * dim + (places,)]
    return x


def same_padding(kernel: Sequence[int], dilation: Sequence[int]) -> list[int]:
    """Return the widths for `pad` with which a convolution keeps the size: one more at the end if they are odd."""
    widths: list[int] = []
    for k, d in zip(reversed(kernel), reversed(dilation), strict=True):
        total = d * (k - 1)
        widths += [total // 2, total - total // 2]
    return widths


# Convolution --------------------------------------------------------------------------------------------


def sizes(name: str, value: Any, count: int, least: int) -> Any:
    """Return one integer for each of `count` dimensions: one for all of them, or a sequence.

    Raises:
        SettingError: the value is neither, or less than `least`.
    """
    try:
        numbers = tuple(map(index, value if isinstance(value, Iterable) else (value,)))
    except TypeError:
        numbers = ()
    numbers *= count if len(numbers) == 1 else 1
    if len(numbers) != count or min(numbers) < least:
        of_them = "" if count == 1 else f", or {count} of them"
        raise SettingError(f"{name} {described(value)}: expected an integer of at least {least}{of_them}")
    return numbers


def conv2d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Sizes = 1, padding: Any = 0, dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:  # fmt: skip
    """Convolve images: the course's `conv2d`, with padding "same" or "valid", and images without samples (C, H, W)."""
    if input.ndim == 3:
        return conv2d(input.unsqueeze(0), weight, bias, stride, padding, dilation, groups).squeeze(0)
    d = sizes("conv2d: dilation", dilation, 2, 1)
    if padding == "same":
        if sizes("conv2d: stride", stride, 2, 1) != (1, 1):
            raise SettingError("conv2d: padding 'same' with a stride: expected stride 1")
        widths = same_padding(weight.shape[2:], d)
        if widths[0] == widths[1] and widths[2] == widths[3]:
            return spatial.conv2d(input, weight, bias, 1, (widths[2], widths[0]), d, groups)
        return spatial.conv2d(pad(input, widths), weight, bias, 1, 0, d, groups)
    return spatial.conv2d(
        input, weight, bias, sizes("conv2d: stride", stride, 2, 1),
        sizes("conv2d: padding", 0 if padding == "valid" else padding, 2, 0), d, groups,
    )  # fmt: skip


def conv1d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Sizes = 1, padding: Any = 0, dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:  # fmt: skip
    """Convolve sequences (N, C, L) or (C, L) with weight (K, C/groups, k), as images of height 1."""
    if weight.ndim != 3 or input.ndim not in (2, 3):
        raise ShapeError(
            f"conv1d: input {input.shape} and weight {weight.shape}: expected (N, C, L) and (K, C/groups, k)"
        )
    if input.ndim == 2:
        return conv1d(input.unsqueeze(0), weight, bias, stride, padding, dilation, groups).squeeze(0)
    s, d = (sizes(f"conv1d: {name}", value, 1, 1)[0] for name, value in (("stride", stride), ("dilation", dilation)))
    p = padding if isinstance(padding, str) else (0, sizes("conv1d: padding", padding, 1, 0)[0])
    return conv2d(input.unsqueeze(2), weight.unsqueeze(2), bias, (1, s), p, (1, d), groups).squeeze(2)


def _spaced(x: Array, steps: tuple[int, int]) -> Array:
    n, c, h, w = x.shape
    y = np.zeros((n, c, (h - 1) * steps[0] + 1, (w - 1) * steps[1] + 1), x.dtype)
    y[:, :, :: steps[0], :: steps[1]] = x
    return y


spaced_ = Op("insert zeros", _spaced)
derivative(spaced_, lambda g, y, x, steps: g[:, :, :: steps[0], :: steps[1]])


def conv_transpose2d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Sizes = 1, padding: Sizes = 0,
    output_padding: Sizes = 0, groups: int = 1, dilation: Sizes = 1,
) -> Tensor:  # fmt: skip
    """Map x (N, C, H, W) to what `conv2d` with these settings would map to it: the adjoint of a convolution.

    weight (C, K/groups, kh, kw); OH = (H - 1) stride - 2 padding + dilation (kh - 1) + output_padding + 1. It is a
    convolution of the input, with zeros between its pixels, with the flipped kernels.

    Raises:
        ShapeError: the channels do not match.
        SettingError: output_padding is not smaller than stride or dilation.
    """
    if input.ndim != 4 or weight.ndim != 4 or input.shape[1] != weight.shape[0] or weight.shape[0] % groups:
        raise ShapeError(f"conv_transpose2d: input {input.shape} and weight {weight.shape} in {groups} group(s): "
                         f"expected (N, C, H, W) and (C, K/groups, kh, kw)")  # fmt: skip
    named = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
    s, p, extra, d = (
        sizes(f"conv_transpose2d: {name}", value, 2, int("padding" not in name)) for name, value in named.items()
    )
    if any(e >= max(a, b) for e, a, b in zip(extra, s, d, strict=True)):
        raise SettingError(f"conv_transpose2d: output_padding {extra}: expected less than stride {s} or dilation {d}")
    c, k, kh, kw = weight.shape
    turned = flip(weight, 2, 3).reshape(groups, c // groups, k, kh, kw).permute(0, 2, 1, 3, 4)
    turned = turned.reshape(groups * k, c // groups, kh, kw)
    x = input if s == (1, 1) else apply(spaced_, input, steps=s)
    edge = [d[i] * (n - 1) - p[i] for i, n in enumerate((kh, kw))]
    x = pad(x, (edge[1], edge[1] + extra[1], edge[0], edge[0] + extra[0]))
    return spatial.conv2d(x, turned, bias, 1, 0, d, groups)


def conv_transpose1d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Sizes = 1, padding: Sizes = 0,
    output_padding: Sizes = 0, groups: int = 1, dilation: Sizes = 1,
) -> Tensor:  # fmt: skip
    """Map sequences (N, C, L) as `conv_transpose2d` maps images of height 1; weight (C, K/groups, k)."""
    named = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
    one = [sizes(f"conv_transpose1d: {name}", value, 1, int("padding" not in name))[0] for name, value in named.items()]
    y = conv_transpose2d(input.unsqueeze(2), weight.unsqueeze(2), bias, (1, one[0]), (0, one[1]), (0, one[2]), groups,
                         (1, one[3]))  # fmt: skip
    return y.squeeze(2)


class _Convolution(Module, metaclass=Longer):
    """What the layers of this file share: their settings, weights, and initialization."""

    count, transposed = 1, False

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Sizes, stride: Sizes = 1, padding: Any = 0,
        dilation: Sizes = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros",
    ) -> None:  # fmt: skip
        name = type(self).__name__
        if min(in_channels, out_channels, groups) < 1 or in_channels % groups or out_channels % groups:
            raise SettingError(f"{name}: {in_channels} to {out_channels} channels in {groups} groups: expected "
                               f"numbers of at least 1, with both channels multiples of the groups")  # fmt: skip
        if padding_mode != "zeros" and padding_mode not in _MODES:
            raise SettingError(f"{name}: padding_mode {padding_mode!r}: expected zeros, {', '.join(_MODES)}")
        kernel = sizes(f"{name}: kernel_size", kernel_size, self.count, 1)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.stride = sizes(f"{name}: stride", stride, self.count, 1)
        self.dilation = sizes(f"{name}: dilation", dilation, self.count, 1)
        self.padding: Any = padding if isinstance(padding, str) else sizes(f"{name}: padding", padding, self.count, 0)
        self.padding_mode = padding_mode
        first, second = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        fan_in = second // groups * math.prod(kernel)
        self.weight = kaiming_uniform((first, second // groups, *kernel), fan_in)
        self.bias = kaiming_uniform((out_channels,), fan_in) if bias else None

    def _edges(self, x: Tensor) -> tuple[Tensor, Any]:
        """Return the input, padded unless by zeros, and the padding that is left for the convolution."""
        if self.padding_mode == "zeros":
            return x, self.padding
        if isinstance(self.padding, str):
            widths = same_padding(self.weight.shape[2:], self.dilation) if self.padding == "same" else []
        else:
            widths = [n for p in reversed(self.padding) for n in (p, p)]
        return pad(x, widths, self.padding_mode), 0


class Conv1d(_Convolution):
    """`conv1d` as a layer: weight (out_channels, in_channels/groups, k), bias (out_channels,)."""

    def forward(self, x: Tensor) -> Tensor:
        x, padding = self._edges(x)
        return conv1d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class Conv2d(spatial.Conv2d, metaclass=Longer):
    """The course's Conv2d, with padding "same" or "valid", and modes of padding."""

    course = spatial.Conv2d

    @staticmethod
    def plain(*given: Any, padding_mode: str = "zeros", **named: Any) -> Any:
        """Return the arguments for the course's layer, or None if it lacks a setting."""
        padding = given[4] if len(given) > 4 else named.get("padding", 0)
        return None if isinstance(padding, str) or padding_mode != "zeros" or len(given) > 8 else (given, named)

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Sizes, stride: Sizes = 1, padding: Any = 0,
        dilation: Sizes = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros",
    ) -> None:  # fmt: skip
        plain = 0 if isinstance(padding, str) else padding
        pair: Any = [v if isinstance(v, int) else tuple(v) for v in (kernel_size, stride, plain, dilation)]
        super().__init__(in_channels, out_channels, pair[0], pair[1], pair[2], pair[3], groups, bias)
        if padding_mode != "zeros" and padding_mode not in _MODES:
            raise SettingError(f"Conv2d: padding_mode {padding_mode!r}: expected zeros, {', '.join(_MODES)}")
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise SettingError(f"Conv2d: padding {padding!r}: expected 'same', 'valid', or numbers")
            self.padding = padding  # type: ignore[assignment]
        self.padding_mode = padding_mode

    def forward(self, x: Tensor) -> Tensor:
        if self.padding_mode != "zeros":
            x, padding = _Convolution._edges(self, x)  # type: ignore[arg-type]
            return conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)
        return conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class ConvTranspose2d(_Convolution):
    """`conv_transpose2d` as a layer: weight (in_channels, out_channels/groups, kh, kw), bias (out_channels,)."""

    count, transposed = 2, True

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Sizes, stride: Sizes = 1, padding: Sizes = 0,
        output_padding: Sizes = 0, groups: int = 1, bias: bool = True, dilation: Sizes = 1,
    ) -> None:  # fmt: skip
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        self.output_padding = sizes(f"{type(self).__name__}: output_padding", output_padding, self.count, 0)

    def forward(self, x: Tensor) -> Tensor:
        function = conv_transpose1d if self.count == 1 else conv_transpose2d
        return function(x, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups,
                        self.dilation)  # fmt: skip


class ConvTranspose1d(ConvTranspose2d):
    """`conv_transpose1d` as a layer: weight (in_channels, out_channels/groups, k), bias (out_channels,)."""

    count = 1
