"""Module 09: convolution by im2col, pooling, batch normalization, and the layers and ResNet block built from them.

Shapes are PyTorch's, (N, C, H, W), but the memory behind them is channels-last: an array of shape (N, H, W, C), viewed
through a transpose. NumPy's elementwise functions preserve that order, so the layout costs a single copy, at the
network's first layer. `arrays.convolution` has two faster algorithms for some convolutions; `arrays.pooling` and
`arrays.normalization` have the array arithmetic of the other layers. `fast.images` computes all three with oneDNN.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable

import numpy as np

from tinytorch.activations import relu
from tinytorch.arrays import convolution as cv
from tinytorch.arrays import pooling
from tinytorch.arrays.normalization import channel_statistics, scale_gradients
from tinytorch.arrays.parallel import in_parallel
from tinytorch.arrays.windows import (
    Gradients,
    Pair,
    Window,
    add_channels,
    blocks,
    channels_first,
    channels_last,
    pad,
    sum_channels,
    sum_parts,
    windows,
)
from tinytorch.autograd import derivative, joint_derivative
from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.base.promotion import in_float32, like
from tinytorch.fast import images as fast
from tinytorch.fast.images import normalized_gradients, scale_channels
from tinytorch.fast.sequences import join
from tinytorch.graph.reads import reads
from tinytorch.layers import Module, Parameter, Sequential, kaiming_uniform
from tinytorch.tensor import Array, Op, Tensor, apply, as_tensor, cat, is_floating, is_grad_enabled

PairLike = int | Pair


def _pair(name: str, value: PairLike, least: int) -> Pair:
    try:
        pair = tuple(operator.index(number) for number in (value if isinstance(value, Iterable) else (value, value)))
    except TypeError:
        pair = ()
    if len(pair) != 2 or min(pair) < least:
        raise SettingError(f"{name} {value}: expected an integer of at least {least}, or a pair of them")
    return pair


def _check_floating(name: str, x: Tensor) -> None:
    if not is_floating(x.dtype):
        raise SettingError(f"{name}: images of dtype {x.dtype}: expected floating point; convert them first")


def slide(
    name: str, x: Tensor, kernel: PairLike, stride: PairLike, padding: PairLike, dilation: PairLike = 1
) -> Window:
    """Return the window's settings and its number of positions over images (N, C, H, W).

    positions = floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1, in each direction.

    Raises:
        ShapeError: x does not have four dimensions, or the window is larger than the padded image.
        SettingError: x is not floating point, or a setting is out of range.
    """
    if x.ndim != 4:
        raise ShapeError(f"{name}: input of shape {x.shape}: expected (N, C, H, W)")
    _check_floating(name, x)
    k, s = _pair(f"{name}: kernel_size", kernel, 1), _pair(f"{name}: stride", stride, 1)
    p, d = _pair(f"{name}: padding", padding, 0), _pair(f"{name}: dilation", dilation, 1)
    padded = [x.shape[2 + i] + 2 * p[i] for i in (0, 1)]
    reach = [d[i] * (k[i] - 1) + 1 for i in (0, 1)]
    if padded[0] < reach[0] or padded[1] < reach[1]:
        raise ShapeError(f"{name}: a window of {reach[0]} x {reach[1]} is larger than the padded image of "
                         f"{padded[0]} x {padded[1]} (input {x.shape}, padding {p})")  # fmt: skip
    return Window(k, s, p, d, ((padded[0] - reach[0]) // s[0] + 1, (padded[1] - reach[1]) // s[1] + 1))


# The basic method: im2col -----------------------------------------------------------------------------
#
# Copy each window into a row; one matrix product with the kernels then computes the whole convolution.
# Arrays in this section are channels-last, (N, H, W, C), so that a window's rows are contiguous.

COLUMN_BYTES = 2**20  # size of one block's columns, which must stay in the L2 cache


def im2col(x: Array, window: Window, groups: int) -> Array:
    """Copy each window of images x (N, H, W, C) into a row: (groups, N*OH*OW, kh*kw*C/groups), in the dtype of x.

    Rows are in the order of (sample, i, j), the window's position. A row has the window's pixels in the order of
    (u, v), the place within the window, and for each pixel its channels. With groups, matrix k has the k-th share of
    the channels. Outside the image (see `pad`), x is 0.
    """
    seen = windows(pad(x, window.padding), window)
    rows, taps = seen.shape[0] * seen.shape[1] * seen.shape[2], seen.shape[3] * seen.shape[4]
    if groups == 1:
        return seen.reshape(1, rows, taps * x.shape[3])
    split = seen.reshape(rows, taps, groups, -1)
    return np.ascontiguousarray(split.transpose(2, 0, 1, 3)).reshape(groups, rows, -1)


def col2im(columns: Array, shape: tuple[int, ...], window: Window) -> Array:
    """Add each window's row to the pixels it was copied from; the adjoint of `im2col`.

    `columns` has the shape of im2col's result, and the result the `shape` of its images, (N, H, W, C). A pixel in
    several windows gets the sum of its values in their rows. What was copied from the padding is dropped.
    """
    (n, height, width, channels), (ph, pw) = shape, window.padding
    (kh, kw), (sh, sw), (dh, dw), (oh, ow) = window.kernel, window.stride, window.dilation, window.positions
    taps = columns.transpose(1, 0, 2).reshape(n, oh, ow, len(columns), kh, kw, -1)  # (N, OH, OW, G, kh, kw, C/G)
    padded = np.zeros((n, height + 2 * ph, width + 2 * pw, channels), columns.dtype)
    by_group = padded.reshape(*padded.shape[:3], len(columns), -1)
    for i in range(kh):
        for j in range(kw):
            top, left = i * dh, j * dw
            by_group[:, top : top + sh * oh : sh, left : left + sw * ow : sw][:, :oh, :ow] += taps[..., i, j, :]
    return padded[:, ph : ph + height, pw : pw + width]


def weight_columns(w: Array, groups: int) -> Array:
    """Arrange weights (K, C/groups, kh, kw) to multiply `im2col`'s rows: (groups, kh*kw*C/groups, K/groups)."""
    k, c, kh, kw = w.shape
    return w.reshape(groups, k // groups, c, kh, kw).transpose(0, 3, 4, 2, 1).reshape(groups, kh * kw * c, k // groups)


def weight_from_columns(columns: Array, shape: tuple[int, ...]) -> Array:
    """Return weights of `shape` (K, C/groups, kh, kw) from their columns; the inverse of `weight_columns`."""
    k, c, kh, kw = shape
    groups = len(columns)
    return columns.reshape(groups, kh, kw, c, k // groups).transpose(0, 4, 3, 1, 2).reshape(shape)


def _column_block(x: Array, window: Window) -> int:
    per_sample = int(np.prod(window.positions) * np.prod(window.kernel)) * x.shape[3] * x.itemsize
    return max(1, COLUMN_BYTES // per_sample)


def im2col_forward(x: Array, matrix: Array, b: Array | None, window: Window) -> Array:
    """Compute y = columns @ matrix + b for images x (N, H, W, C), with the columns of `im2col`: (N, OH, OW, K).

    `matrix` is the result of `weight_columns`, (groups, kh*kw*C/groups, K/groups): each group of the columns is
    multiplied by its own matrix, and yields K/groups channels, which come one group after the other. b is (K,) or None.
    To save memory, compute it for one block of samples at a time; `_column_block` is a good size.
    """
    n, groups, k, step = len(x), len(matrix), len(matrix) * matrix.shape[2], _column_block(x, window)
    y = np.empty((n, *window.positions, k), x.dtype)

    def work(begin: int, end: int) -> None:
        for block in blocks(begin, end, step):
            rows = y[block].reshape(-1, groups, k // groups)
            np.matmul(im2col(x[block], window, groups), matrix, out=rows.transpose(1, 0, 2))
            if b is not None:
                add_channels(y[block], b)

    in_parallel(x, work)
    return y


def im2col_backward(g: Array, x: Array, matrix: Array, window: Window, input_gradient: bool) -> Gradients:
    """Return dx = col2im(g matrix^T), dmatrix = columns^T g, and dbias = sum g over pixels, for g (N, OH, OW, K).

    The products are those of each group, and the results have the shapes of x, matrix, and b. dx is None if
    `input_gradient` is false. The columns are computed again, because keeping them would take too much memory.
    """
    groups, k, step = len(matrix), len(matrix) * matrix.shape[2], _column_block(x, window)
    dx = np.empty(x.shape, g.dtype) if input_gradient else None

    def work(begin: int, end: int) -> tuple[Array, Array]:
        dmatrix, dbias = np.zeros_like(matrix), np.zeros(k, g.dtype)
        for block in blocks(begin, end, step):
            columns = im2col(x[block], window, groups)
            rows = g[block].reshape(-1, groups, k // groups).transpose(1, 0, 2)
            dmatrix += columns.transpose(0, 2, 1) @ rows
            dbias += sum_channels(g[block])
            if dx is not None:
                dx[block] = col2im(rows @ matrix.transpose(0, 2, 1), x[block].shape, window)
        return dmatrix, dbias

    dmatrix, dbias = sum_parts(in_parallel(x, work))
    return dx, dmatrix, dbias


# Convolution ------------------------------------------------------------------------------------------


# A separate op arranges the weights, so that its gradient is one line and `trace` runs it only once.
weight_columns_ = Op("weight_columns", weight_columns)
weight_tiles_ = Op("weight_tiles", lambda w: cv.weight_tiles(in_float32(w)))  # not rounded to 16 bits
derivative(weight_columns_, lambda g, y, w, groups: weight_from_columns(g, w.shape))
derivative(weight_tiles_, lambda g, y, w: cv.weight_from_tiles(in_float32(g)))
reads(weight_columns_, ())
reads(weight_tiles_, ())


def _forward(kernel: Callable[..., Array]) -> Callable[..., tuple[Array, None]]:
    """Return the forward function of an op on (N, C, H, W), given a kernel on channels-last arrays."""

    def forward(
        x: Array, w: Array, b: Array | None = None, *, window: Window, input_gradient: bool
    ) -> tuple[Array, None]:
        wide = in_float32(x), in_float32(w), None if b is None else in_float32(b)
        return channels_first(like(kernel(channels_last(wide[0]), *wide[1:], window), x)), None

    return forward


def _gradients(backward: Callable[..., Gradients]) -> Callable[..., Gradients]:
    """Return the gradient rule of an op on (N, C, H, W), given a kernel on channels-last arrays."""

    def rule(
        g: Array, kept: None, x: Array, w: Array, b: Array | None = None, *, window: Window, input_gradient: bool
    ) -> Gradients:
        g, x, w = in_float32(g), in_float32(x), in_float32(w)
        dx, dw, db = backward(channels_last(g), channels_last(x), w, window, input_gradient)
        return None if dx is None else channels_first(dx), dw, db

    return rule


im2col_ = Op("conv2d (im2col)", _forward(im2col_forward))
winograd_ = Op("conv2d (Winograd)", _forward(cv.winograd_forward))
pointwise_ = Op("conv2d (pointwise)", _forward(cv.pointwise_forward))
joint_derivative(im2col_, _gradients(im2col_backward))
joint_derivative(winograd_, _gradients(cv.winograd_backward))
joint_derivative(pointwise_, _gradients(cv.pointwise_backward))
for _op in (im2col_, winograd_, pointwise_):
    reads(_op, (1,), (0,), ())


def _fastest(x: Tensor, weight: Tensor, window: Window, groups: int) -> tuple[Op, Tensor]:
    """Return the fastest op for these shapes, and the weights in the layout that it expects."""
    if fast.convolves(x, weight, window, groups):
        return fast.convolution_, weight
    if groups == 1 and window.kernel == (1, 1) and window.padding == (0, 0):
        return pointwise_, weight.reshape(weight.shape[:2])
    plain = groups == 1 and window.stride == window.dilation == (1, 1)
    if plain and window.kernel == (3, 3) and min(weight.shape[:2]) >= cv.WINOGRAD_CHANNELS:
        return winograd_, apply(weight_tiles_, weight)
    return im2col_, apply(weight_columns_, weight, groups=groups)


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: PairLike = 1,
    padding: PairLike = 0,
    dilation: PairLike = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve images x with `weight`, and add `bias`.

    y[n, k, i, j] = bias[k] + sum over c, u, v of weight[k, c, u, v] x[n, c, i stride + u dilation - padding, ...].

    Shapes: x (N, C, H, W), weight (K, C/groups, kh, kw), bias (K,), y (N, K, OH, OW) with
    OH = floor((H + 2 padding - dilation (kh - 1) - 1) / stride) + 1, and OW likewise. Outside the image, x is 0.
    Channels are split into groups: each group's K/groups outputs depend only on that group's C/groups input channels.

    Raises:
        ShapeError: the channels or groups do not match, or the kernel is larger than the padded image.
        SettingError: a stride, padding, or dilation is out of range.
    """
    x = as_tensor(x)
    if weight.ndim != 4:
        raise ShapeError(f"conv2d: weight of shape {weight.shape}: expected (K, C/groups, kh, kw)")
    window = slide("conv2d", x, (weight.shape[2], weight.shape[3]), stride, padding, dilation)
    k, c = weight.shape[:2]
    if groups < 1 or k % groups or x.shape[1] != c * groups:
        raise ShapeError(f"conv2d: input of shape {x.shape} does not match weight of shape {weight.shape} in {groups} "
                         f"group(s): expected (N, {c * groups}, H, W), with {k} a multiple of the groups")  # fmt: skip
    if bias is not None and bias.shape != (k,):
        raise ShapeError(f"conv2d: bias of shape {bias.shape}: expected ({k},)")
    op, laid_out = _fastest(x, weight, window, groups)
    inputs = (x, laid_out) if bias is None else (x, laid_out, bias)
    return apply(op, *inputs, window=window, input_gradient=x.requires_grad)


class Conv2d(Module):
    """A convolution with trained kernels; see `conv2d` for the formula and the output size.

    Shapes: weight (out_channels, in_channels/groups, kh, kw), bias (out_channels,).
    Source: LeCun et al. 1989, https://doi.org/10.1162/neco.1989.1.4.541.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: PairLike,
        stride: PairLike = 1,
        padding: PairLike = 0,
        dilation: PairLike = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        if min(in_channels, out_channels, groups) < 1 or in_channels % groups or out_channels % groups:
            raise SettingError(f"Conv2d: {in_channels} to {out_channels} channels in {groups} groups: expected "
                               f"numbers of at least 1, with both channels multiples of the groups")  # fmt: skip
        kh, kw = _pair("Conv2d: kernel_size", kernel_size, 1)
        self.stride, self.padding = _pair("Conv2d: stride", stride, 1), _pair("Conv2d: padding", padding, 0)
        self.dilation, self.groups = _pair("Conv2d: dilation", dilation, 1), groups
        fan_in = in_channels // groups * kh * kw
        self.weight = kaiming_uniform((out_channels, in_channels // groups, kh, kw), fan_in)
        self.bias = kaiming_uniform((out_channels,), fan_in) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


# Pooling ----------------------------------------------------------------------------------------------


def _max_pool2d(x: Array, *, window: Window) -> tuple[Array, tuple[Array, Array] | Array]:
    """Return the pair (y, kept) for images x (N, C, H, W): y (N, C, OH, OW) has the largest value of each window.

    The padding is -inf. `kept` is whatever `_max_pool2d_x` needs, for instance y. It stays in memory until the backward
    pass, so it should be no larger than y: places as int64 would be twice as large.
    """
    images = channels_last(x)
    pooled = fast.max_pool_forward(images, window, is_grad_enabled())
    if pooled is not None:
        return channels_first(pooled[0]), pooled[1]
    if pooling.side_by_side(window):
        y, sides = pooling.max_pairs_forward(images, is_grad_enabled())
        return channels_first(y), y if sides is None else sides
    y = pooling.max_forward(images, window)
    return channels_first(y), y


def _max_pool2d_x(g: Array, kept: tuple[Array, Array] | Array, x: Array, *, window: Window) -> Array:
    """Return dL/dx (N, C, H, W), given g = dL/dy (N, C, OH, OW): a window's gradient goes to its largest value.

    If several values in a window are equal to the largest, exactly one of them gets the gradient. A value that is the
    largest of several windows gets the sum of their gradients.
    """
    shape = (x.shape[0], *x.shape[2:], x.shape[1])
    if not isinstance(kept, tuple) and kept.dtype == np.uint8:
        return channels_first(fast.max_pool_backward(channels_last(g), kept, shape, window))
    if isinstance(kept, tuple):
        return channels_first(pooling.max_pairs_backward(channels_last(g), shape, *kept))
    return channels_first(pooling.max_backward(channels_last(g), channels_last(x), kept, window))


def _avg_pool2d(x: Array, *, window: Window) -> tuple[Array, None]:
    """Return the pair (y, None): y (N, C, OH, OW) has the mean of each window, with the zeros of the padding.

    The derivative needs nothing that the forward pass computes.
    """
    return channels_first(like(pooling.mean_forward(channels_last(in_float32(x)), window), x)), None


def _avg_pool2d_x(g: Array, kept: None, x: Array, *, window: Window) -> Array:
    """Return dL/dx (N, C, H, W): each of the kh kw values in a window gets an equal share of its gradient.

    A value in several windows gets the sum of its shares. The shares of the padding are dropped.
    """
    n, c, height, width = x.shape
    return channels_first(pooling.mean_backward(channels_last(in_float32(g)), (n, height, width, c), window))


max_pool2d_ = Op("max_pool2d", _max_pool2d)
avg_pool2d_ = Op("avg_pool2d", _avg_pool2d)
derivative(max_pool2d_, _max_pool2d_x)
derivative(avg_pool2d_, _avg_pool2d_x)
reads(avg_pool2d_, ())


def max_pool2d(x: Tensor, kernel_size: PairLike, stride: PairLike | None = None, padding: PairLike = 0) -> Tensor:
    """Return the largest value in each window. Outside the image, values are -inf.

    If several values in a window are equal to the largest, one of them gets the gradient.

    Shapes: (N, C, H, W) -> (N, C, OH, OW), OH = floor((H + 2 padding - kernel_size) / stride) + 1.

    Raises:
        ShapeError: the window is larger than the padded image.
        SettingError: padding is more than half the window, so that a window could contain only padding.
    """
    return apply(max_pool2d_, x, window=_pool_window("max_pool2d", x, kernel_size, stride, padding))


def avg_pool2d(x: Tensor, kernel_size: PairLike, stride: PairLike | None = None, padding: PairLike = 0) -> Tensor:
    """Return the mean of each window, including the zeros of the padding. Shapes and errors are as in `max_pool2d`."""
    return apply(avg_pool2d_, x, window=_pool_window("avg_pool2d", x, kernel_size, stride, padding))


def _pool_window(name: str, x: Tensor, kernel: PairLike, stride: PairLike | None, padding: PairLike) -> Window:
    window = slide(name, x, kernel, kernel if stride is None else stride, padding)
    if any(2 * p > k for p, k in zip(window.padding, window.kernel, strict=True)):
        raise SettingError(f"{name}: padding {padding}: expected at most half of kernel_size {kernel}")
    return window


def adaptive_avg_pool2d(x: Tensor, output_size: PairLike) -> Tensor:
    """Return the means of windows that divide the image into `output_size`.

    Window i covers floor(i H/OH) to ceil((i + 1) H/OH). The means are computed in one direction after the other. (As
    products with averaging matrices, one infinite pixel would reach every window, as infinity times 0.)
    Shapes: (N, C, H, W) -> (N, C, OH, OW).
    """
    x = as_tensor(x)
    if x.ndim != 4:
        raise ShapeError(f"adaptive_avg_pool2d: input of shape {x.shape}: expected (N, C, H, W)")
    oh, ow = _pair("adaptive_avg_pool2d: output_size", output_size, 1)
    if (oh, ow) == (1, 1):
        return x.mean((2, 3), keepdim=True)
    return _section_means(_section_means(x, 2, oh), 3, ow)


def _section_means(x: Tensor, dim: int, count: int) -> Tensor:
    """Return the means of `count` sections along a dimension of images; they overlap unless `count` divides it."""
    size = x.shape[dim]
    if size % count == 0:
        return x.reshape(*x.shape[:dim], count, size // count, *x.shape[dim + 1 :]).mean(dim + 1)
    parts = (slice(i * size // count, -(-(i + 1) * size // count)) for i in range(count))
    front = (slice(None),) * dim
    return cat([x[(*front, part)].mean(dim, keepdim=True) for part in parts], dim)


class MaxPool2d(Module):
    """`max_pool2d` as a layer."""

    def __init__(self, kernel_size: PairLike, stride: PairLike | None = None, padding: PairLike = 0) -> None:
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, x: Tensor) -> Tensor:
        return max_pool2d(x, self.kernel_size, self.stride, self.padding)


class AvgPool2d(Module):
    """`avg_pool2d` as a layer."""

    def __init__(self, kernel_size: PairLike, stride: PairLike | None = None, padding: PairLike = 0) -> None:
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, x: Tensor) -> Tensor:
        return avg_pool2d(x, self.kernel_size, self.stride, self.padding)


class AdaptiveAvgPool2d(Module):
    """`adaptive_avg_pool2d` as a layer."""

    def __init__(self, output_size: PairLike) -> None:
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        return adaptive_avg_pool2d(x, self.output_size)


join(Conv2d, MaxPool2d, slide)  # one after the other in a Sequential, with ReLU between them


# Batch normalization ----------------------------------------------------------------------------------


def _statistics(x: Array) -> Array:
    return np.stack(channel_statistics(channels_last(in_float32(x))))


def _batch_norm(x: Array, weight: Array, bias: Array, *, mean: Array, inv_std: Array) -> tuple[Array, None]:
    scale = in_float32(weight) * inv_std
    return channels_first(like(scale_channels(channels_last(in_float32(x)), scale, bias - mean * scale), x)), None


def _batch_norm_gradients(
    g: Array, kept: None, x: Array, weight: Array, bias: Array, *, mean: Array, inv_std: Array
) -> tuple[Array, Array, Array]:
    arrays = (channels_last(in_float32(g)), channels_last(in_float32(x)), in_float32(weight), mean, inv_std)
    dx, dweight, dbias = normalized_gradients(*arrays)
    return channels_first(dx), dweight, dbias


def _scale(x: Array, scale: Array, shift: Array) -> tuple[Array, None]:
    wide = channels_last(in_float32(x)), in_float32(scale), in_float32(shift)
    return channels_first(like(scale_channels(*wide), x)), None


def _scale_gradients(g: Array, kept: None, x: Array, scale: Array, shift: Array) -> tuple[Array, Array, Array]:
    dx, dscale, dshift = scale_gradients(channels_last(in_float32(g)), channels_last(in_float32(x)), in_float32(scale))
    return channels_first(dx), dscale, dshift


statistics_ = Op("channel_statistics", _statistics)  # an op, so that mixed precision can compute it in float32
batch_norm_ = Op("batch_norm", _batch_norm)
scale_ = Op("scale_channels", _scale)
joint_derivative(batch_norm_, _batch_norm_gradients)
joint_derivative(scale_, _scale_gradients)
reads(batch_norm_, (0, 1), (0,), ())
reads(scale_, (1,), (0,), ())


class BatchNorm2d(Module):
    """Batch normalization: y = (x - mean) / sqrt(var + eps) * weight + bias, for each channel.

    In training, mean and var are the batch's mean and biased variance, and the running statistics are updated:
    running = (1 - momentum) running + momentum batch, with the unbiased variance. In inference, the running statistics
    are used.

    Shapes: x (N, C, H, W); weight, bias, running_mean, running_var (C,).

    Raises:
        ShapeError: x has a different number of channels or, in training, only one value per channel.
        SettingError: x is not floating point.

    Source: Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        if num_features < 1:
            raise SettingError(f"BatchNorm2d: num_features {num_features}: expected at least 1")
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = Parameter(np.ones(num_features, np.float32))
        self.bias = Parameter(np.zeros(num_features, np.float32))
        self.running_mean = Tensor(np.zeros(num_features, np.float32))
        self.running_var = Tensor(np.ones(num_features, np.float32))
        self.num_batches_tracked = Tensor(np.array(0))

    def forward(self, x: Tensor) -> Tensor:
        x = as_tensor(x)
        if x.ndim != 4 or x.shape[1] != self.num_features:
            raise ShapeError(f"BatchNorm2d: input of shape {x.shape}: expected (N, {self.num_features}, H, W)")
        _check_floating("BatchNorm2d", x)
        if self.training:
            mean, var = self._update_statistics(x)
            return apply(batch_norm_, x, self.weight, self.bias, mean=mean, inv_std=1 / np.sqrt(var + self.eps))
        scale = self.weight * (1 / np.sqrt(in_float32(self.running_var.data) + self.eps))
        return apply(scale_, x, scale, self.bias - scale * self.running_mean.data)

    def _update_statistics(self, x: Tensor) -> Array:
        """Return the batch's statistics (mean, biased variance), and update the running statistics."""
        n = x.numel() // self.num_features
        if n < 2:
            raise ShapeError(f"BatchNorm2d: input of shape {x.shape}: training needs more than one value per channel")
        mean, var = batch = apply(statistics_, x).data
        for running, now in ((self.running_mean, mean), (self.running_var, var * (n / (n - 1)))):
            before = in_float32(running.data)
            running.data = (before + self.momentum * (now - before)).astype(running.dtype)
        self.num_batches_tracked.data = np.asarray(self.num_batches_tracked.data + 1)
        return batch


class BasicBlock(Module):
    """ResNet's basic block: y = relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x)); conv1 has the stride.

    The shortcut is the identity (an empty Sequential) if x and y have the same shape, and otherwise a 1x1 convolution.
    Source: He et al. 2016, section 3.3, https://arxiv.org/abs/1512.03385; with biases, as in MLPerf Tiny's ResNet-8.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        """Set conv1, bn1, conv2, bn2, and shortcut, in this order. conv1 and conv2 are 3x3, with padding 1."""
        self.conv1, self.bn1 = Conv2d(in_channels, out_channels, 3, stride, 1), BatchNorm2d(out_channels)
        self.conv2, self.bn2 = Conv2d(out_channels, out_channels, 3, 1, 1), BatchNorm2d(out_channels)
        same = stride == 1 and in_channels == out_channels
        self.shortcut = Sequential() if same else Conv2d(in_channels, out_channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x))."""
        y = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        return relu(y + self.shortcut(x))
