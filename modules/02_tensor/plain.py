"""Module 02, written as a learner would: the course's proof tests that these answers pass, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinytorch.base.errors import GradientError, SettingError, ShapeError, TinyTorchError
from tinytorch.tensor import (
    Array,
    Axis,
    Node,
    Op,
    Operand,
    _flat,
    _mode,
    add,
    amax,
    concatenate,
    div,
    is_floating,
    matmul,
    mean,
    mul,
    neg,
    permute,
    reshape,
    sub,
    sum_,
)

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


def _as_array(data: Any, dtype: DTypeLike | None) -> Array:
    if isinstance(data, Tensor):
        data = data.data
    was_array = isinstance(data, (np.ndarray, np.generic))
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise ShapeError(f"Tensor: rows of different lengths ({error})") from None
    is_number = is_floating(array.dtype) or array.dtype == bool or np.issubdtype(array.dtype, np.integer)
    if not is_number:
        raise SettingError(f"Tensor: dtype {array.dtype}: expected real numbers or booleans")
    if dtype is not None:
        return array.astype(dtype, copy=False)
    if array.dtype == np.float64 and not was_array:
        return array.astype(np.float32)
    return array


def apply(op: Op, *inputs: Operand, **attrs: Any) -> Tensor:
    recording, policy = _mode.recording_and_policy
    if policy is not None:
        op, inputs = policy(op, inputs)
    arrays = [x.data if isinstance(x, Tensor) else x.item() if isinstance(x, np.generic) else x for x in inputs]
    try:
        result = op.forward(*arrays, **attrs)
    except TinyTorchError:
        raise
    except (ValueError, np.exceptions.AxisError) as error:
        shapes = " and ".join(str(np.shape(a)) for a in arrays)
        settings = "".join(f", {name}={value}" for name, value in attrs.items())
        raise ShapeError(f"{op.name}: shapes {shapes}{settings} are incompatible ({error})") from None
    data, kept = result, result
    if isinstance(result, tuple):
        data, kept = result
    out = Tensor(np.asarray(data))
    if recording and any(isinstance(x, Tensor) and x.requires_grad for x in inputs):
        out.requires_grad = True
        out.node = Node(op, inputs, arrays, attrs, kept)
    return out


class Tensor:
    def __init__(self, data: Any, requires_grad: bool = False, dtype: DTypeLike | None = None) -> None:
        self.data = _as_array(data, dtype)
        self.requires_grad = requires_grad
        self.grad: Tensor | None = None
        self.node: Node | None = None
        if requires_grad and not is_floating(self.data.dtype):
            raise GradientError(f"a tensor of dtype {self.data.dtype} cannot require a gradient")

    def __add__(self, other: Operand) -> Tensor:
        return apply(add, self, other)

    def __mul__(self, other: Operand) -> Tensor:
        return apply(mul, self, other)

    def __neg__(self) -> Tensor:
        return apply(neg, self)

    def __matmul__(self, other: Operand) -> Tensor:
        return apply(matmul, self, other)

    def __rmatmul__(self, other: Operand) -> Tensor:
        return apply(matmul, other, self)

    def __sub__(self, other: Operand) -> Tensor:
        return apply(sub, self, other)

    def __rsub__(self, other: Operand) -> Tensor:
        return apply(sub, other, self)

    def __truediv__(self, other: Operand) -> Tensor:
        return apply(div, self, other)

    def __rtruediv__(self, other: Operand) -> Tensor:
        return apply(div, other, self)

    def sum(self, dim: Axis = None, keepdim: bool = False) -> Tensor:
        return apply(sum_, self, dim=dim, keepdim=keepdim)

    def mean(self, dim: Axis = None, keepdim: bool = False) -> Tensor:
        return apply(mean, self, dim=dim, keepdim=keepdim)

    def amax(self, dim: Axis = None, keepdim: bool = False) -> Tensor:
        return apply(amax, self, dim=dim, keepdim=keepdim)

    def var(self, dim: Axis = None, correction: int = 1, keepdim: bool = False) -> Tensor:
        average = self.mean(dim, keepdim=True)
        difference = self - average
        squares = difference * difference
        count = self.data.size // average.data.size
        return squares.sum(dim, keepdim) / (count - correction)

    def reshape(self, *shape: int | tuple[int, ...]) -> Tensor:
        return apply(reshape, self, shape=_flat(shape))

    def flatten(self, start_dim: int = 0) -> Tensor:
        first, rest = self.shape[:start_dim], self.shape[start_dim:]
        size = 1
        for n in rest:
            size *= n
        return self.reshape(*first, size)

    def permute(self, *dims: int | tuple[int, ...]) -> Tensor:
        return apply(permute, self, dims=_flat(dims))

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        first, second = self._dim(dim0, self.ndim), self._dim(dim1, self.ndim)
        order = list(range(self.ndim))
        order[first] = second
        order[second] = first
        return self.permute(tuple(order))

    def unsqueeze(self, dim: int) -> Tensor:
        shape = list(self.shape)
        shape.insert(self._dim(dim, self.ndim + 1), 1)
        return self.reshape(tuple(shape))

    def squeeze(self, dim: int) -> Tensor:
        shape = list(self.shape)
        size = shape.pop(self._dim(dim, self.ndim))
        if size != 1:
            raise ShapeError(f"squeeze: shape {self.shape} has size {size}, not 1, in dimension {dim}")
        return self.reshape(tuple(shape))


def _getitem(x: Array, index: Any) -> Array:
    try:
        return x[index]
    except IndexError as error:
        raise ShapeError(f"getitem: index {index} is not valid for shape {x.shape} ({error})") from None


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    return apply(concatenate, *tensors, dim=dim)


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    return cat([tensor.unsqueeze(dim) for tensor in tensors], dim)
