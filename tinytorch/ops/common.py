"""What the files of this package share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from operator import index
from typing import Any

import numpy as np

from tinytorch.base.errors import InputTypeError, ShapeError
from tinytorch.base.words import described, in_words
from tinytorch.tensor import Array, Tensor, is_floating

Number = int | float | bool


def as_tensor(x: Any) -> Tensor:
    """Return x itself if it is a tensor, and otherwise a tensor of it.

    Raises:
        InputTypeError: it holds no numbers.
    """
    if x is None or isinstance(x, str | bytes | dict | set | type):
        raise InputTypeError(f"x is {described(x)}: expected a Tensor, an array, or a number")
    return x if isinstance(x, Tensor) else Tensor(x)


def raw(x: Any) -> Any:
    """Return the array of a tensor, and anything else unchanged."""
    return x.data if isinstance(x, Tensor) else x


def floating(x: Tensor) -> Tensor:
    """Return x itself, or integers and booleans as float32, as PyTorch's float functions do."""
    return x if is_floating(x.dtype) else Tensor(x.data.astype(np.float32))


def axis_of(name: str, dim: int, ndim: int) -> int:
    """Return the dimension counted from the front.

    Raises:
        InputTypeError: dim is not an integer.
        ShapeError: there is no such dimension.
    """
    try:
        dim = index(dim)
    except TypeError:
        raise InputTypeError(f"{name}: dim is {described(dim)}: expected an integer") from None
    count = max(1, ndim)
    if not -count <= dim < count:
        raise ShapeError(
            f"{name}: dimension {dim} of a tensor with {ndim} dimension(s): expected {-count} to {count - 1}"
        )
    return dim % count


def dims_of(name: str, dim: Any, ndim: int) -> tuple[int, ...]:
    """Return the dimensions counted from the front: one, several, or all of them for None."""
    if dim is None:
        return tuple(range(ndim))
    return tuple(axis_of(name, d, ndim) for d in (dim if isinstance(dim, tuple | list) else (dim,)))


def sizes_of(name: str, shape: tuple[Any, ...], argument: str = "shape") -> tuple[int, ...]:
    """Return a shape that is given as separate numbers or as one tuple, list, or shape.

    Raises:
        InputTypeError: a size is not an integer.
    """
    if len(shape) == 1 and isinstance(shape[0], tuple | list):
        return integers_of(name, shape[0], argument)
    try:
        return tuple(map(index, shape))
    except TypeError:
        wrong = next(n for n in shape if not _is_integer(n))
        raise InputTypeError(f"{name}: {argument} is {described(wrong)}: expected int") from None


def integers_of(name: str, values: Iterable[Any], argument: str) -> tuple[int, ...]:
    """Return the integers in a list, a tuple, or a tensor.

    Raises:
        InputTypeError: it is none of these, or one of its elements is not an integer.
    """
    try:
        values = tuple(values)
        return tuple(map(index, values))
    except TypeError:
        wrong = described(values)
        if isinstance(values, tuple):
            wrong = f"a list that contains {described(next(n for n in values if not _is_integer(n)))}"
        raise InputTypeError(f"{name}: {argument} is {wrong}: expected integers") from None


def _is_integer(x: Any) -> bool:
    try:
        index(x)
    except TypeError:
        return False
    return True


def fit_together(name: str, a: Tensor, b: Tensor) -> None:
    """Check that two shapes can be broadcast together.

    Raises:
        ShapeError: they cannot; the message states both.
    """
    try:
        np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise ShapeError(f"{name}: shapes {a.shape} and {b.shape} are incompatible") from None


def keep_dims(y: Array, dims: tuple[int, ...]) -> Array:
    """Insert the dimensions that a reduction removed."""
    return np.expand_dims(y, dims)


def numpy_names(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, which then also accepts NumPy's names `axis` and `keepdims`, as PyTorch's functions do."""

    @wraps(function)
    def renamed(*given: Any, **named: Any) -> Any:
        if named:
            if "axis" in named:
                named["dim"] = named.pop("axis")
            if "keepdims" in named:
                named["keepdim"] = named.pop("keepdims")
        return function(*given, **named)

    return renamed


def rename_all(names: str, space: dict[str, Any]) -> dict[str, Any]:
    """Give those of the functions in a module that have a `dim` NumPy's names as well; return all of them by name."""
    for name in names.split():
        if "dim" in space[name].__code__.co_varnames[: space[name].__code__.co_argcount]:
            space[name] = numpy_names(in_words(space[name], all_errors=True))
    return {name: space[name] for name in names.split()}
