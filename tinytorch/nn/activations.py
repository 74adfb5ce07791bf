"""Activation functions beyond the course, and every activation as a Module."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinytorch import activations as A
from tinytorch.autograd import derivative
from tinytorch.base.errors import SettingError
from tinytorch.base.random import default_generator
from tinytorch.layers import Module, Parameter
from tinytorch.ops import elementwise as E
from tinytorch.ops.error_function import erfc_array
from tinytorch.tensor import Array, Op, Tensor, apply, where

# Functions ----------------------------------------------------------------------------------------------


def _normal_cdf(x: Array) -> Array:
    """Return the share of a standard normal distribution that is below x."""
    return 0.5 * erfc_array(x * x.dtype.type(-math.sqrt(0.5)))


def _exact_gelu(x: Array) -> tuple[Array, Array]:
    share = _normal_cdf(x)
    return x * share, share


def _exact_gelu_x(g: Array, share: Array, x: Array) -> Array:
    return g * (share + x * np.exp(-0.5 * x * x) * x.dtype.type(1 / math.sqrt(2 * math.pi)))


def _softplus(x: Array, beta: float, threshold: float) -> Array:
    z = beta * x
    return np.where(z > threshold, x, (np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))) / beta).astype(
        x.dtype, copy=False
    )


def _softplus_x(g: Array, y: Array, x: Array, beta: float, threshold: float) -> Array:
    return g * np.where(beta * x > threshold, 1, A.sigmoid_.forward(beta * x))


def _silu(x: Array) -> tuple[Array, Array]:
    s = A.sigmoid_.forward(x)
    return x * s, s


leaky_relu_ = Op("leaky_relu", lambda x, slope: np.where(x > 0, x, x * slope))
elu_ = Op("elu", lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))).astype(x.dtype, copy=False))
exact_gelu_ = Op("gelu (exact)", _exact_gelu)
softplus_ = Op("softplus", _softplus)
silu_ = Op("silu", _silu)
derivative(leaky_relu_, lambda g, y, x, slope: np.where(x > 0, g, g * slope))
derivative(elu_, lambda g, y, x, alpha: g * np.where(x > 0, 1, alpha * np.exp(np.minimum(x, 0))))
derivative(exact_gelu_, _exact_gelu_x)
derivative(softplus_, _softplus_x)
derivative(silu_, lambda g, s, x: g * (s * (1 + x * (1 - s))))


def relu(x: Tensor, inplace: bool = False) -> Tensor:
    """Return max(x, 0); `inplace` has no effect."""
    return A.relu(x)


def leaky_relu(x: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """Return x where it is positive, and negative_slope x elsewhere."""
    return apply(leaky_relu_, x, slope=negative_slope)


def elu(x: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return x where it is positive, and alpha (e^x - 1) elsewhere."""
    return apply(elu_, x, alpha=alpha)


def selu(x: Tensor, inplace: bool = False) -> Tensor:
    """Return the self-normalizing scaled ELU (Klambauer et al. 2017, https://arxiv.org/abs/1706.02515)."""
    return elu(x, 1.6732632423543772) * 1.0507009873554805


def celu(x: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return max(0, x) + min(0, alpha (e^(x / alpha) - 1))."""
    return elu(x / alpha) * alpha


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """Return x Phi(x) exactly, as PyTorch's default; with approximate="tanh" the course's `gelu`, as GPT-2."""
    if approximate not in ("none", "tanh"):
        raise SettingError(f"gelu: approximate {approximate!r}: expected 'none' or 'tanh'")
    return A.gelu(x) if approximate == "tanh" else apply(exact_gelu_, x)


def silu(x: Tensor, inplace: bool = False) -> Tensor:
    """Return x sigmoid(x), also called swish."""
    return apply(silu_, x)


def softplus(x: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """Return log(1 + e^(beta x)) / beta, and x where beta x is above the threshold."""
    return apply(softplus_, x, beta=beta, threshold=threshold)


def mish(x: Tensor, inplace: bool = False) -> Tensor:
    """Return x tanh(softplus(x))."""
    return x * A.tanh(softplus(x))


def hardtanh(x: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """Return x, but at least min_val and at most max_val."""
    return E.clamp(x, min_val, max_val)


def relu6(x: Tensor, inplace: bool = False) -> Tensor:
    """Return x, but at least 0 and at most 6."""
    return E.clamp(x, 0.0, 6.0)


def hardsigmoid(x: Tensor, inplace: bool = False) -> Tensor:
    """Return relu6(x + 3) / 6."""
    return relu6(x + 3) / 6


def hardswish(x: Tensor, inplace: bool = False) -> Tensor:
    """Return x relu6(x + 3) / 6."""
    return x * hardsigmoid(x)


def softsign(x: Tensor) -> Tensor:
    """Return x / (1 + |x|)."""
    return x / (1 + x.abs())


def tanhshrink(x: Tensor) -> Tensor:
    """Return x - tanh(x)."""
    return x - A.tanh(x)


def logsigmoid(x: Tensor) -> Tensor:
    """Return log sigmoid(x), without overflow."""
    return -softplus(-x, threshold=math.inf)


def softmin(x: Tensor, dim: int = -1) -> Tensor:
    """Return softmax(-x)."""
    return A.softmax(-x, dim)


def prelu(x: Tensor, weight: Tensor) -> Tensor:
    """Return x where it is positive, and weight x elsewhere: one weight, or one per channel (dimension 1)."""
    w = weight if weight.numel() == 1 else weight.reshape((1, -1) + (1,) * (x.ndim - 2))
    return where(x.data > 0, x, w * x.clamp(max=0))  # clamped, because infinity times a gradient of 0 is NaN


def glu(x: Tensor, dim: int = -1) -> Tensor:
    """Return a sigmoid(b) for the two halves a and b of x along `dim`."""
    a, b = x.chunk(2, dim)
    return a * A.sigmoid(b)


def gumbel_softmax(x: Tensor, tau: float = 1.0, hard: bool = False, dim: int = -1) -> Tensor:
    """Return softmax((x + Gumbel noise) / tau); `hard` returns one-hot values with the gradient of the soft ones."""
    noise = default_generator().gumbel(size=x.shape).astype(x.dtype)
    soft = A.softmax((x + noise) / tau, dim)
    if not hard:
        return soft
    one_hot = (soft.data == soft.data.max(axis=dim, keepdims=True)).astype(x.dtype)
    return soft + (one_hot - soft.data)


# Modules ------------------------------------------------------------------------------------------------


class ReLU(Module, A.ReLU):
    """`relu` as a layer; `inplace` has no effect."""

    saved_as = A.ReLU

    def __init__(self, inplace: bool = False) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        return A.relu(x)


class Sigmoid(Module, A.Sigmoid):
    """`sigmoid` as a layer."""

    saved_as = A.Sigmoid

    def forward(self, x: Tensor) -> Tensor:
        return A.sigmoid(x)


class Tanh(Module, A.Tanh):
    """`tanh` as a layer."""

    saved_as = A.Tanh

    def forward(self, x: Tensor) -> Tensor:
        return A.tanh(x)


class GELU(Module):
    """`gelu` as a layer: exact by default, as PyTorch's; the course's GELU is approximate="tanh"."""

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        return gelu(x, self.approximate)


class Softmax(Module, A.Softmax):
    """`softmax` as a layer."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return A.softmax(x, self.dim)


class LogSoftmax(Module, A.LogSoftmax):
    """`log_softmax` as a layer."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return A.log_softmax(x, self.dim)


class PReLU(Module):
    """`prelu` as a layer, with trained slopes."""

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        self.weight = Parameter(np.full(num_parameters, init, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        return prelu(x, self.weight)


class _Function(Module):
    """A function of x and some settings, which are attributes in the order of its arguments."""

    function: Callable[..., Tensor]
    settings: dict[str, Any] = {}  # noqa: RUF012 (each class has its own, and none is changed)

    def __init__(self, *given: Any, **named: Any) -> None:
        names = list(self.settings)
        named.pop("inplace", None)
        if len(given) > len(names) + 1 or named.keys() - self.settings.keys():
            raise SettingError(
                f"{type(self).__name__}: settings {given} {named}: expected {', '.join(names) or 'none'}"
            )
        for name, value in (self.settings | dict(zip(names, given, strict=False)) | named).items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        return type(self).function(x, *(getattr(self, name) for name in self.settings))


def _layer(name: str, function: Callable[..., Tensor], **settings: Any) -> Any:
    text = f"`{function.__name__}` as a layer."
    content = {"function": staticmethod(function), "settings": settings, "__doc__": text, "__module__": __name__}
    kind: Any = type(Module)
    return kind(name, (_Function,), content)


LeakyReLU = _layer("LeakyReLU", leaky_relu, negative_slope=0.01)
ELU = _layer("ELU", elu, alpha=1.0)
SELU = _layer("SELU", selu)
CELU = _layer("CELU", celu, alpha=1.0)
SiLU = _layer("SiLU", silu)
Mish = _layer("Mish", mish)
Softplus = _layer("Softplus", softplus, beta=1.0, threshold=20.0)
Softsign = _layer("Softsign", softsign)
Softmin = _layer("Softmin", softmin, dim=-1)
Tanhshrink = _layer("Tanhshrink", tanhshrink)
LogSigmoid = _layer("LogSigmoid", logsigmoid)
Hardtanh = _layer("Hardtanh", hardtanh, min_val=-1.0, max_val=1.0)
Hardsigmoid = _layer("Hardsigmoid", hardsigmoid)
Hardswish = _layer("Hardswish", hardswish)
ReLU6 = _layer("ReLU6", relu6)
GLU = _layer("GLU", glu, dim=-1)
