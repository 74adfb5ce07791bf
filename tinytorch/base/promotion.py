"""Result dtypes of operations on several arrays and numbers: PyTorch's table, which differs from NumPy's.

There are three categories: boolean < integer < floating point. The highest category of the inputs decides. Within it,
arrays with dimensions decide before arrays without dimensions, and these before Python numbers. So float32 stays
float32 next to int64, a 0-dimensional float64, or a Python float, while NumPy's table would return float64.
Source: https://docs.pytorch.org/docs/stable/tensor_attributes.html#torch.dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, reduce
from typing import Any

import numpy as np
from numpy import ndarray as Array

from tinytorch.base.errors import SettingError

FLOAT32, INT64, BOOL = np.dtype(np.float32), np.dtype(np.int64), np.dtype(bool)
NUMBERS = {bool: BOOL, int: INT64, float: FLOAT32}  # dtypes of Python numbers


def is_half(dtype: np.dtype[Any]) -> bool:
    """Return whether `dtype` is a floating-point dtype of 16 bits."""
    return dtype.itemsize == 2 and (dtype.kind == "f" or dtype.name == "bfloat16")


def category(dtype: np.dtype[Any]) -> int:
    """Return 0 for booleans, 1 for integers, 2 for floating point."""
    return 0 if dtype.kind == "b" else 1 if dtype.kind in "iu" else 2


def in_floating_point(x: Array) -> Array:
    """Return floating-point x unchanged, and integers and booleans as float32."""
    return x if x.dtype.kind not in "iub" else x.astype(np.float32)


def in_float32(x: Array) -> Array:
    """Return x in at least 32 bits of floating point: 16-bit numbers, integers, and booleans as float32.

    Sums need it: a float16 sum overflows at 65504, and a bfloat16 sum of ones stops at 256.
    """
    dtype = x.dtype
    if dtype is FLOAT32 or (dtype.kind == "f" and dtype.itemsize > 2):  # NumPy has one object for it: half the time
        return x
    return x.astype(np.float32)


def like(y: Array, x: Array) -> Array:
    """Return y in the dtype of x if that has 16 bits, rounding too large values to infinity; else y."""
    if x.dtype is FLOAT32 or not is_half(x.dtype) or y.dtype == x.dtype:
        return y
    with np.errstate(over="ignore", invalid="ignore"):
        return y.astype(x.dtype)


def widening(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Return an op's forward function that computes 16-bit numbers in float32, and rounds its result to 16 bits.

    What it keeps for the backward pass is float32: the result before it is rounded, unless `forward` returns a pair.
    """

    def wide(x: Array, *rest: Any, **settings: Any) -> Any:
        dtype = x.dtype
        if dtype is FLOAT32 or (dtype.kind == "f" and dtype.itemsize > 2):
            return forward(x, *rest, **settings)
        result = forward(in_float32(x), *map(_wide, rest), **settings)
        y, kept = result if type(result) is tuple else (result, result)
        return like(y, x), kept

    return wide


def widening_rule(rule: Callable[..., Any]) -> Callable[..., Any]:
    """Return a derivative that computes 16-bit numbers in float32."""

    def wide(g: Array, kept: Any, *arrays: Any, **settings: Any) -> Any:
        return rule(in_float32(g), kept, *map(_wide, arrays), **settings)

    return wide


def _wide(x: Any) -> Any:
    return x.astype(np.float32) if isinstance(x, Array) and is_half(x.dtype) else x


def sum_of(x: Array, **settings: Any) -> Array:
    """Return x.sum(**settings): of 16-bit numbers in float32, rounded at the end, and of integers in int64."""
    dtype = x.dtype
    if dtype is FLOAT32 or (dtype.kind == "f" and dtype.itemsize > 2):
        return np.asarray(x.sum(**settings))
    if category(x.dtype) < 2:
        return np.asarray(x.sum(dtype=np.int64, **settings))
    return like(np.asarray(x.sum(dtype=np.float32, **settings)), x)


@cache
def common(a: np.dtype[Any], b: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of the result of two arrays with dimensions.

    Raises:
        SettingError: no integer dtype holds both, as for int64 and uint64.
    """
    if category(a) != category(b):
        return a if category(a) > category(b) else b
    if a == b:
        return a
    if is_half(a) and is_half(b):  # float16 and bfloat16
        return FLOAT32
    if category(a) == 2:
        return a if a.itemsize > b.itemsize else b
    result = np.promote_types(a, b)
    if category(result) == 2:
        raise SettingError(f"dtypes {a} and {b}: no integer dtype holds both; convert one of them with .to(...)")
    return result


def result_dtype(*operands: Any) -> np.dtype[Any]:
    """Return the dtype of an operation's result, given its arrays and Python numbers."""
    ranks: tuple[list[np.dtype[Any]], ...] = ([], [], [])  # with dimensions, without, Python numbers
    for x in operands:
        rank, dtype = (0 if x.ndim else 1, x.dtype) if isinstance(x, Array) else (2, NUMBERS[type(_number(x))])
        ranks[rank].append(dtype)
    best: np.dtype[Any] | None = None
    for dtypes in ranks:
        if dtypes:
            dtype = reduce(common, dtypes)
            best = dtype if best is None or category(dtype) > category(best) else best
    assert best is not None
    return best


def promoted(*operands: Any, floating: bool = False) -> tuple[Any, ...]:
    """Return the operands of an operation in the dtype of its result, or in float32 if `floating` needs it.

    Python numbers stay as they are next to NumPy's own dtypes, which they never change. ml_dtypes would turn bfloat16
    times a Python float into float32.
    """
    dtype = result_dtype(*operands)
    if floating and category(dtype) < 2:
        dtype = FLOAT32
    arrays = any(isinstance(x, Array) for x in operands)
    numbers = dtype.type if dtype.kind == "V" or not arrays else _number
    return tuple(x.astype(dtype, copy=False) if isinstance(x, Array) else numbers(x) for x in operands)


def _number(x: Any) -> Any:
    """Return a NumPy scalar as a Python number: in arithmetic with an array, only a Python number keeps its dtype."""
    return x.item() if isinstance(x, np.generic) else x


def promoting(function: Callable[[Any, Any], Array], floating: bool = False) -> Callable[[Any, Any], Array]:
    """Return an array function of two operands that follows the table. Operands of one dtype take 0.1 µs longer."""

    def forward(a: Any, b: Any) -> Array:
        if type(a) is Array and a.dtype.kind == "f" and (type(b) is float or (type(b) is Array and a.dtype is b.dtype)):
            return function(a, b)
        return function(*promoted(a, b, floating=floating))

    return forward
