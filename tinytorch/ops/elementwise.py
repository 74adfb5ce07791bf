"""Elementwise functions of one, two, or three tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinytorch import activations as A
from tinytorch import tensor as T
from tinytorch.arrays.masks import share_of_minimum
from tinytorch.autograd import DERIVATIVES, derivative
from tinytorch.base.errors import SettingError
from tinytorch.base.promotion import promoting
from tinytorch.ops import logic
from tinytorch.ops.common import as_tensor, fit_together, floating, raw
from tinytorch.ops.error_function import erf_array, erfc_array
from tinytorch.tensor import Array, Op, Tensor, apply, is_floating

Function = Callable[..., Tensor]

# Functions of one tensor: name, forward, derivative ----------------------------------------------------


def _zero(g: Array, y: Array, x: Array) -> Array:
    return np.zeros_like(g)


def _bell(x: Array) -> Array:
    return 2 / math.sqrt(math.pi) * np.exp(-x * x)


# fmt: off
_UNARY: dict[str, tuple[Callable[[Array], Array], Callable[[Array, Array, Array], Array]]] = {
    "sin":        (np.sin,        lambda g, y, x: g * np.cos(x)),
    "cos":        (np.cos,        lambda g, y, x: -g * np.sin(x)),
    "tan":        (np.tan,        lambda g, y, x: g * (1 + y * y)),
    "asin":       (np.arcsin,     lambda g, y, x: g / np.sqrt(1 - x * x)),
    "acos":       (np.arccos,     lambda g, y, x: -g / np.sqrt(1 - x * x)),
    "atan":       (np.arctan,     lambda g, y, x: g / (1 + x * x)),
    "sinh":       (np.sinh,       lambda g, y, x: g * np.cosh(x)),
    "cosh":       (np.cosh,       lambda g, y, x: g * np.sinh(x)),
    "exp2":       (np.exp2,       lambda g, y, x: g * y * math.log(2)),
    "expm1":      (np.expm1,      lambda g, y, x: g * (y + 1)),
    "log2":       (np.log2,       lambda g, y, x: g / (x * math.log(2))),
    "log10":      (np.log10,      lambda g, y, x: g / (x * math.log(10))),
    "log1p":      (np.log1p,      lambda g, y, x: g / (x + 1)),
    "rsqrt":      (lambda x: 1 / np.sqrt(x), lambda g, y, x: -0.5 * g * y / x),
    "reciprocal": (lambda x: 1 / x, lambda g, y, x: -g * y * y),
    "erf":        (erf_array,          lambda g, y, x: g * _bell(x)),
    "erfc":       (erfc_array,    lambda g, y, x: -g * _bell(x)),
}
# fmt: on
_STEPS: dict[str, Callable[[Array], Array]] = {
    "sign": np.sign,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.round,
    "trunc": np.trunc,
}
_OPS: dict[str, Op] = {name: Op(name, forward) for name, (forward, _) in _UNARY.items()}
_OPS |= {name: Op(name, forward) for name, forward in _STEPS.items()}
DERIVATIVES.update({_OPS[name]: (rule,) for name, (_, rule) in _UNARY.items()})
DERIVATIVES.update({_OPS[name]: (_zero,) for name in _STEPS})


def _float_function(name: str) -> Function:
    op = _OPS[name]

    def function(x: Any) -> Tensor:
        return apply(op, floating(as_tensor(x)))

    function.__name__, function.__doc__ = name, f"Apply {name} to each element; integers become float32."
    return function


def _step_function(name: str) -> Function:
    op = _OPS[name]

    def function(x: Any) -> Tensor:
        x = as_tensor(x)
        return apply(op, x) if is_floating(x.dtype) or name == "sign" else x

    function.__name__, function.__doc__ = name, f"Apply {name} to each element; its gradient is zero."
    return function


sin, cos, tan, asin, acos, atan = map(_float_function, ("sin", "cos", "tan", "asin", "acos", "atan"))
sinh, cosh, exp2, expm1, log2, log10 = map(_float_function, ("sinh", "cosh", "exp2", "expm1", "log2", "log10"))
log1p, rsqrt, reciprocal, erf, erfc = map(_float_function, ("log1p", "rsqrt", "reciprocal", "erf", "erfc"))
sign, floor, ceil, trunc = map(_step_function, ("sign", "floor", "ceil", "trunc"))


def round(x: Any, decimals: int = 0) -> Tensor:
    """Round to the nearest number with so many decimals, ties to even."""
    x = as_tensor(x)
    if decimals and is_floating(x.dtype):
        return apply(_OPS["round"], x * 10.0**decimals) / 10.0**decimals
    return apply(_OPS["round"], x) if is_floating(x.dtype) else x


def frac(x: Any) -> Tensor:
    """Return x - trunc(x)."""
    return as_tensor(x) - trunc(x)


def square(x: Any) -> Tensor:
    """Return x^2."""
    return as_tensor(x) ** 2


def exp(x: Any) -> Tensor:
    """Apply e^x to each element; integers become float32."""
    return floating(as_tensor(x)).exp()


def log(x: Any) -> Tensor:
    """Apply the natural logarithm to each element; integers become float32."""
    return floating(as_tensor(x)).log()


def sqrt(x: Any) -> Tensor:
    """Apply the square root to each element; integers become float32."""
    return floating(as_tensor(x)).sqrt()


def abs(x: Any) -> Tensor:
    """Return the absolute value of each element."""
    return as_tensor(x).abs()


def neg(x: Any) -> Tensor:
    """Return -x."""
    return -as_tensor(x)


def relu(x: Tensor) -> Tensor:
    """Return max(x, 0)."""
    return A.relu(x)


def sigmoid(x: Tensor) -> Tensor:
    """Return 1 / (1 + e^-x)."""
    return A.sigmoid(x)


def tanh(x: Tensor) -> Tensor:
    """Return the hyperbolic tangent."""
    return A.tanh(x)


def softmax(x: Tensor, dim: int = -1, dtype: Any = None) -> Tensor:
    """Return e^x_i / sum_j e^x_j along `dim`."""
    return A.softmax(x if dtype is None else x.to(dtype), dim)


def log_softmax(x: Tensor, dim: int = -1, dtype: Any = None) -> Tensor:
    """Return x_i - log sum_j e^x_j along `dim`."""
    return A.log_softmax(x if dtype is None else x.to(dtype), dim)


# Functions of two tensors -------------------------------------------------------------------------------


minimum_ = Op("minimum", promoting(np.minimum))
atan2_ = Op("atan2", promoting(np.arctan2, floating=True))
remainder_ = Op("remainder", promoting(np.remainder))
fmod_ = Op("fmod", promoting(np.fmod))
floor_divide_ = promoting(np.floor_divide)
exponential_ = Op("pow", promoting(np.power))  # number or tensor to the power of a tensor
derivative(
    minimum_,
    lambda g, y, a, b: share_of_minimum(g, a, b),
    lambda g, y, a, b: share_of_minimum(g, b, a),
)
derivative(
    atan2_,
    lambda g, y, a, b: g * b / (np.square(a) + np.square(b)),
    lambda g, y, a, b: -g * a / (np.square(a) + np.square(b)),
)
derivative(remainder_, lambda g, y, a, b: g, lambda g, y, a, b: -g * np.floor_divide(a, b))
derivative(fmod_, lambda g, y, a, b: g, lambda g, y, a, b: -g * np.trunc(np.divide(a, b)))


def _power_base(g: Array, y: Array, a: Array, b: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.equal(b, 0), 0, g * b * np.power(a, np.subtract(b, 1)))


def _power_exponent(g: Array, y: Array, a: Array, b: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):  # 0^b is constant for b > 0
        return np.where(np.equal(a, 0) & np.greater_equal(b, 0), 0, g * y * np.log(a))


derivative(exponential_, _power_base, _power_exponent)


def pow(x: Any, exponent: Any) -> Tensor:
    """Return x^exponent; either may be a number or a tensor."""
    if not isinstance(exponent, Tensor):
        return as_tensor(x) ** exponent
    whole = not is_floating(exponent.dtype) and not (
        isinstance(x, float) or (isinstance(x, Tensor) and is_floating(x.dtype))
    )
    if whole and exponent.numel() and exponent.data.min() < 0:
        raise SettingError("pow: integers to a negative power are not integers; convert the base to float first")
    return apply(exponential_, x, exponent)


def minimum(a: Any, b: Any) -> Tensor:
    """Return the elementwise minimum; where the two are equal, each gets half the gradient."""
    return apply(minimum_, a, b)


def maximum(a: Any, b: Any) -> Tensor:
    """Return the elementwise maximum; where the two are equal, each gets half the gradient."""
    return as_tensor(a).maximum(b)


def atan2(a: Any, b: Any) -> Tensor:
    """Return the angle of the point (b, a), from -pi to pi."""
    return apply(atan2_, as_tensor(a), b)


def logaddexp(a: Any, b: Any) -> Tensor:
    """Return log(e^a + e^b), without overflow."""
    a, b = as_tensor(a), as_tensor(b)
    fit_together("logaddexp", a, b)
    largest = np.maximum(a.data, b.data)
    largest = np.where(np.isfinite(largest), largest, 0)  # infinity minus infinity is NaN
    return ((a - largest).exp() + (b - largest).exp()).log() + largest


def _checked_divisor(name: str, a: Any, b: Any) -> None:
    if not any(is_floating(as_tensor(x).dtype) for x in (a, b)) and not np.all(raw(b)):
        raise SettingError(f"{name}: integer division by zero")


def remainder(a: Any, b: Any) -> Tensor:
    """Return a - b floor(a / b), which has the sign of b, as Python's `%`."""
    _checked_divisor("remainder", a, b)
    return apply(remainder_, a, b)


def fmod(a: Any, b: Any) -> Tensor:
    """Return a - b trunc(a / b), which has the sign of a, as C's fmod."""
    _checked_divisor("fmod", a, b)
    return apply(fmod_, a, b)


def floor_divide(a: Any, b: Any) -> Tensor:
    """Return floor(a / b), as Python's `//`; it has no gradient."""
    fit_together("floor_divide", as_tensor(a), as_tensor(b))
    left, right = (x if isinstance(x, bool | int | float) else as_tensor(x).data for x in (a, b))
    _checked_divisor("floor_divide", a, b)
    with np.errstate(divide="ignore", invalid="ignore"):
        return Tensor(np.asarray(floor_divide_(left, right)))


def add(a: Any, b: Any, *, alpha: float = 1) -> Tensor:
    """Return a + alpha b."""
    return as_tensor(a) + (b if alpha == 1 else as_tensor(b) * alpha)


def sub(a: Any, b: Any, *, alpha: float = 1) -> Tensor:
    """Return a - alpha b."""
    return as_tensor(a) - (b if alpha == 1 else as_tensor(b) * alpha)


def mul(a: Any, b: Any) -> Tensor:
    """Return a b."""
    return as_tensor(a) * b


def div(a: Any, b: Any, *, rounding_mode: str | None = None) -> Tensor:
    """Return a / b, with rounding_mode "floor" or "trunc" rounded to a whole number."""
    if rounding_mode is None:
        return as_tensor(a) / b
    if rounding_mode not in ("floor", "trunc"):
        raise SettingError(f"div: rounding_mode {rounding_mode!r}: expected None, 'floor', or 'trunc'")
    if rounding_mode == "floor":
        return floor_divide(a, b)
    fit_together("div", as_tensor(a), as_tensor(b))
    quotient = np.asarray(np.trunc(np.divide(raw(a), raw(b))))
    whole = not any(is_floating(as_tensor(x).dtype) for x in (a, b))
    return Tensor(quotient.astype(np.int64) if whole else quotient.astype(as_tensor(a).dtype))


def lerp(start: Tensor, end: Any, weight: Any) -> Tensor:
    """Return start + weight (end - start)."""
    return start + weight * (as_tensor(end) - start)


def addcmul(x: Tensor, a: Any, b: Any, *, value: float = 1) -> Tensor:
    """Return x + value a b."""
    return x + value * (as_tensor(a) * b)


def addcdiv(x: Tensor, a: Any, b: Any, *, value: float = 1) -> Tensor:
    """Return x + value a / b."""
    return x + value * (as_tensor(a) / b)


# Limits -------------------------------------------------------------------------------------------------


def _clamp(x: Array, low: Any, high: Any) -> Array:
    if low is not None:
        x = np.maximum(x, low)
    return np.asarray(x if high is None else np.minimum(x, high))


def _clamp_x(g: Array, y: Array, x: Array, low: Any, high: Any) -> Array:
    inside = np.ones(x.shape, bool)
    if low is not None:
        inside &= x >= low
    if high is not None:
        inside &= x <= high
    return np.where(inside, g, 0)


clamp_ = Op("clamp", _clamp)
derivative(clamp_, _clamp_x)


def clamp(x: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """Return the elements, but none below min or above max; the gradient is 0 where a limit replaces an element.

    Raises:
        SettingError: neither limit is given.
    """
    if min is None and max is None:
        raise SettingError("clamp: expected min, max, or both")
    if any(isinstance(limit, Tensor) and limit.requires_grad for limit in (min, max)):
        x = x if min is None else T.where(x.data >= raw(min), x, min)
        return x if max is None else T.where(x.data <= raw(max), x, max)
    x = as_tensor(x)
    for limit in (min, max):
        if not isinstance(limit, float | int | None):
            fit_together("clamp", x, as_tensor(limit))
    if not is_floating(x.dtype) and any(np.asarray(raw(v)).dtype.kind == "f" for v in (min, max) if v is not None):
        x = floating(x)
    number = type(None) if x.dtype.kind == "V" else float | int | None  # bfloat16 and a number would become float32
    low, high = (v if isinstance(v, number) else as_tensor(v).data.astype(x.dtype) for v in (min, max))
    return apply(clamp_, x, low=low, high=high)


def clamp_min(x: Tensor, min: Any) -> Tensor:
    """Return `clamp(x, min)`."""
    return clamp(x, min)


def clamp_max(x: Tensor, max: Any) -> Tensor:
    """Return `clamp(x, max=max)`."""
    return clamp(x, max=max)


def _reflected(function: Function) -> Function:
    return lambda self, other: function(other, self)


NAMES = (
    "abs acos add addcdiv addcmul asin atan atan2 ceil clamp clamp_max clamp_min cos cosh div erf erfc exp "
    "exp2 expm1 floor floor_divide fmod frac lerp log log10 log1p log2 logaddexp maximum minimum mul neg pow "
    "reciprocal remainder round rsqrt sign sin sinh sqrt square sub tan trunc"
)
METHODS: dict[str, Any] = {
    **logic.METHODS,
    **{name: globals()[name] for name in [*NAMES.split(), "relu", "sigmoid", "tanh", "softmax", "log_softmax"]},
    "clip": clamp,
    "divide": div,
    "multiply": mul,
    "negative": neg,
    "subtract": sub,
    "true_divide": div,
    "__abs__": abs,
    "__pos__": lambda self: self,
    "__and__": logic.bitwise_and,
    "__rand__": logic.bitwise_and,
    "__or__": logic.bitwise_or,
    "__ror__": logic.bitwise_or,
    "__xor__": logic.bitwise_xor,
    "__rxor__": logic.bitwise_xor,
    "__invert__": logic.bitwise_not,
    "__floordiv__": floor_divide,
    "__rfloordiv__": _reflected(floor_divide),
    "__mod__": remainder,
    "__rmod__": _reflected(remainder),
    "__rpow__": _reflected(pow),
}
