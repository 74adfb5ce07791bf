"""Changes in place: `w -= lr * w.grad`, `x[0] = 1`, `zero_`, `copy_`, and their kind.

Under `no_grad`, or if nothing requires a gradient, a change writes into the tensor's memory, and all of its views see
it. `base.changes` records it, so that a backward pass through an earlier use of the old values is an error.

If it is recorded, the tensor becomes the result of the operation, and its old value stays where earlier operations
used it. A tensor that is a view of another then also changes that one, as in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinytorch import tensor as T
from tinytorch.base import changes
from tinytorch.base.errors import GradientError, SettingError, ShapeError
from tinytorch.ops import creation, elementwise, indexing, shapes
from tinytorch.ops.common import raw
from tinytorch.tensor import Array, Node, Tensor, is_floating, is_grad_enabled

Change = Callable[..., Tensor]


def write(x: Tensor, values: Array, name: str) -> Tensor:
    """Write values into x's memory, and return x.

    Raises:
        ShapeError: the values have more elements than x.
        SettingError: they are floating point, or x cannot hold them otherwise.
    """
    if values.shape != x.shape:
        try:
            values = np.broadcast_to(values, x.shape)
        except ValueError:
            raise ShapeError(
                f"{name}: values of shape {values.shape} do not fit into a tensor of shape {x.shape}"
            ) from None
    if is_floating(values.dtype) and not is_floating(x.dtype):
        raise SettingError(f"{name}: {values.dtype} values do not fit into {x.dtype}; convert the tensor first")
    if not x.data.flags.writeable:  # a view with repeated elements, or the caller's read-only array
        raise SettingError(f"{name}: this tensor shares elements or is read-only; use .clone() first")
    changes.note(x.data)
    x.data[...] = values
    return x


def _check_leaf(x: Tensor, name: str) -> None:
    while (base := _base(x)) is not None:
        x = base
    if x.requires_grad and x.node is None:
        raise GradientError(
            f"{name}: a leaf that requires a gradient, of shape {x.shape}, cannot be changed in place while operations "
            f"are recorded; write `with no_grad():` around it, or use an optimizer"
        )


def _base(x: Tensor) -> Tensor | None:
    """Return the tensor whose memory x uses, if x was recorded as a view of it."""
    node = x.node
    if node is None or node.op not in _UNDO or not isinstance(node.inputs[0], Tensor):
        return None
    return node.inputs[0] if changes.owner(x.data) is changes.owner(node.arrays[0]) else None


def _twin(x: Tensor) -> Tensor:
    """Return a tensor with x's value, computed as x was."""
    twin = Tensor.__new__(Tensor)
    twin.data, twin.node, twin.grad, twin.requires_grad = x.data, x.node, None, x.requires_grad
    return twin


def _stand_in(x: Tensor) -> Tensor:
    """Return a tensor that takes over x's value and place in the graph."""
    before = _twin(x)
    changes.move(x, before)
    return before


def _become(x: Tensor, out: Tensor) -> None:
    """Let x, whose old place a stand-in has taken, be the result `out`. If x is a view, change what it views, too."""
    view, base = x.node, _base(x)
    if view is not None and base is not None:
        before = _stand_in(base)
        view.inputs = (before, *view.inputs[1:])
        _become(base, _UNDO[view.op](before, out, view))
        out = T.apply(view.op, base, **view.attrs)  # x stays a view
    x.data, x.node, x.requires_grad = out.data, out.node, out.requires_grad


def _unpermute(base: Tensor, x: Tensor, view: Node) -> Tensor:
    return x.permute(*np.argsort([d % x.ndim for d in view.attrs["dims"]]).tolist())


_UNDO: dict[T.Op, Callable[[Tensor, Tensor, Node], Tensor]] = {
    T.reshape: lambda base, x, view: x.reshape(base.shape),
    T.permute: _unpermute,
    T.getitem: lambda base, x, view: indexing.put(base, view.attrs["index"], x),
}


def change(x: Tensor, function: Callable[..., Tensor], *given: Any, name: str, **named: Any) -> Tensor:
    """Let x be `function(x, ...)` in place, and return x.

    Raises:
        GradientError: x is a leaf that requires a gradient, and operations are recorded.
        SettingError: x holds integers, and the result does not fit.
    """
    recorded = is_grad_enabled() and any(
        isinstance(v, Tensor) and v.requires_grad for v in (x, *given, *named.values())
    )
    if is_grad_enabled():
        _check_leaf(x, name)
    if not recorded:
        return write(x, function(x, *given, **named).data, name)
    before = _twin(x)
    out = function(before, *given, **named)
    if out.shape != x.shape:
        raise ShapeError(f"{name}: the result has shape {out.shape}, but the tensor has shape {x.shape}")
    if out.dtype != x.dtype:
        if not is_floating(x.dtype):
            raise SettingError(f"{name}: {out.dtype} values do not fit into {x.dtype}; convert the tensor first")
        out = out.to(x.dtype)
    changes.move(x, before)
    _become(x, out)
    return x


def _changer(name: str, function: Callable[..., Tensor]) -> Change:
    def method(x: Tensor, *given: Any, **named: Any) -> Tensor:
        return change(x, function, *given, name=name, **named)

    method.__name__ = name
    method.__doc__ = f"Do `{name.strip('_')}` in place, and return the tensor."
    return method


# Operators ----------------------------------------------------------------------------------------------

add = _changer("+=", lambda x, other: x + other)
sub = _changer("-=", lambda x, other: x - other)
mul = _changer("*=", lambda x, other: x * other)
div = _changer("/=", lambda x, other: x / other)
power = _changer("**=", elementwise.pow)


def setitem(x: Tensor, index: Any, value: Any) -> None:
    """Put a value at x[index], in place.

    Raises:
        GradientError: x is a leaf that requires a gradient, and operations are recorded.
        ShapeError: the index or the value does not fit.
    """
    place = tuple(raw(i) for i in index) if isinstance(index, tuple) else raw(index)
    if isinstance(place, list):
        place = np.asarray(place)
    if is_grad_enabled():
        _check_leaf(x, "x[index] = value")
        if x.requires_grad or (isinstance(value, Tensor) and value.requires_grad):
            change(x, lambda before, new: indexing.put(before, place, new), value, name="x[index] = value")
            return
    values = np.asarray(raw(value))
    if is_floating(values.dtype) and not is_floating(x.dtype):
        raise SettingError(
            f"x[index] = value: {values.dtype} values do not fit into {x.dtype}; convert the tensor first"
        )
    changes.note(x.data)
    try:
        x.data[place] = values
    except (IndexError, ValueError) as error:
        raise ShapeError(f"x[index] = value: index {index} and value of shape {values.shape} do not fit a tensor of "
                         f"shape {x.shape} ({error})") from None  # fmt: skip


# Filling: the old values and their gradient are lost ----------------------------------------------------


def _filler(name: str, values: Callable[..., Any]) -> Change:
    def method(x: Tensor, *given: Any, **named: Any) -> Tensor:
        array = np.asarray(values(x, *given, **named))
        kind = x.dtype if is_floating(x.dtype) or array.dtype.kind in "iub" else array.dtype
        return change(x, lambda before: Tensor(np.broadcast_to(array, before.shape).astype(kind)), name=name)

    method.__name__ = name
    return method


def _fill(x: Tensor, value: Any) -> Any:
    return raw(value)


def _draw(x: Tensor, generator: Any, normal: bool) -> Array:
    rng = creation.numpy_generator(generator)
    wide = x.dtype == np.float64
    draw = rng.standard_normal if normal else rng.random
    return np.asarray(draw(x.shape, np.float64 if wide else np.float32))


def _uniform(x: Tensor, a: float = 0.0, b: float = 1.0, *, generator: Any = None) -> Array:
    return a + (b - a) * _draw(x, generator, False)


def _normal(x: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Array:
    return mean + std * _draw(x, generator, True)


def _exponential(x: Tensor, lambd: float = 1.0, *, generator: Any = None) -> Array:
    return -np.log1p(-_draw(x, generator, False)) / lambd


def _bernoulli(x: Tensor, p: Any = 0.5, *, generator: Any = None) -> Array:
    return (_draw(x, generator, False) < raw(p)).astype(x.dtype)


def _random(x: Tensor, low: int = 0, high: int | None = None, *, generator: Any = None) -> Array:
    low, high = (0, low) if high is None and low else (low, 2**24 if high is None else high)
    return creation.numpy_generator(generator).integers(low, high, x.shape)


zero_ = _filler("zero_", lambda x: np.zeros((), x.dtype))
fill_ = _filler("fill_", _fill)
uniform_ = _filler("uniform_", _uniform)
normal_ = _filler("normal_", _normal)


def copy_(x: Tensor, source: Any, non_blocking: bool = False) -> Tensor:
    """Copy values into x, in x's dtype; a gradient flows to the source."""

    def values(before: Tensor) -> Tensor:
        given = source if isinstance(source, Tensor) else Tensor(source)
        if given.dtype != x.dtype:
            given = given.to(x.dtype)
        return given if given.shape == x.shape else given.expand(*x.shape)

    if isinstance(source, Tensor) and source.requires_grad and is_grad_enabled():
        _check_leaf(x, "copy_")
        _become(x, elementwise.mul(values(_stand_in(x)), 1))
        return x
    return _copy_plain(x, raw(values(x)))


def _copy_plain(x: Tensor, array: Array) -> Tensor:
    if is_grad_enabled():
        _check_leaf(x, "copy_")
        if x.requires_grad:
            return _filler("copy_", lambda _: array)(x)
    return write(x, array, "copy_")


# Flags and shapes ---------------------------------------------------------------------------------------


def requires_grad_(x: Tensor, requires_grad: bool = True) -> Tensor:
    """Set whether `backward()` stores a gradient for this leaf; return it.

    Raises:
        GradientError: it is no leaf, or holds no floating-point numbers.
    """
    if x.node is not None and not requires_grad:
        raise GradientError("requires_grad_: a result of an operation requires a gradient; use .detach()")
    if requires_grad and not is_floating(x.dtype):
        raise GradientError(f"requires_grad_: only floating-point tensors can require a gradient, not {x.dtype}")
    x.requires_grad = requires_grad
    return x


def detach_(x: Tensor) -> Tensor:
    """Forget how the tensor was computed: it becomes a leaf that requires no gradient."""
    _stand_in(x)
    x.node, x.requires_grad = None, False
    return x


def _reshaper(function: Callable[..., Tensor]) -> Change:
    def method(x: Tensor, *given: Any) -> Tensor:
        before = _stand_in(x)
        out = function(before, *given)
        x.data, x.node, x.requires_grad = out.data, out.node, out.requires_grad
        return x

    return method


_FUNCTIONS = (
    "abs addcdiv addcmul clamp clamp_max clamp_min cos exp floor lerp log neg pow reciprocal relu round rsqrt sigmoid "
    "sin sqrt square tanh"
)
_INDEXED = "index_add index_copy index_fill masked_fill scatter scatter_add"

METHODS: dict[str, Any] = {
    **{f"{name}_": _changer(f"{name}_", elementwise.METHODS[name]) for name in _FUNCTIONS.split()},
    **{f"{name}_": _changer(f"{name}_", getattr(indexing, name)) for name in _INDEXED.split()},
    **{f"{name}_": _changer(f"{name}_", getattr(elementwise, name)) for name in ("add", "sub", "mul", "div")},
    "__iadd__": add, "__isub__": sub, "__imul__": mul, "__itruediv__": div, "__ipow__": power, "__setitem__": setitem,
    "zero_": zero_, "fill_": fill_, "uniform_": uniform_, "normal_": normal_, "copy_": copy_,
    "exponential_": _filler("exponential_", _exponential), "bernoulli_": _filler("bernoulli_", _bernoulli),
    "random_": _filler("random_", _random),
    "tril_": _changer("tril_", shapes.tril), "triu_": _changer("triu_", shapes.triu),
    "requires_grad_": requires_grad_, "detach_": detach_,
    "squeeze_": _reshaper(shapes.squeeze), "unsqueeze_": _reshaper(shapes.unsqueeze), "t_": _reshaper(shapes.t),
}  # fmt: skip
