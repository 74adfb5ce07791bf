"""Normalization beyond the course: over several dimensions, groups of channels, and sequences."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytorch import spatial, transformers
from tinytorch.base.course import Longer
from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.layers import Module, Parameter
from tinytorch.tensor import Tensor, apply, is_floating


def _ones(*shape: int) -> Parameter:
    return Parameter(np.ones(shape, np.float32))


def _zeros(*shape: int) -> Parameter:
    return Parameter(np.zeros(shape, np.float32))


# Functions ----------------------------------------------------------------------------------------------


def layer_norm(
    x: Tensor, normalized_shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Normalize over the last dimensions, which have `normalized_shape`; then scale and shift, if given.

    Raises:
        ShapeError: x does not end in these dimensions.
    """
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or x.shape[x.ndim - len(shape) :] != shape:
        raise ShapeError(f"layer_norm: input of shape {x.shape}: expected (..., {', '.join(map(str, shape))})")
    size = math.prod(shape)
    rows = x.reshape((*x.shape[: x.ndim - len(shape)], size))
    w = Tensor(np.ones(size, x.dtype)) if weight is None else weight.reshape(-1)
    inputs = (rows, w) if bias is None else (rows, w, bias.reshape(-1))
    return apply(transformers.layer_norm, *inputs, eps=eps).reshape(x.shape)


def group_norm(
    x: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Normalize x (N, C, ...) over each group of C / num_groups channels and all positions.

    Raises:
        ShapeError: the number of channels is not a multiple of the groups.
    """
    if x.ndim < 2 or x.shape[1] % num_groups:
        raise ShapeError(
            f"group_norm: input of shape {x.shape}: expected (N, C, ...), with C a multiple of {num_groups}"
        )
    grouped = x.reshape(x.shape[0], num_groups, -1)
    y = layer_norm(grouped, grouped.shape[-1], eps=eps).reshape(x.shape)
    return _channels(y, weight, bias)


def _channels(y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Scale and shift each channel (dimension 1), if given."""
    shape = (1, -1) + (1,) * (y.ndim - 2)
    y = y if weight is None else y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)


def instance_norm(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize each channel of each sample over its positions; running statistics are not used."""
    return group_norm(x, x.shape[1], weight, bias, eps)


def rms_norm(x: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """Divide by the root of the mean square over the last dimensions, plus eps; then scale, if given."""
    count = 1 if isinstance(normalized_shape, int) else len(tuple(normalized_shape))
    small = float(np.finfo(x.dtype).eps) if eps is None else eps
    y = x / ((x * x).mean(tuple(range(x.ndim - count, x.ndim)), keepdim=True) + small).sqrt()
    return y if weight is None else y * weight


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize each channel of x (N, C, ...) over samples and positions; in training, update the running statistics.

    Raises:
        ShapeError: x has one value per channel in training.
    """
    if x.ndim < 2:
        raise ShapeError(f"batch_norm: input of shape {x.shape}: expected (N, C, ...)")
    if not is_floating(x.dtype):
        raise SettingError(f"batch_norm: input of dtype {x.dtype}: expected floating point; convert it first")
    shape = (1, -1) + (1,) * (x.ndim - 2)
    if not training and running_mean is not None and running_var is not None:
        scale = 1 / np.sqrt(running_var.data + eps)
        return _channels((x - running_mean.data.reshape(shape)) * scale.reshape(shape), weight, bias)
    n = x.numel() // max(1, x.shape[1])
    if n < 2:
        raise ShapeError(f"batch_norm: input of shape {x.shape}: training needs more than one value per channel")
    dims = (0, *range(2, x.ndim))
    centered = x - x.mean(dims, keepdim=True)
    variance = (centered * centered).mean(dims, keepdim=True)
    if training and running_mean is not None and running_var is not None:
        now = x.data.mean(axis=dims), variance.data.reshape(-1) * (n / (n - 1))
        for running, value in zip((running_mean, running_var), now, strict=True):
            running.data = (running.data + momentum * (value - running.data)).astype(running.dtype)
    return _channels(centered / (variance + eps).sqrt(), weight, bias)


# Modules ------------------------------------------------------------------------------------------------


class LayerNorm(transformers.LayerNorm, metaclass=Longer):
    """Layer normalization over the last dimension, or several; weight and bias have their shape.

    Source: Ba et al. 2016, https://arxiv.org/abs/1607.06450.
    """

    course = transformers.LayerNorm

    @staticmethod
    def plain(normalized_shape: Any, eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True) -> Any:
        """Return the arguments for the course's layer, or None if it lacks a setting."""
        sizes = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        return ((sizes[0], eps, bias), {}) if len(sizes) == 1 and elementwise_affine else None

    def __init__(
        self, normalized_shape: Any, eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True
    ) -> None:
        shape = (normalized_shape,) if isinstance(normalized_shape, int | np.integer) else tuple(normalized_shape)
        if not shape or min(shape) < 1:
            raise SettingError(f"LayerNorm: size {normalized_shape}: expected sizes of at least 1")
        self.normalized_shape, self.eps = shape, eps
        self.weight = _ones(*shape) if elementwise_affine else None  # type: ignore[assignment]
        self.bias = _zeros(*shape) if elementwise_affine and bias else None

    def forward(self, x: Tensor) -> Tensor:
        return layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)


class RMSNorm(Module, metaclass=Longer):
    """`rms_norm` as a layer. Source: Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467."""

    def __init__(self, normalized_shape: Any, eps: float | None = None, elementwise_affine: bool = True) -> None:
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape, self.eps = shape, eps
        self.weight = _ones(*shape) if elementwise_affine else None

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.normalized_shape, self.weight, self.eps)


class GroupNorm(Module, metaclass=Longer):
    """`group_norm` as a layer. Source: Wu and He 2018, https://arxiv.org/abs/1803.08494."""

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True) -> None:
        if num_groups < 1 or num_channels % num_groups:
            raise SettingError(f"GroupNorm: {num_channels} channels in {num_groups} groups: expected a multiple")
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.weight = _ones(num_channels) if affine else None
        self.bias = _zeros(num_channels) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        return group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


class _BatchNorm(Module, metaclass=Longer):
    """Batch normalization of inputs with certain numbers of dimensions."""

    dims: tuple[int, ...] = ()

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        if num_features < 1:
            raise SettingError(f"{type(self).__name__}: num_features {num_features}: expected at least 1")
        self.num_features, self.eps = num_features, eps
        self.momentum: Any = momentum
        self.weight: Any = _ones(num_features) if affine else None
        self.bias: Any = _zeros(num_features) if affine else None
        self.running_mean: Any = Tensor(np.zeros(num_features, np.float32)) if track_running_stats else None
        self.running_var: Any = Tensor(np.ones(num_features, np.float32)) if track_running_stats else None
        self.num_batches_tracked: Any = Tensor(np.array(0)) if track_running_stats else None

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim not in self.dims or x.shape[1] != self.num_features:
            raise ShapeError(f"{type(self).__name__}: input of shape {x.shape}: expected {self.num_features} channels "
                             f"in dimension 1 of {' or '.join(map(str, self.dims))}")  # fmt: skip
        momentum = self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.data = np.asarray(self.num_batches_tracked.data + 1)
            if momentum is None:  # a plain average of all batches
                momentum = 1 / float(self.num_batches_tracked.data)
        training = self.training or self.running_mean is None
        return batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, training, momentum or 0.0, self.eps
        )


class BatchNorm1d(_BatchNorm):
    """Batch normalization of (N, C) or (N, C, L). Source: Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167."""

    dims = (2, 3)


class BatchNorm2d(_BatchNorm, spatial.BatchNorm2d, metaclass=Longer):
    """Batch normalization of (N, C, H, W): the course's layer, unless it lacks a setting."""

    dims = (4,)
    course = spatial.BatchNorm2d

    @staticmethod
    def plain(num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
              track_running_stats: bool = True) -> Any:  # fmt: skip
        """Return the arguments for the course's layer, or None if it lacks a setting."""
        usual = affine and track_running_stats and momentum is not None
        return ((num_features, eps, momentum), {}) if usual else None


class InstanceNorm2d(Module, metaclass=Longer):
    """`instance_norm` as a layer, for (N, C, H, W); without weights by default."""

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = False) -> None:
        self.num_features, self.eps = num_features, eps
        self.weight = _ones(num_features) if affine else None
        self.bias = _zeros(num_features) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        return group_norm(x, self.num_features, self.weight, self.bias, self.eps)


class InstanceNorm1d(InstanceNorm2d):
    """`instance_norm` as a layer, for (N, C, L)."""
