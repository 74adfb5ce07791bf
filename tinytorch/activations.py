"""Module 03: activation functions. Without them, a network of linear layers is equivalent to a single matrix.

Each activation has an op with its forward function, a function on tensors, and a callable class for `Sequential`.
The derivatives are in module 06's table.

The forward functions work on arrays of any shape, also () and empty ones, in the array's own floating-point dtype. They
return a new array and never write into x. Where nothing else is said, the derivative needs only the result itself.
"""

from __future__ import annotations

import math

import numpy as np

from tinytorch.base.promotion import in_floating_point, widening
from tinytorch.tensor import Array, Op, Tensor, apply


def _relu(x: Array) -> Array:
    """Return max(x, 0) for each element."""
    return np.maximum(x, 0)


def _sigmoid(x: Array) -> Array:
    """Return 1 / (1 + e^-x) for each element.

    No exponential may overflow, however large |x| is: e^x / (1 + e^x) is the same function, and e^-|x| is at most 1.
    """
    # exp of a number <= 0 never overflows: 1/(1+e^-x) for x >= 0, e^x/(1+e^x) for x < 0
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


GELU_SCALE = math.sqrt(2 / math.pi)
GELU_CUBIC = 0.044715


def _gelu(x: Array) -> tuple[Array, Array]:
    """Return the pair (y, t) for each element: y = x/2 (1 + t) with t = tanh(GELU_SCALE (x + GELU_CUBIC x^3)).

    t is kept, because the derivative needs it, and tanh is the slow part. Both have the shape and dtype of x.
    """
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
    """Return e^x_i / sum_j e^x_j along dimension `dim`, in the shape of x; each sum along `dim` is 1.

    No exponential may overflow: adding the same number to all x_j along `dim` does not change the result.
    """
    # subtracting the maximum first does not change the result and keeps exp from overflowing
    e = np.exp(x - x.max(axis=dim, keepdims=True))
    e /= e.sum(axis=dim, keepdims=True)
    return e


def _log_softmax(x: Array, dim: int) -> Array:
    """Return x_i - log sum_j e^x_j along dimension `dim`, in the shape of x.

    No exponential may overflow, and no logarithm may be that of 0, so the result is finite even where softmax is 0.
    """
    shifted = x - x.max(axis=dim, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=dim, keepdims=True))


# Integers become float32. Sums of 16-bit numbers are computed in float32, and rounded at the end.
relu_ = Op("relu", _relu)
sigmoid_ = Op("sigmoid", lambda x: _sigmoid(in_floating_point(x)))
tanh_ = Op("tanh", lambda x: np.tanh(in_floating_point(x)))
gelu_ = Op("gelu", widening(_gelu))
softmax_ = Op("softmax", widening(_softmax))
log_softmax_ = Op("log_softmax", widening(_log_softmax))


def relu(x: Tensor) -> Tensor:
    """Apply the rectified linear unit to each element: max(x, 0)."""
    return apply(relu_, x)


def sigmoid(x: Tensor) -> Tensor:
    """Apply the sigmoid function to each element: 1 / (1 + e^-x)."""
    return apply(sigmoid_, x)


def tanh(x: Tensor) -> Tensor:
    """Apply the hyperbolic tangent to each element: (e^x - e^-x) / (e^x + e^-x)."""
    return apply(tanh_, x)


def gelu(x: Tensor) -> Tensor:
    """Apply the Gaussian error linear unit, x Phi(x), to each element, using the tanh approximation.

    gelu(x) = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).

    Source: Hendrycks and Gimpel 2016, https://arxiv.org/abs/1606.08415. In PyTorch: `gelu(approximate="tanh")`.
    """
    return apply(gelu_, x)


def softmax(x: Tensor, dim: int = -1) -> Tensor:
    """Apply softmax along `dim`: e^x_i / sum_j e^x_j."""
    return apply(softmax_, x, dim=dim)


def log_softmax(x: Tensor, dim: int = -1) -> Tensor:
    """Apply log-softmax along `dim`: x_i - log sum_j e^x_j, more accurate than log(softmax(x))."""
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
