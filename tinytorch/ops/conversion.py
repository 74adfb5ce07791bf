"""Tensors as Python and NumPy values, in other dtypes, and NumPy's functions of tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinytorch.base.devices import CPU, as_dtype, device
from tinytorch.base.errors import GradientError, SettingError
from tinytorch.ops import elementwise as E
from tinytorch.ops import logic
from tinytorch.tensor import Tensor, is_floating


def tolist(x: Tensor) -> Any:
    """Return the values as a Python number or nested lists."""
    return x.data.tolist()


def to_int(x: Tensor) -> int:
    """Return `int(x)` of a one-element tensor, rounded toward zero."""
    return int(x.data.item())


def to_index(x: Tensor) -> int:
    """Return an integer for indexing and range()."""
    if x.dtype.kind not in "iub" or x.numel() != 1:
        raise TypeError(f"index: {x.dtype} of shape {x.shape}: expected one integer")
    return int(x.data.item())


def to_text(x: Tensor, spec: str) -> str:
    """Return `f"{x:.3f}"`: the number of a tensor without dimensions; others only without a format."""
    if x.ndim == 0:
        return format(x.data.item(), spec)
    if not spec:
        return repr(x)
    raise TypeError(f"format {spec!r}: a tensor of shape {x.shape} is not a single number; use .item() or .tolist()")


def cpu(x: Tensor) -> Tensor:
    """Return the tensor itself: all tensors are in main memory."""
    return x


def cuda(x: Tensor, *_: Any) -> Tensor:
    """Raise an error: there is no GPU.

    Raises:
        SettingError: always.
    """
    device("cuda")
    return x


def type(x: Tensor, dtype: Any = None) -> Any:
    """Return the values in another dtype, or the name of the dtype."""
    wanted: Any = as_dtype(dtype)
    return f"tinytorch.{x.dtype}" if wanted is None else x.to(wanted)


def type_as(x: Tensor, other: Tensor) -> Tensor:
    """Return the values in the dtype of another tensor."""
    return x.to(other.dtype)


def element_size(x: Tensor) -> int:
    """Return the bytes of one element."""
    return x.data.itemsize


def data_ptr(x: Tensor) -> int:
    """Return the address of the first element."""
    return x.data.ctypes.data


def is_floating_point(x: Tensor) -> bool:
    """Return whether the dtype is a floating-point dtype."""
    return is_floating(x.dtype)


def _cast(name: str) -> Callable[[Tensor], Tensor]:
    def method(x: Tensor) -> Tensor:
        dtype: Any = as_dtype(name)
        return x if x.dtype == dtype else x.to(dtype)

    method.__name__, method.__doc__ = name, f"Return the values as {as_dtype(name) if name != 'bfloat16' else name}."
    return method


# NumPy's functions --------------------------------------------------------------------------------------


_SAME_NAMES = (
    "exp exp2 expm1 log log2 log10 log1p sqrt square reciprocal sin cos tan sinh cosh tanh sign floor ceil "
    "trunc maximum minimum logaddexp remainder fmod floor_divide isnan isinf isfinite logical_and logical_or "
    "logical_xor logical_not bitwise_and bitwise_or bitwise_xor"
)
_UFUNCS: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b if isinstance(a, Tensor) else b + a,
    "subtract": lambda a, b: a - b if isinstance(a, Tensor) else b.__rsub__(a),
    "multiply": lambda a, b: a * b if isinstance(a, Tensor) else b * a,
    "true_divide": lambda a, b: a / b if isinstance(a, Tensor) else b.__rtruediv__(a),
    "divide": lambda a, b: a / b if isinstance(a, Tensor) else b.__rtruediv__(a),
    "matmul": lambda a, b: a @ b if isinstance(a, Tensor) else b.__rmatmul__(a),
    "power": E.pow,
    "negative": E.neg,
    "positive": lambda x: x,
    "absolute": E.abs,
    "fabs": E.abs,
    "arcsin": E.asin,
    "arccos": E.acos,
    "arctan": E.atan,
    "arctan2": E.atan2,
    "rint": E.round,
    "invert": logic.bitwise_not,
    "equal": logic.eq,
    "not_equal": logic.ne,
    "less": logic.lt,
    "less_equal": logic.le,
    "greater": logic.gt,
    "greater_equal": logic.ge,
    **{name: E.METHODS[name] for name in _SAME_NAMES.split()},
}


def array_ufunc(x: Tensor, ufunc: np.ufunc, method: str, *inputs: Any, **settings: Any) -> Any:
    """Run one of NumPy's functions on tensors: `np.exp(t)`, and `array + t`; the result is a tensor.

    A function that TinyTorch cannot differentiate runs on tensors that require no gradient.

    Raises:
        GradientError: a tensor requires a gradient; the message says what to write instead.
    """
    name = ufunc.__name__
    if method == "__call__" and not settings and name in _UFUNCS:
        return _UFUNCS[name](*inputs)
    if any(isinstance(value, Tensor) and value.requires_grad for value in inputs):
        raise GradientError(f"np.{name}: TinyTorch cannot differentiate it; write it with tensor methods, or pass "
                            f"t.detach() if no gradient is needed")  # fmt: skip
    out = settings.get("out", ())
    if any(isinstance(target, Tensor) for target in out):
        raise SettingError(f"np.{name}: out= is a tensor: expected an array; assign the result instead")
    arrays = [value.data if isinstance(value, Tensor) else value for value in inputs]
    result = getattr(ufunc, method)(*arrays, **settings)
    return result if out or isinstance(result, tuple) else Tensor(np.asarray(result))


METHODS: dict[str, Any] = {
    "__array_ufunc__": array_ufunc,
    "__format__": to_text,
    "__index__": to_index,
    "__int__": to_int,
    "cpu": cpu,
    "cuda": cuda,
    "data_ptr": data_ptr,
    "device": property(lambda x: CPU),
    "element_size": element_size,
    "is_floating_point": is_floating_point,
    "is_cuda": property(lambda x: False),
    "tolist": tolist,
    "type": type,
    "type_as": type_as,
    **{name: _cast(name) for name in ("bfloat16", "double", "float", "half", "int", "long", "short")},
    "bool": _cast("bool"),
    "byte": _cast("uint8"),
}
