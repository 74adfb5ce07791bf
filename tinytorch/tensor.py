"""Module 02: the Tensor, a NumPy array that records how it was computed.

Every operation goes through one function, `apply(op, *inputs)`. It runs the op's forward function on the arrays. If a
gradient may be needed later, it also records `(op, inputs)` on the result. This record is all that module 06 needs for
differentiation, and nothing in this file depends on how that works.

Shape letters, in all files: N samples, C channels, H height, W width; B batch, T time, D width.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsIndex, overload

import numpy as np

from tinytorch.base import changes
from tinytorch.base.dtypes import numpy_dtype
from tinytorch.base.errors import GradientError, InputTypeError, SettingError, ShapeError, TinyTorchError
from tinytorch.base.extension import TensorExtension
from tinytorch.base.promotion import in_floating_point, is_half, like, promoted, promoting, sum_of
from tinytorch.base.random import default_generator
from tinytorch.base.words import described

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

Array = np.ndarray
Axis = int | tuple[int, ...] | None
Operand = Any  # a Tensor, an array or a Python number


@dataclass(eq=False, slots=True)
class Op:
    """A named operation on arrays.

    `forward(*arrays, **attrs)` returns either the result or a pair `(result, kept)`, where `kept` is something that the
    forward pass computes anyway and the derivative can use. If it returns only the result, the result itself is kept.
    """

    name: str
    forward: Callable[..., Any]


class Node:
    """The record of how a tensor was computed: the op, its inputs, their arrays, its settings, and what the forward
    pass kept. `time` is that of the clock in `base.changes`, so that the backward pass notices later changes in place.
    """

    __slots__ = ("arrays", "attrs", "inputs", "kept", "op", "time")

    def __init__(
        self, op: Op, inputs: tuple[Operand, ...], arrays: list[Any], attrs: dict[str, Any], kept: Any
    ) -> None:
        self.op, self.inputs, self.arrays, self.attrs, self.kept = op, inputs, arrays, attrs, kept
        self.time = changes.clock


Policy = Callable[[Op, tuple[Operand, ...]], tuple[Op, tuple[Operand, ...]]]


class _Mode(threading.local):
    """Per-thread state: whether operations are recorded, so that they can be differentiated later, and the policy that
    may replace an operation or cast its inputs before it runs (see `autocast` in module 15).

    The two are stored as one pair, because each attribute lookup takes 30 ns.
    """

    recording_and_policy: tuple[bool, Policy | None] = (True, None)


_mode = _Mode()


def is_floating(dtype: np.dtype[Any]) -> bool:
    """Return whether `dtype` is a floating-point dtype: one of NumPy's, or bfloat16.

    ml_dtypes defines bfloat16, and NumPy reports its kind as raw bytes.
    """
    return dtype.kind == "f" or dtype.name == "bfloat16"


def is_grad_enabled() -> bool:
    """Return whether operations are being recorded (see `no_grad` in module 06)."""
    return _mode.recording_and_policy[0]


def set_grad_enabled(enabled: bool) -> None:
    """Turn recording on or off in this thread."""
    _mode.recording_and_policy = enabled, _mode.recording_and_policy[1]


def set_policy(policy: Policy | None) -> Policy | None:
    """Set this thread's policy and return the previous one.

    From then on, `apply` replaces `(op, inputs)` with `policy(op, inputs)`; None turns this off.
    """
    recording, before = _mode.recording_and_policy
    _mode.recording_and_policy = recording, policy
    return before


def apply(op: Op, *inputs: Operand, **attrs: Any) -> Tensor:
    """Run `op` on the inputs and record it if any input requires a gradient.

    Tensors are unwrapped; arrays and Python numbers are passed unchanged and treated as constants.

    The op's forward function returns the result, or a pair of the result and what the derivative needs (`kept`).
    Without a pair, the result itself is kept. The returned tensor holds the result as an array in the result's dtype,
    also if it is a single number. It requires a gradient if recording is on and any input is a Tensor that requires
    one. Only then does it get a node, `Node(op, inputs, attrs, kept)`, with the inputs as they are now: tensors stay
    tensors. Otherwise `node` is None. Its `grad` is None in any case.

    Raises:
        ShapeError: the inputs' shapes are not valid for the op; the message states all of them.
    """
    recording, policy = _mode.recording_and_policy
    if policy is not None:
        op, inputs = policy(op, inputs)
    arrays = [x.data if type(x) in PLAIN else operand(x) if isinstance(x, (Tensor, np.generic)) else x for x in inputs]
    try:
        result = op.forward(*arrays, **attrs)
    except TinyTorchError:
        raise
    except (ValueError, np.exceptions.AxisError) as error:
        shapes = " and ".join(str(np.shape(a)) for a in arrays)
        settings = "".join(f", {name}={value}" for name, value in attrs.items())
        raise ShapeError(f"{op.name}: shapes {shapes}{settings} are incompatible ({error})") from None
    except (TypeError, AttributeError, KeyError, IndexError, OverflowError) as error:
        raise _wrong_types(op, inputs, attrs) from error
    data, kept = result if type(result) is tuple else (result, result)
    out = Tensor.__new__(Tensor)
    out.data = data if type(data) is Array else np.asarray(data)
    out.grad = out.node = None
    out.requires_grad = False
    if recording:
        for x in inputs:
            if isinstance(x, Tensor) and x.requires_grad:
                out.requires_grad = True
                out.node = Node(op, inputs, arrays, attrs, kept)
                break
    return out


def _wrong_types(op: Op, inputs: tuple[Operand, ...], attrs: dict[str, Any]) -> InputTypeError:
    """Return the error for inputs that are not numbers, or of dtypes that the op is not defined for."""
    for x in inputs:
        if not isinstance(x, (Tensor, Array, np.generic, bool, int, float)):
            return InputTypeError(f"{op.name}: {described(x)} as an input: expected a Tensor, an array, or a number")
    given = [f"a tensor of {x.dtype}" if isinstance(x, (Tensor, Array)) else described(x) for x in inputs]
    settings = "".join(f", {name}={described(value)}" for name, value in attrs.items())
    return InputTypeError(f"{op.name}: not defined for {' and '.join(given)}{settings}: "
                          f"convert a dtype with .to(...), and give dimensions as integers")  # fmt: skip


def operand(x: Tensor | np.generic) -> Any:
    """Return what an operation computes with: the array of a Tensor, or a NumPy scalar as a Python number.

    A NumPy scalar could change the dtype of the result; a Python number does not.
    """
    return x.operand() if isinstance(x, Tensor) else x.item()


PLAIN: set[type] = set()  # the classes of tensors whose `operand()` is `data`: it is read without a call (30 ns)

_differentiate: Callable[..., None] | None = None


def use_differentiator(differentiate: Callable[..., None]) -> None:
    """Set the function that `Tensor.backward` calls. Module 06 calls this once, when it is imported."""
    global _differentiate
    _differentiate = differentiate


class Tensor(TensorExtension):
    """An n-dimensional array with a gradient.

    Args:
        data: numbers, nested lists, a NumPy array (not copied; its dtype is kept), or a Tensor.
            Python floats become float32; Python integers become int64.
        requires_grad: whether `backward()` stores a gradient in `.grad`.
        dtype: overrides the dtype rule above.

    Attributes:
        data: the NumPy array.
        grad: a Tensor of the same shape, or None; only leaves that require a gradient get one. Its array belongs to it
            alone: no other tensor shares it.
        node: the record of how the tensor was computed; None for a leaf.

    >>> x = Tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> (x @ x.T + 1).sum()
    Tensor(56., dtype=float32)
    """

    __slots__ = ("__weakref__", "data", "grad", "node", "requires_grad")

    def __init__(self, data: Any, requires_grad: bool = False, dtype: DTypeLike | None = None) -> None:
        """Set `data` to the array of `_as_array`, `requires_grad` as given, and `grad` and `node` to None.

        Raises:
            GradientError: a gradient is required, but the dtype is not a floating-point one; the message names it.
        """
        self.data: Array = _as_array(data, dtype)
        if requires_grad and not is_floating(self.data.dtype):
            raise GradientError(f"only floating-point tensors can require a gradient, not {self.data.dtype}")
        self.requires_grad = requires_grad
        self.grad: Tensor | None = None
        self.node: Node | None = None

    # Properties and conversions -------------------------------------------------------------------

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
        """Whether the tensor was created directly rather than by an operation."""
        return self.node is None

    def numel(self) -> int:
        """Return the number of elements."""
        return self.data.size

    def numpy(self) -> Array:
        """Return the array itself, not a copy."""
        return self.data

    def item(self) -> float:
        """Return the value of a one-element tensor as a Python number."""
        if self.data.size != 1:
            raise ShapeError(f"item: a tensor of shape {self.shape} has {self.data.size} elements: expected one; "
                             f"for all of them, use .numpy()")  # fmt: skip
        return self.data.item()

    def operand(self) -> Array:
        """Return the array that operations compute with. A subclass may store other values, e.g. quantized ones."""
        return self.data

    def detach(self) -> Tensor:
        """Return a tensor that shares the data but not the record of how it was computed."""
        return Tensor(self.operand())

    def backward(self, gradient: Tensor | Array | None = None, retain_graph: bool = False) -> None:
        """Add d(self)/d(leaf) to `.grad` of every leaf that requires a gradient. See `autograd.backward`."""
        if _differentiate is None:
            raise GradientError("backward() needs module 06: import tinytorch.autograd first")
        _differentiate(self, gradient, retain_graph)

    def __repr__(self) -> str:
        body = np.array2string(self.data, separator=", ", prefix="Tensor(", threshold=100)
        grad = ", requires_grad=True" if self.requires_grad else ""
        return f"Tensor({body}, dtype={self.dtype}{grad})"

    def __len__(self) -> int:
        if not self.ndim:
            raise ShapeError("len: a tensor without dimensions is one number: for its value, use .item()")
        return len(self.data)

    def __iter__(self) -> Iterator[Tensor]:
        if not self.ndim:
            raise ShapeError("iteration over a tensor without dimensions: for its value, use .item()")
        return (self[i] for i in range(len(self.data)))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        return np.array(self.data, dtype, copy=copy)

    def __bool__(self) -> bool:
        if self.data.size != 1:
            raise ShapeError(f"bool: a tensor of shape {self.shape} is neither true nor false: "
                             f"expected one element; use .numpy().any() or .numpy().all()")  # fmt: skip
        return bool(self.data)

    def __float__(self) -> float:
        return float(self.item())

    __hash__ = object.__hash__

    # Arithmetic: each operator applies one of the ops that are listed below the class ------------------

    def __add__(self, other: Operand) -> Tensor:
        """Return self + other, elementwise, with NumPy's broadcasting: the op `add`."""
        return apply(add, self, other)

    def __mul__(self, other: Operand) -> Tensor:
        """Return self * other, elementwise, with NumPy's broadcasting: the op `mul`."""
        return apply(mul, self, other)

    def __neg__(self) -> Tensor:
        """Return -self: the op `neg`."""
        return apply(neg, self)

    def __pow__(self, exponent: Operand) -> Tensor:
        if isinstance(exponent, (Tensor, np.ndarray)):
            return apply(pow_, self, exponent)
        return apply(power, self, exponent=exponent.item() if isinstance(exponent, np.generic) else exponent)

    def __matmul__(self, other: Operand) -> Tensor:
        """Return the matrix product self @ other, (..., N, K) @ (..., K, M) -> (..., N, M): the op `matmul`."""
        return apply(matmul, self, other)

    def __rmatmul__(self, other: Operand) -> Tensor:
        """Return other @ self, where `other` is an array: the op `matmul`."""
        return apply(matmul, other, self)

    def __sub__(self, other: Operand) -> Tensor:
        """Return self - other, elementwise, with NumPy's broadcasting: the op `sub`."""
        return apply(sub, self, other)

    def __rsub__(self, other: Operand) -> Tensor:
        """Return other - self, where `other` is a number or an array: the op `sub`."""
        return apply(sub, other, self)

    def __truediv__(self, other: Operand) -> Tensor:
        """Return self / other, elementwise, with NumPy's broadcasting: the op `div`."""
        return apply(div, self, other)

    def __rtruediv__(self, other: Operand) -> Tensor:
        """Return other / self, where `other` is a number or an array: the op `div`."""
        return apply(div, other, self)

    __radd__, __rmul__ = __add__, __mul__

    # Comparisons: not differentiable, so nothing is recorded ------------------------------------------

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        return apply(Op("equal", np.equal), self.operand(), _raw(other))

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        return apply(Op("not_equal", np.not_equal), self.operand(), _raw(other))

    def __lt__(self, other: Operand) -> Tensor:
        return apply(Op("less", np.less), self.operand(), _raw(other))

    def __le__(self, other: Operand) -> Tensor:
        return apply(Op("less_equal", np.less_equal), self.operand(), _raw(other))

    def __gt__(self, other: Operand) -> Tensor:
        return apply(Op("greater", np.greater), self.operand(), _raw(other))

    def __ge__(self, other: Operand) -> Tensor:
        return apply(Op("greater_equal", np.greater_equal), self.operand(), _raw(other))

    def argmax(self, dim: int | None = None) -> Tensor:
        """Return the index of the largest element along `dim`, or in the flattened tensor."""
        return apply(Op("argmax", lambda x: x.argmax(axis=dim)), self.operand())

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
        """Return the elementwise maximum; where the two are equal, each gets half the gradient."""
        return apply(maximum, self, other)

    # Reductions -------------------------------------------------------------------------------------

    def sum(self, dim: Axis = None, keepdim: bool = False) -> Tensor:
        """Return the sum along `dim` (one or several dimensions; None: all): the op `sum_`.

        With `keepdim`, the summed dimensions stay, with size 1; otherwise, they are removed.
        """
        return apply(sum_, self, dim=dim, keepdim=keepdim)

    def mean(self, dim: Axis = None, keepdim: bool = False) -> Tensor:
        """Return the mean along `dim`: the op `mean`. Dimensions are as in `sum`."""
        return apply(mean, self, dim=dim, keepdim=keepdim)

    def amax(self, dim: Axis = None, keepdim: bool = False) -> Tensor:
        """Return the largest value along `dim`: the op `amax`. Dimensions are as in `sum`.

        If several elements are equal to the largest value, they share the gradient equally.
        """
        return apply(amax, self, dim=dim, keepdim=keepdim)

    def amin(self, dim: Axis = None, keepdim: bool = False) -> Tensor:
        """Return the smallest value along one or more dimensions; equal ones share the gradient equally."""
        return apply(amin, self, dim=dim, keepdim=keepdim)

    @overload
    def max(self) -> Tensor: ...
    @overload
    def max(self, dim: int, keepdim: bool = False) -> Extremes: ...
    def max(self, dim: int | None = None, keepdim: bool = False) -> Tensor | Extremes:
        """Return the largest value of all, as `amax` does, or with `dim` the pair (values, indices) along it.

        The first of several equal elements is the one that is found, and gets the whole gradient.
        """
        return self.amax() if dim is None else self._extremes(max_along, np.argmax, dim, keepdim)

    @overload
    def min(self) -> Tensor: ...
    @overload
    def min(self, dim: int, keepdim: bool = False) -> Extremes: ...
    def min(self, dim: int | None = None, keepdim: bool = False) -> Tensor | Extremes:
        """Return the smallest value of all, or with `dim` the pair (values, indices) along it; see `max`."""
        return self.amin() if dim is None else self._extremes(min_along, np.argmin, dim, keepdim)

    def _extremes(self, op: Op, find: Callable[..., Any], dim: int, keepdim: bool) -> Extremes:
        if not isinstance(dim, (int, np.integer)):
            raise SettingError(f"{op.name}: dim {dim}: expected one dimension; for several, use a{op.name}")
        axis = self._dim(dim, self.ndim)
        values = apply(op, self, dim=axis, keepdim=keepdim)
        return Extremes(values, Tensor(np.asarray(find(self.data, axis=axis, keepdims=keepdim))))

    def var(self, dim: Axis = None, correction: int = 1, keepdim: bool = False) -> Tensor:
        """Return the variance along `dim`, sum((x - mean)^2) / (n - correction), where n values have one mean.

        Dimensions are as in `sum`. Computed from the methods above, so it needs no op of its own.
        """
        if is_half(self.dtype):
            return self.to(np.float32).var(dim, correction, keepdim).to(self.dtype)
        mean = self.mean(dim, keepdim=True)
        n = self.numel() // max(1, mean.numel())
        with np.errstate(divide="ignore", invalid="ignore"):  # as in PyTorch: NaN or infinity with too few values
            return ((self - mean) ** 2).sum(dim, keepdim) / max(0, n - correction)

    # Shape: views where NumPy returns views ------------------------------------------------------------

    def reshape(self, *shape: int | tuple[int, ...]) -> Tensor:
        """Return the same values in another shape, (2, 3) or 2, 3; one size may be -1: the op `reshape`."""
        return apply(reshape, self, shape=_flat(shape))

    def flatten(self, start_dim: int = 0) -> Tensor:
        """Flatten all dimensions from `start_dim` on into one, whose size is their product; earlier ones stay.

        (2, 3, 4).flatten(1) has shape (2, 12). An empty tensor is no exception: (0, 3, 4).flatten(1) is (0, 12).
        """
        return self.reshape((*self.shape[:start_dim], math.prod(self.shape[start_dim:])))

    def permute(self, *dims: int | tuple[int, ...]) -> Tensor:
        """Reorder the dimensions: dimension i of the result is dimension dims[i] of self: the op `permute`."""
        return apply(permute, self, dims=_flat(dims))

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """Swap two dimensions. A negative one counts from the end.

        Raises:
            ShapeError: there is no such dimension (see `_dim`).
        """
        dims = list(range(self.ndim))
        i, j = self._dim(dim0, self.ndim), self._dim(dim1, self.ndim)
        dims[i], dims[j] = j, i
        return self.permute(*dims)

    @property
    def T(self) -> Tensor:  # noqa: N802 (the field's name)
        """The tensor with its dimensions reversed."""
        return self.permute(*reversed(range(self.ndim)))

    def expand(self, *shape: int | tuple[int, ...]) -> Tensor:
        """Expand dimensions of size 1 to the given shape without copying."""
        return apply(expand, self, shape=_flat(shape))

    def unsqueeze(self, dim: int) -> Tensor:
        """Insert a dimension of size 1, which is dimension `dim` of the result. -1 appends it.

        Raises:
            ShapeError: `dim` is no dimension of the result, which has one more than self (see `_dim`).
        """
        dim = self._dim(dim, self.ndim + 1)
        return self.reshape((*self.shape[:dim], 1, *self.shape[dim:]))

    def squeeze(self, dim: int) -> Tensor:
        """Remove the dimension `dim`, which must have size 1.

        Raises:
            ShapeError: the size is not 1 ("size 3, not 1"), or there is no such dimension (see `_dim`).
        """
        dim = self._dim(dim, self.ndim)
        if self.shape[dim] != 1:
            raise ShapeError(f"squeeze: dimension {dim} of shape {self.shape} has size {self.shape[dim]}, not 1")
        return self.reshape(self.shape[:dim] + self.shape[dim + 1 :])

    def _dim(self, dim: int, count: int) -> int:
        """Return `dim`, one of `count` dimensions, counted from the front; -1 is the last one."""
        if not isinstance(dim, (int, np.integer)):
            raise InputTypeError(f"dim is {described(dim)}: expected an integer")
        if not -count <= dim < count:
            raise ShapeError(f"dimension {dim} for shape {self.shape}: expected {-count} to {count - 1}")
        return dim % count

    def __getitem__(self, index: Any) -> Tensor:
        return apply(getitem, self, index=_raw_index(index))

    def to(self, dtype: DTypeLike) -> Tensor:
        """Return the values in another dtype; a gradient flows only between floating-point dtypes."""
        dtype = _known_dtype(dtype)
        if not is_floating(dtype):
            return Tensor(self.operand().astype(dtype))
        return apply(cast, self, dtype=dtype)


class Extremes(NamedTuple):
    """The largest or smallest elements along one dimension, and their indices (int64) in it."""

    values: Tensor
    indices: Tensor


PLAIN.add(Tensor)

# The operations, each a name and a forward function ------------------------------------------------


def _power(x: Array, exponent: float) -> Array:
    if x.dtype.kind != "f":
        x, exponent = _power_operands(x, exponent)
    if exponent == 2:
        return x * x
    if exponent == 0.5:
        return np.sqrt(x)
    if exponent == -1:
        return 1 / x
    if exponent == -0.5:
        return 1 / np.sqrt(x)  # as in PyTorch: -infinity at -0
    return x**exponent


def _power_operands(x: Array, exponent: float) -> tuple[Array, Any]:
    """Return integers in float32 if the exponent is a float, and bfloat16 with an exponent that keeps its dtype."""
    if x.dtype.kind in "iub" and type(exponent) is int and exponent < 0:
        raise SettingError(f"power: {x.dtype} to the power {exponent} is not an integer: "
                           f"use x.to(np.float32) ** {exponent}")  # fmt: skip
    return promoted(x, exponent)


def _pow(x: Array, exponent: Array) -> Array:
    if x.dtype.kind in "iub" and exponent.dtype.kind in "iub" and np.any(exponent < 0):
        raise SettingError(f"power: {x.dtype} to a negative power is not an integer: use x.to(np.float32) first")
    return np.power(x, exponent)


def _neg(x: Array) -> Array:
    if x.dtype == bool:
        raise SettingError("neg: a boolean tensor has no negative; write x == False for its opposite")
    return np.negative(x)


def _matmul(a: Array, b: Array) -> Array:
    if np.ndim(a) == 0 or np.ndim(b) == 0 or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ShapeError(f"matmul: shapes {np.shape(a)} and {np.shape(b)} are incompatible: "
                         f"the last dimension of the first must equal the last but one of the second")  # fmt: skip
    if a.dtype is not b.dtype:
        a, b = promoted(a, b)
    return like(np.asarray(a @ b), a) if a.dtype.kind == "V" else a @ b  # float32 for bfloat16


def _getitem(x: Array, index: Any) -> Array:
    """Return the values of x at `index`, as NumPy does: a view for numbers and slices, a copy for arrays of indices.

    Raises:
        ShapeError: NumPy raises an IndexError. The message is "getitem: index 5 is not valid for shape (2, 3) (...)".
    """
    try:
        y = x[index]
        if isinstance(y, np.generic):  # one element: a view of it, so that x[0].zero_() changes x
            y = x[(*index, ...)] if isinstance(index, tuple) else x[index, ...]
        return y
    except IndexError as error:
        raise ShapeError(f"getitem: index {index} is not valid for shape {x.shape} ({error})") from None


def _max_along(x: Array, dim: int, keepdim: bool) -> tuple[Array, Array]:
    """Return the largest values, and their indices with the dimension kept."""
    return _along(x, x.argmax(axis=dim, keepdims=True), dim, keepdim)


def _min_along(x: Array, dim: int, keepdim: bool) -> tuple[Array, Array]:
    return _along(x, x.argmin(axis=dim, keepdims=True), dim, keepdim)


def _along(x: Array, indices: Array, dim: int, keepdim: bool) -> tuple[Array, Array]:
    values = np.take_along_axis(x, indices, dim)
    return values if keepdim else np.squeeze(values, dim), indices


def _mean(x: Array, dim: Axis, keepdim: bool) -> Array:
    if x.dtype.kind == "f" and x.dtype.itemsize > 2:
        return x.mean(axis=dim, keepdims=keepdim)
    return like(np.asarray(x.mean(axis=dim, keepdims=keepdim, dtype=np.float64), np.float32), x)


def _cat(*arrays: Array, dim: int) -> Array:
    same = all(x.dtype is arrays[0].dtype for x in arrays)
    return np.concatenate(arrays if same else promoted(*arrays), axis=dim)


# The values are computed in the dtype that PyTorch's table of result types gives: see `base.promotion`
add = Op("add", promoting(np.add))
sub = Op("sub", promoting(np.subtract))
mul = Op("mul", promoting(np.multiply))
div = Op("div", promoting(np.true_divide, floating=True))
neg = Op("neg", _neg)
power = Op("power", _power)  # the exponent is a number
pow_ = Op("pow", promoting(_pow))
matmul = Op("matmul", _matmul)
exp = Op("exp", lambda x: np.exp(in_floating_point(x)))
log = Op("log", lambda x: np.log(in_floating_point(x)))
absolute = Op("abs", np.abs)
maximum = Op("maximum", promoting(np.maximum))
where_ = Op("where", lambda condition, a, b: np.where(condition, *promoted(a, b)))
sum_ = Op("sum", lambda x, dim, keepdim: sum_of(x, axis=dim, keepdims=keepdim))
mean = Op("mean", _mean)
amax = Op("amax", lambda x, dim, keepdim: x.max(axis=dim, keepdims=keepdim))
amin = Op("amin", lambda x, dim, keepdim: x.min(axis=dim, keepdims=keepdim))
max_along = Op("max", _max_along)
min_along = Op("min", _min_along)
reshape = Op("reshape", lambda x, shape: x.reshape(shape))
permute = Op("permute", lambda x, dims: x.transpose(dims))
expand = Op("expand", lambda x, shape: np.broadcast_to(x, shape))
getitem = Op("getitem", _getitem)
cast = Op("cast", lambda x, dtype: x.astype(dtype))
concatenate = Op("cat", _cat)


def as_tensor(x: Any) -> Tensor:
    """Return a Tensor itself, and an array or numbers as a new Tensor; see `Tensor`."""
    return x if isinstance(x, Tensor) else Tensor(x)


def where(condition: Operand, a: Operand, b: Operand) -> Tensor:
    """Return `a` where the condition is true and `b` elsewhere."""
    if condition is None:
        raise InputTypeError("where: condition is None: expected booleans")
    return apply(where_, _raw(condition), a, b)


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Concatenate tensors along an existing dimension, where their sizes may differ: the op `concatenate`."""
    if not len(tensors):
        raise ShapeError("cat: no tensors: expected a list of at least one")
    return apply(concatenate, *tensors, dim=dim)


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Stack tensors of one shape along a new dimension, which is dimension `dim` of the result.

    (2, 3) and (2, 3), stacked along 1, have shape (2, 2, 3): the tensors' index is the new dimension's.
    """
    if not len(tensors):
        raise ShapeError("stack: no tensors: expected a list of at least one")
    return cat([as_tensor(t).unsqueeze(dim) for t in tensors], dim)


# Creating tensors ----------------------------------------------------------------------------------


def zeros(*shape: int, requires_grad: bool = False, dtype: DTypeLike = np.float32) -> Tensor:
    return Tensor(np.zeros(shape, numpy_dtype(dtype)), requires_grad)


def ones(*shape: int, requires_grad: bool = False, dtype: DTypeLike = np.float32) -> Tensor:
    return Tensor(np.ones(shape, numpy_dtype(dtype)), requires_grad)


def randn(*shape: int, requires_grad: bool = False) -> Tensor:
    """Return float32 values from a standard normal distribution, drawn from the default generator."""
    return Tensor(default_generator().standard_normal(shape, np.float32), requires_grad)


def rand(*shape: int, requires_grad: bool = False) -> Tensor:
    """Return float32 values from a uniform distribution over [0, 1), drawn from the default generator."""
    return Tensor(default_generator().random(shape, np.float32), requires_grad)


def _as_array(data: Any, dtype: DTypeLike | None) -> Array:
    """Return data (a Tensor, an array, a number, or nested lists) as an array.

    A Tensor's array, or an array, is returned itself, not copied, unless its dtype must change. `dtype` is the result's
    dtype. If it is None, an array or NumPy scalar keeps its own, and Python numbers get NumPy's, except that float64
    becomes float32.

    Raises:
        ShapeError: nested lists that NumPy cannot arrange: "Tensor: rows of different lengths (...)".
        SettingError: the values are neither real numbers (integers, or `is_floating`) nor booleans:
            "Tensor: dtype <U1: expected real numbers or booleans".
    """
    if isinstance(data, Tensor):
        data = data.data
    given = isinstance(data, (np.ndarray, np.generic))
    dtype = None if dtype is None else _known_dtype(dtype)
    try:
        array = np.asarray(data, dtype)
    except ValueError as error:
        raise ShapeError(f"Tensor: rows of different lengths, or not numbers ({error})") from None
    except TypeError:
        raise InputTypeError(f"Tensor: data is {described(data)}: expected numbers, lists, or an array") from None
    if array.dtype == object:
        raise InputTypeError(f"Tensor: data is {described(data)}: expected numbers, lists of numbers, or an array")
    if array.dtype.kind not in "iub" and not is_floating(array.dtype):
        raise SettingError(f"Tensor: dtype {array.dtype}: expected real numbers or booleans")
    if dtype is None and not given and array.dtype == np.float64:
        return array.astype(np.float32)  # Python floats; an array keeps its dtype
    return array


def _known_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    try:
        return numpy_dtype(dtype)
    except TypeError:
        raise InputTypeError(f"dtype is {described(dtype)}: expected one such as np.float32 or 'bfloat16'") from None


def _raw(x: Any) -> Any:
    return x.operand() if isinstance(x, Tensor) else x


def _raw_index(index: Any) -> Any:
    return tuple(_raw(i) for i in index) if isinstance(index, tuple) else _raw(index)


def _flat(shape: tuple[Any, ...]) -> tuple[SupportsIndex, ...]:
    """Return a shape given as separate numbers or as one tuple: reshape(2, 3) equals reshape((2, 3))."""
    return tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
