"""Comparisons, logic, and bits: elementwise, without gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinytorch.base.errors import SettingError
from tinytorch.ops.common import raw
from tinytorch.tensor import Op, Tensor, apply, is_floating

Function = Callable[..., Tensor]


def _plain(name: str, function: Callable[..., Any]) -> Function:
    op = Op(name, function)

    def method(*tensors: Any) -> Tensor:
        return apply(op, *map(raw, tensors))

    method.__name__, method.__doc__ = name, f"Apply {name} to each element; it has no gradient."
    return method


def _bits(name: str, function: Callable[..., Any]) -> Function:
    plain = _plain(name, function)

    def method(*tensors: Any) -> Tensor:
        if any(is_floating(np.asarray(raw(x)).dtype) for x in tensors):
            raise SettingError(
                f"{name}: expected booleans or integers, not floating point; compare first, as in (x > 0)"
            )
        return plain(*tensors)

    method.__name__, method.__doc__ = name, plain.__doc__
    return method


eq, ne, lt = _plain("eq", np.equal), _plain("ne", np.not_equal), _plain("lt", np.less)
le, gt, ge = _plain("le", np.less_equal), _plain("gt", np.greater), _plain("ge", np.greater_equal)
isnan, isinf, isfinite = _plain("isnan", np.isnan), _plain("isinf", np.isinf), _plain("isfinite", np.isfinite)
logical_and, logical_or = _plain("logical_and", np.logical_and), _plain("logical_or", np.logical_or)
logical_xor, logical_not = _plain("logical_xor", np.logical_xor), _plain("logical_not", np.logical_not)
bitwise_and, bitwise_or = _bits("bitwise_and", np.bitwise_and), _bits("bitwise_or", np.bitwise_or)
bitwise_xor, bitwise_not = _bits("bitwise_xor", np.bitwise_xor), _bits("bitwise_not", np.invert)

NAMES = (
    "bitwise_and bitwise_not bitwise_or bitwise_xor eq ge gt isfinite isinf isnan le logical_and logical_not "
    "logical_or logical_xor lt ne"
)
METHODS: dict[str, Any] = {name: globals()[name] for name in NAMES.split()}
