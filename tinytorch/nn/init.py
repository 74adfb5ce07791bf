"""Initialization of parameters, in place and never recorded; all functions return the tensor.

Sources: Glorot and Bengio 2010, https://proceedings.mlr.press/v9/glorot10a.html; He et al. 2015,
https://arxiv.org/abs/1502.01852; Saxe et al. 2014, https://arxiv.org/abs/1312.6120.
"""

from __future__ import annotations

import math

import numpy as np

from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.base.words import all_in_words
from tinytorch.ops.creation import Generator, numpy_generator
from tinytorch.ops.inplace import write
from tinytorch.tensor import Array, Tensor


def _set(tensor: Tensor, values: Array, name: str) -> Tensor:
    return write(tensor, np.asarray(values).astype(tensor.dtype), name)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor by which a layer's weights grow to keep the variance through a nonlinearity.

    Raises:
        SettingError: the nonlinearity is unknown.
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    gains = {
        "relu": math.sqrt(2),
        "tanh": 5 / 3,
        "selu": 0.75,
        "linear": 1.0,
        "sigmoid": 1.0,
        "conv1d": 1.0,
        "conv2d": 1.0,
    }
    if nonlinearity not in gains:
        raise SettingError(f"calculate_gain: {nonlinearity!r}: expected leaky_relu, {', '.join(gains)}")
    return gains[nonlinearity]


def _fans(tensor: Tensor) -> tuple[int, int]:
    """Return how many inputs each output reads, and how many outputs each input reaches."""
    if tensor.ndim < 2:
        raise ShapeError(f"init: tensor of shape {tensor.shape}: expected at least two dimensions")
    window = math.prod(tensor.shape[2:])
    return tensor.shape[1] * window, tensor.shape[0] * window


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Draw values uniformly from [a, b)."""
    return _set(tensor, a + (b - a) * numpy_generator(generator).random(tensor.shape, np.float32), "uniform_")


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Draw values from a normal distribution."""
    return _set(tensor, mean + std * numpy_generator(generator).standard_normal(tensor.shape, np.float32), "normal_")


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Draw values from a normal distribution, again until they are from a to b."""
    rng = numpy_generator(generator)
    values = rng.normal(mean, std, tensor.shape)
    for _ in range(1000):
        outside = (values < a) | (values > b)
        if not outside.any():
            break
        values[outside] = rng.normal(mean, std, int(outside.sum()))
    return _set(tensor, np.clip(values, a, b), "trunc_normal_")


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Set all values to one number."""
    return _set(tensor, np.full(tensor.shape, val), "constant_")


def zeros_(tensor: Tensor) -> Tensor:
    """Set all values to 0."""
    return constant_(tensor, 0)


def ones_(tensor: Tensor) -> Tensor:
    """Set all values to 1."""
    return constant_(tensor, 1)


def eye_(tensor: Tensor) -> Tensor:
    """Set a matrix to the identity."""
    if tensor.ndim != 2:
        raise ShapeError(f"eye_: tensor of shape {tensor.shape}: expected a matrix")
    return _set(tensor, np.eye(tensor.shape[0], tensor.shape[1]), "eye_")


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Draw uniformly from [-b, b) with b = gain sqrt(6 / (fan_in + fan_out))."""
    bound = gain * math.sqrt(6 / sum(_fans(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Draw from a normal distribution with standard deviation gain sqrt(2 / (fan_in + fan_out))."""
    return normal_(tensor, 0.0, gain * math.sqrt(2 / sum(_fans(tensor))), generator)


def _kaiming(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise SettingError(f"kaiming: mode {mode!r}: expected 'fan_in' or 'fan_out'")
    return calculate_gain(nonlinearity, a) / math.sqrt(_fans(tensor)[mode == "fan_out"])


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Draw uniformly from [-b, b) with b = gain sqrt(3 / fan)."""
    bound = math.sqrt(3) * _kaiming(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Draw from a normal distribution with standard deviation gain / sqrt(fan)."""
    return normal_(tensor, 0.0, _kaiming(tensor, a, mode, nonlinearity), generator)


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Set a matrix, or a kernel flattened to one, to a random matrix with orthogonal rows or columns."""
    if tensor.ndim < 2:
        raise ShapeError(f"orthogonal_: tensor of shape {tensor.shape}: expected at least two dimensions")
    rows = tensor.shape[0]
    columns = tensor.numel() // rows
    flat = numpy_generator(generator).standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(flat)
    q *= np.sign(np.diag(r))
    return _set(tensor, gain * (q if rows >= columns else q.T).reshape(tensor.shape), "orthogonal_")


all_in_words(globals(), "tinytorch.nn.init")
