"""Module 02: the Tensor, a NumPy array that remembers how it was made.

Every operation goes through one function, `apply(op, *inputs)`. It runs the op's forward function on the
arrays and, if a gradient may be asked for later, notes `(op, inputs)` on the result. That note is all that
module 06 needs to differentiate; this file does not know how that is done.

Shapes in comments, here and everywhere: N samples, C channels, H height, W width; B batch, T time, D width.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np

from tinytorch.base.errors import GradientError, SettingError, ShapeError, TinyTorchError
from tinytorch.base.random import default_generator

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

Array = np.ndarray
Axis = int | tuple[int, ...] | None
Operand = Any  # a Tensor, an array or a Python number


@dataclass(frozen=True, eq=False, slots=True)
class Op:
    """A named operation on arrays.

    `forward(*arrays, **attrs)` returns the result or, where the derivative can use something that the forward
    pass worked out anyway, the pair `(result, kept)`. Without a pair, the result itself is what is kept.
    """

    name: str
    forward: Callable[..., Any]


class Node:
    """How a tensor was made: the op, its inputs, its settings, and what the forward pass kept."""

    __slots__ = ("attrs", "inputs", "kept", "op")

    def __init__(self, op: Op, inputs: tuple[Operand, ...], attrs: dict[str, Any], kept: Any) -> None:
        self.op, self.inputs, self.attrs, self.kept = op, inputs, attrs, kept


Policy = Callable[[Op, tuple[Operand, ...]], tuple[Op, tuple[Operand, ...]]]


class _Mode(threading.local):
    """Of this thread: whether operations are recorded, for differentiating them later, and who may exchange an
    operation or cast its inputs before it runs (see `autocast` in module 15). A pair, since each look costs 30 ns."""

    recording_and_policy: tuple[bool, Policy | None] = (True, None)


_mode = _Mode()


def is_floating(dtype: np.dtype[Any]) -> bool:
    """Whether these are floating-point numbers: NumPy's own, or ml_dtypes' bfloat16, which it counts among bytes."""
    return dtype.kind == "f" or dtype.name == "bfloat16"


def is_grad_enabled() -> bool:
    """Whether operations are being recorded (see `no_grad` in module 06)."""
    return _mode.recording_and_policy[0]


def set_grad_enabled(enabled: bool) -> None:
    """Turn recording on or off in this thread."""
    _mode.recording_and_policy = enabled, _mode.recording_and_policy[1]


def set_policy(policy: Policy | None) -> Policy | None:
    """From now on, in this thread, `apply` runs `policy(op, inputs)` in place of them; returns the one before."""
    recording, before = _mode.recording_and_policy
    _mode.recording_and_policy = recording, policy
    return before


def apply(op: Op, *inputs: Operand, **attrs: Any) -> Tensor:
    """Run `op` on the inputs and remember it, if any input wants a gradient.

    Tensors are unwrapped; arrays and Python numbers pass as they are and count as constants.

    Raises:
        ShapeError: the inputs' shapes do not fit the op; the message states them all.
    """
    recording, policy = _mode.recording_and_policy
    if policy is not None:
        op, inputs = policy(op, inputs)
    # a NumPy scalar becomes a Python number, which leaves the tensor's dtype as it is
    arrays = [x.data if isinstance(x, Tensor) else x.item() if isinstance(x, np.generic) else x for x in inputs]
    try:
        result = op.forward(*arrays, **attrs)
    except TinyTorchError:
        raise
    except (ValueError, np.exceptions.AxisError) as error:
        shapes = " and ".join(str(np.shape(a)) for a in arrays)
        settings = "".join(f", {name}={value}" for name, value in attrs.items())
        raise ShapeError(f"{op.name}: shapes {shapes}{settings} do not fit ({error})") from None
    data, kept = result if type(result) is tuple else (result, result)
    out = Tensor.__new__(Tensor)
    out.data = data if type(data) is Array else np.asarray(data)
    out.grad = out.node = None
    out.requires_grad = False
    if recording:
        for x in inputs:
            if isinstance(x, Tensor) and x.requires_grad:
                out.requires_grad = True
                out.node = Node(op, inputs, attrs, kept)
                break
    return out


_differentiate: Callable[..., None] | None = None


def use_differentiator(differentiate: Callable[..., None]) -> None:
    """Give `Tensor.backward` its engine. Module 06 calls this once, when it is imported."""
    global _differentiate
    _differentiate = differentiate


class Tensor:
    """An n-dimensional array with a gradient.

    Args:
        data: numbers, nested lists, a NumPy array (not copied; its dtype stays) or a Tensor.
            Python floats become float32, Python integers int64.
        requires_grad: whether `backward()` should leave a gradient in `.grad`.
        dtype: overrides the dtype rule above.

    Attributes:
        data: the NumPy array.
        grad: a Tensor of the same shape, or None; only leaves that require it get one. Its array may be shared
            with another tensor's gradient, so it is replaced (`t.grad = ...`) and never written into.
        node: how it was made; None for a leaf.

    >>> x = Tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> (x @ x.T + 1).sum()
    Tensor(56., dtype=float32)
    """

    __slots__ = ("__weakref__", "data", "grad", "node", "requires_grad")
    __array_ufunc__ = None  # `array + tensor` asks Tensor.__radd__, not NumPy

    def __init__(self, data: Any, requires_grad: bool = False, dtype: DTypeLike | None = None) -> None:
        self.data: Array = _as_array(data, dtype)
        if requires_grad and not is_floating(self.data.dtype):
            raise GradientError(f"only floating-point tensors can require a gradient, not {self.data.dtype}")
        self.requires_grad = requires_grad
        self.grad: Tensor | None = None
        self.node: Node | None = None

    # What it is -----------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype

    @property
    def is_leaf(self) -> bool:
        """Whether it was made by hand rather than by an operation."""
        return self.node is None

    def numel(self) -> int:
        """The number of elements."""
        return self.data.size

    def numpy(self) -> Array:
        """The array itself, not a copy."""
        return self.data

    def item(self) -> float:
        """The one number in it."""
        return self.data.item()

    def detach(self) -> Tensor:
        """The same data, cut off from how it was made."""
        return Tensor(self.data)

    def backward(self, gradient: Tensor | Array | None = None, retain_graph: bool = False) -> None:
        """Add d(self)/d(leaf) to `.grad` of every leaf that requires it. See `autograd.backward`."""
        if _differentiate is None:
            raise GradientError("backward() needs module 06: import tinytorch.autograd first")
        _differentiate(self, gradient, retain_graph)

    def __repr__(self) -> str:
        body = np.array2string(self.data, separator=", ", prefix="Tensor(", threshold=100)
        grad = ", requires_grad=True" if self.requires_grad else ""
        return f"Tensor({body}, dtype={self.dtype}{grad})"

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self.data)))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        return np.array(self.data, dtype, copy=copy)

    def __bool__(self) -> bool:
        return bool(self.data)

    def __float__(self) -> float:
        return float(self.data.item())

    __hash__ = object.__hash__

    # Arithmetic ---------------------------------------------------------------------------------------

    def __add__(self, other: Operand) -> Tensor:
        return apply(add, self, other)

    def __mul__(self, other: Operand) -> Tensor:
        return apply(mul, self, other)

    def __neg__(self) -> Tensor:
        return apply(neg, self)

    def __pow__(self, exponent: float) -> Tensor:
        return apply(power, self, exponent=exponent)

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

    __radd__, __rmul__ = __add__, __mul__

    # Comparisons: no derivative, so plain results ------------------------------------------------------

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        return apply(Op("equal", np.equal), self.data, _raw(other))

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        return apply(Op("not_equal", np.not_equal), self.data, _raw(other))

    def __lt__(self, other: Operand) -> Tensor:
        return apply(Op("less", np.less), self.data, _raw(other))

    def __le__(self, other: Operand) -> Tensor:
        return apply(Op("less_equal", np.less_equal), self.data, _raw(other))

    def __gt__(self, other: Operand) -> Tensor:
        return apply(Op("greater", np.greater), self.data, _raw(other))

    def __ge__(self, other: Operand) -> Tensor:
        return apply(Op("greater_equal", np.greater_equal), self.data, _raw(other))

    def argmax(self, dim: int | None = None) -> Tensor:
        """Where the largest element is, along `dim` or in the flattened tensor."""
        return apply(Op("argmax", lambda x: x.argmax(axis=dim)), self.data)

    # Elementwise ------------------------------------------------------------------------------------

    def exp(self) -> Tensor:
        return apply(exp, self)

    def log(self) -> Tensor:
        return apply(log, self)

    def sqrt(self) -> Tensor:
        return self**0.5

    def abs(self) -> Tensor:
        return apply(absolute, self)

    def maximum(self, other: Operand) -> Tensor:
        """The larger of the two, element by element; where they are equal each gets half the gradient."""
        return apply(maximum, self, other)

    # Reductions -------------------------------------------------------------------------------------

    def sum(self, dim: Axis = None, keepdim: bool = False) -> Tensor:
        return apply(sum_, self, dim=dim, keepdim=keepdim)

    def mean(self, dim: Axis = None, keepdim: bool = False) -> Tensor:
        return apply(mean, self, dim=dim, keepdim=keepdim)

    def max(self, dim: Axis = None, keepdim: bool = False) -> Tensor:
        """The largest value; equal largest values share the gradient."""
        return apply(amax, self, dim=dim, keepdim=keepdim)

    def min(self, dim: Axis = None, keepdim: bool = False) -> Tensor:
        return -(-self).max(dim, keepdim)

    def var(self, dim: Axis = None, correction: int = 1, keepdim: bool = False) -> Tensor:
        """sum((x - mean)^2) / (n - correction)."""
        mean = self.mean(dim, keepdim=True)
        n = self.numel() // max(1, mean.numel())
        return ((self - mean) ** 2).sum(dim, keepdim) / (n - correction)

    # Shape: views where NumPy gives views ------------------------------------------------------------

    def reshape(self, *shape: int | tuple[int, ...]) -> Tensor:
        return apply(reshape, self, shape=_flat(shape))

    def flatten(self, start_dim: int = 0) -> Tensor:
        """Join all dimensions from `start_dim` on."""
        return self.reshape((*self.shape[:start_dim], math.prod(self.shape[start_dim:])))

    def permute(self, *dims: int | tuple[int, ...]) -> Tensor:
        return apply(permute, self, dims=_flat(dims))

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """Exchange two dimensions."""
        dims = list(range(self.ndim))
        i, j = self._dim(dim0, self.ndim), self._dim(dim1, self.ndim)
        dims[i], dims[j] = j, i
        return self.permute(*dims)

    @property
    def T(self) -> Tensor:  # noqa: N802 (the field's name)
        """All dimensions reversed."""
        return self.permute(*reversed(range(self.ndim)))

    def expand(self, *shape: int | tuple[int, ...]) -> Tensor:
        """Repeat dimensions of size 1 without copying."""
        return apply(expand, self, shape=_flat(shape))

    def unsqueeze(self, dim: int) -> Tensor:
        """Insert a dimension of size 1."""
        dim = self._dim(dim, self.ndim + 1)
        return self.reshape((*self.shape[:dim], 1, *self.shape[dim:]))

    def squeeze(self, dim: int) -> Tensor:
        """Remove the dimension `dim`, of size 1."""
        dim = self._dim(dim, self.ndim)
        if self.shape[dim] != 1:
            raise ShapeError(f"squeeze: dimension {dim} of shape {self.shape} has size {self.shape[dim]}, not 1")
        return self.reshape(self.shape[:dim] + self.shape[dim + 1 :])

    def _dim(self, dim: int, count: int) -> int:
        """A dimension counted from the front; -1 is the last."""
        if not -count <= dim < count:
            raise ShapeError(f"dimension {dim} for shape {self.shape}: expected {-count} to {count - 1}")
        return dim % count

    def __getitem__(self, index: Any) -> Tensor:
        return apply(getitem, self, index=_raw_index(index))

    def to(self, dtype: DTypeLike) -> Tensor:
        """The same numbers in another dtype; a gradient passes only between floating-point ones."""
        if not is_floating(np.dtype(dtype)):
            return Tensor(self.data.astype(dtype))
        return apply(cast, self, dtype=np.dtype(dtype))


# The operations: a name and a forward function each ------------------------------------------------


def _power(x: Array, exponent: float) -> Array:
    if exponent == 2:
        return x * x
    if exponent == 0.5:
        return np.sqrt(x)
    if exponent == -1:
        return 1 / x
    return x**exponent


def _matmul(a: Array, b: Array) -> Array:
    if np.ndim(a) == 0 or np.ndim(b) == 0 or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ShapeError(f"matmul: shapes {np.shape(a)} and {np.shape(b)} do not fit: "
                         f"the last of the first must equal the last but one of the second")  # fmt: skip
    return a @ b


def _getitem(x: Array, index: Any) -> Array:
    try:
        return x[index]
    except IndexError as error:
        raise ShapeError(f"getitem: index {index} does not fit shape {x.shape} ({error})") from None


add = Op("add", np.add)
sub = Op("sub", np.subtract)
mul = Op("mul", np.multiply)
div = Op("div", np.true_divide)
neg = Op("neg", np.negative)
power = Op("power", _power)
matmul = Op("matmul", _matmul)
exp = Op("exp", np.exp)
log = Op("log", np.log)
absolute = Op("abs", np.abs)
maximum = Op("maximum", np.maximum)
where_ = Op("where", np.where)
sum_ = Op("sum", lambda x, dim, keepdim: x.sum(axis=dim, keepdims=keepdim))
mean = Op("mean", lambda x, dim, keepdim: x.mean(axis=dim, keepdims=keepdim))
amax = Op("max", lambda x, dim, keepdim: x.max(axis=dim, keepdims=keepdim))
reshape = Op("reshape", lambda x, shape: x.reshape(shape))
permute = Op("permute", lambda x, dims: x.transpose(dims))
expand = Op("expand", lambda x, shape: np.broadcast_to(x, shape))
getitem = Op("getitem", _getitem)
cast = Op("cast", lambda x, dtype: x.astype(dtype))
concatenate = Op("cat", lambda *arrays, dim: np.concatenate(arrays, axis=dim))


def where(condition: Operand, a: Operand, b: Operand) -> Tensor:
    """`a` where the condition holds, else `b`."""
    return apply(where_, _raw(condition), a, b)


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join tensors along an existing dimension."""
    return apply(concatenate, *tensors, dim=dim)


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join tensors along a new dimension."""
    return cat([t.unsqueeze(dim) for t in tensors], dim)


# Making tensors ------------------------------------------------------------------------------------


def zeros(*shape: int, requires_grad: bool = False, dtype: DTypeLike = np.float32) -> Tensor:
    return Tensor(np.zeros(shape, dtype), requires_grad)


def ones(*shape: int, requires_grad: bool = False, dtype: DTypeLike = np.float32) -> Tensor:
    return Tensor(np.ones(shape, dtype), requires_grad)


def randn(*shape: int, requires_grad: bool = False) -> Tensor:
    """Standard normal float32 numbers from the default generator."""
    return Tensor(default_generator().standard_normal(shape, np.float32), requires_grad)


def rand(*shape: int, requires_grad: bool = False) -> Tensor:
    """Uniform float32 numbers in [0, 1) from the default generator."""
    return Tensor(default_generator().random(shape, np.float32), requires_grad)


def _as_array(data: Any, dtype: DTypeLike | None) -> Array:
    if isinstance(data, Tensor):
        data = data.data
    given = isinstance(data, (np.ndarray, np.generic))
    try:
        array = np.asarray(data, dtype)
    except ValueError as error:
        raise ShapeError(f"Tensor: rows of different lengths ({error})") from None
    if array.dtype.kind not in "iub" and not is_floating(array.dtype):
        raise SettingError(f"Tensor: dtype {array.dtype}: expected real numbers or booleans")
    if dtype is None and not given and array.dtype == np.float64:
        return array.astype(np.float32)  # Python floats; an array keeps its dtype
    return array


def _raw(x: Any) -> Any:
    return x.data if isinstance(x, Tensor) else x


def _raw_index(index: Any) -> Any:
    return tuple(_raw(i) for i in index) if isinstance(index, tuple) else _raw(index)


def _flat(shape: tuple[Any, ...]) -> tuple[SupportsIndex, ...]:
    """reshape(2, 3) and reshape((2, 3)) mean the same."""
    return tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
