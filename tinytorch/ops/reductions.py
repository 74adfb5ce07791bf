"""Reductions, orders, and cumulative sums."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tinytorch.autograd import derivative
from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.ops.common import as_tensor, axis_of, dims_of, fit_together, raw, rename_all
from tinytorch.ops.elementwise import floating
from tinytorch.tensor import Array, Op, Tensor, apply, is_floating


class Ordered(NamedTuple):
    """The result of `topk`, `sort`, and their kind: `values, indices = x.topk(3)`."""

    values: Tensor
    indices: Tensor


# Spread -------------------------------------------------------------------------------------------------


def _root_x(g: Array, y: Array, x: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):  # at 0, the subgradient 0
        return np.where(y == 0, 0, g / (2 * y))


root_ = Op("root", np.sqrt)
derivative(root_, _root_x)


def std(x: Tensor, dim: Any = None, *given: Any, **named: Any) -> Tensor:
    """Return the standard deviation: the root of `var`, with its arguments; its gradient is 0 where it is 0."""
    return apply(root_, x.var(dim, *given, **named))


def norm(x: Tensor, p: Any = 2, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Return (sum |x|^p)^(1/p); p = inf is the largest |x|. The gradient of the zero vector is 0."""
    dims = None if dim is None else dims_of("norm", dim, x.ndim)
    if p in ("fro", 2, None):
        return apply(root_, (x * x).sum(dims, keepdim))
    if p == 1:
        return x.abs().sum(dims, keepdim)
    if p in (math.inf, -math.inf):
        return _extreme(x.abs(), p > 0, dims, keepdim)
    if p == 0:
        return Tensor(np.count_nonzero(x.data, axis=dims, keepdims=keepdim).astype(x.dtype))
    return (x.abs() ** p).sum(dims, keepdim) ** (1 / p)


def _extreme(x: Tensor, largest: bool, dim: Any, keepdim: bool) -> Tensor:
    from tinytorch.tensor import amax as op  # `Tensor.max` returns a pair for one dimension

    return apply(op, x, dim=dim, keepdim=keepdim) if largest else -apply(op, -x, dim=dim, keepdim=keepdim)


def amax(x: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Return the largest values; equal ones share the gradient."""
    return _extreme(x, True, dims_of("amax", dim, x.ndim), keepdim)


def amin(x: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Return the smallest values; equal ones share the gradient."""
    return _extreme(x, False, dims_of("amin", dim, x.ndim), keepdim)


def logsumexp(x: Tensor, dim: int | tuple[int, ...] | list[int], keepdim: bool = False) -> Tensor:
    """Return log(sum e^x), without overflow."""
    dims = dims_of("logsumexp", dim, x.ndim)[: x.ndim]  # a number has none
    x = floating(x)
    largest = x.data.max(axis=dims, keepdims=True)
    largest = np.where(np.isfinite(largest), largest, 0).astype(x.dtype)
    total = (x - largest).exp().sum(dims, True).log() + largest
    return total if keepdim else total.reshape(tuple(n for i, n in enumerate(x.shape) if i not in dims))


# Products and cumulative sums ---------------------------------------------------------------------------


def _prod_x(g: Array, y: Array, x: Array, dim: int, keepdim: bool) -> Array:
    """Return g times the product of all other elements: exact where an element is 0."""
    if not keepdim:
        g = np.expand_dims(g, dim)
    before = np.ones_like(x)
    after = np.ones_like(x)
    moved, low, high = (np.moveaxis(a, dim, 0) for a in (x, before, after))
    low[1:] = np.cumprod(moved[:-1], axis=0)
    high[:-1] = np.cumprod(moved[:0:-1], axis=0)[::-1]
    return g * before * after


prod_ = Op("prod", lambda x, dim, keepdim: x.prod(axis=dim, keepdims=keepdim))
derivative(prod_, _prod_x)
cumsum_ = Op("cumsum", lambda x, dim: x.cumsum(axis=dim))
derivative(cumsum_, lambda g, y, x, dim: np.flip(np.flip(g, dim).cumsum(axis=dim), dim))


def prod(x: Tensor, dim: int | None = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """Return the product of the elements."""
    x = x if dtype is None else x.to(dtype)
    if dim is None:
        return apply(prod_, x.reshape(-1), dim=0, keepdim=False)
    return apply(prod_, x, dim=axis_of("prod", dim, x.ndim), keepdim=keepdim)


def cumsum(x: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """Return the sums of the elements up to each one, along `dim`."""
    return apply(cumsum_, x if dtype is None else x.to(dtype), dim=axis_of("cumsum", dim, x.ndim))


def _cumprod_x(g: Array, y: Array, x: Array, dim: int) -> Array:
    """Return sum over j >= i of g_j times the product of x_k for k <= j, k != i; one pass per element, exact at 0."""
    moved, out = np.moveaxis(x, dim, 0), np.zeros_like(x)
    g, into = np.moveaxis(g, dim, 0), np.moveaxis(out, dim, 0)
    for i in range(len(moved)):
        others = moved.copy()
        others[i] = 1
        into[i] = (g * np.cumprod(others, axis=0))[i:].sum(axis=0)
    return out


cumprod_ = Op("cumprod", lambda x, dim: x.cumprod(axis=dim))
derivative(cumprod_, _cumprod_x)


def cumprod(x: Tensor, dim: int) -> Tensor:
    """Return the products of the elements up to each one, along `dim`."""
    return apply(cumprod_, x, dim=axis_of("cumprod", dim, x.ndim))


# Orders -------------------------------------------------------------------------------------------------


def _taken(x: Tensor, order: Array, dim: int) -> Tensor:
    """Return x's elements at the indices `order` along `dim`."""
    places = list(np.ogrid[tuple(slice(n) for n in order.shape)])
    places[dim] = order
    return x[tuple(places)]


def argsort(x: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """Return the indices that sort the elements along `dim`; equal elements keep their order."""
    if x.ndim == 0:
        return Tensor(np.array(0))
    dim = axis_of("argsort", dim, x.ndim)
    if not descending:
        return Tensor(np.argsort(x.data, axis=dim, kind="stable"))
    backwards = np.flip(np.argsort(np.flip(x.data, dim), axis=dim, kind="stable"), dim)
    return Tensor(x.shape[dim] - 1 - backwards)


def sort(x: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> Ordered:
    """Return the elements along `dim` in order, and their indices."""
    if x.ndim == 0:
        return Ordered(x, Tensor(np.array(0)))
    dim = axis_of("sort", dim, x.ndim)
    order = argsort(x, dim, descending)
    return Ordered(_taken(x, order.data, dim), order)


def topk(x: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Ordered:
    """Return the k largest elements along `dim`, the largest first, and their indices.

    Raises:
        ShapeError: k is larger than the dimension.
    """
    dim = axis_of("topk", dim, x.ndim)
    if not 0 <= k <= (x.shape[dim] if x.ndim else 1):
        raise ShapeError(f"topk: k {k}: expected 0 to {x.shape[dim]}, the size of dimension {dim}")
    order = np.take(argsort(x, dim, descending=largest).data, np.arange(k), axis=dim)
    return Ordered(_taken(x, order, dim), Tensor(order))


def kthvalue(x: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Ordered:
    """Return the k-th smallest element along `dim`, counted from 1, and its index."""
    dim = axis_of("kthvalue", dim, x.ndim)
    if x.ndim == 0:
        x, keepdim = x.reshape(1), False
    if not 1 <= k <= x.shape[dim]:
        raise ShapeError(f"kthvalue: k {k}: expected 1 to {x.shape[dim]}, the size of dimension {dim}")
    order = np.take(argsort(x, dim).data, [k - 1], axis=dim)
    values = _taken(x, order, dim)
    return Ordered(values, Tensor(order)) if keepdim else Ordered(values.squeeze(dim), Tensor(order.squeeze(dim)))


def median(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """Return the median, the lower one of an even number; with `dim`, also its index."""
    if dim is None:
        return kthvalue(x.reshape(-1), (x.numel() + 1) // 2, 0).values
    dim = axis_of("median", dim, x.ndim)
    return kthvalue(x, ((x.shape[dim] if x.ndim else 1) + 1) // 2, dim, keepdim)


def argmin(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Return the index of the smallest element along `dim`, or in the flattened tensor."""
    axis: Any = None if dim is None or not x.ndim else axis_of("argmin", dim, x.ndim)
    found = x.data.argmin(axis=axis, keepdims=keepdim)
    return Tensor(np.asarray(found))


def unique(x: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False) -> Any:
    """Return the different values in order; on request also each element's place among them, and their counts."""
    wanted: Any = {"return_inverse": return_inverse, "return_counts": return_counts}
    found: Any = np.unique(x.data, **wanted)
    if not (return_inverse or return_counts):
        return Tensor(np.asarray(found))
    values, *rest = found
    if return_inverse:
        rest[0] = rest[0].reshape(x.shape)
    return (Tensor(values), *map(Tensor, rest))


# Questions: no gradient ---------------------------------------------------------------------------------


def _axes(name: str, dim: Any, x: Tensor) -> Any:
    """Return NumPy's `axis` for one dimension, several, or all of them."""
    return None if dim is None or not x.ndim else dims_of(name, dim, x.ndim)


def all(x: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Return whether all elements are true."""
    return Tensor(np.asarray(np.all(x.data, axis=_axes("all", dim, x), keepdims=keepdim)))


def any(x: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Return whether any element is true."""
    return Tensor(np.asarray(np.any(x.data, axis=_axes("any", dim, x), keepdims=keepdim)))


def count_nonzero(x: Tensor, dim: Any = None) -> Tensor:
    """Return the number of elements that are not 0."""
    return Tensor(np.asarray(np.count_nonzero(x.data, axis=_axes("count_nonzero", dim, x))))


def nonzero(x: Tensor, as_tuple: bool = False) -> Any:
    """Return the indices of the elements that are not 0, one row each; or one tensor per dimension."""
    found = np.nonzero(x.data)
    return tuple(map(Tensor, found)) if as_tuple else Tensor(np.stack(found, axis=1))


def bincount(x: Tensor, weights: Any = None, minlength: int = 0) -> Tensor:
    """Return how often each of the numbers 0, 1, 2, ... occurs in a vector."""
    if x.ndim != 1 or is_floating(x.dtype):
        raise SettingError(f"bincount: {x.dtype} of shape {x.shape}: expected a vector of integers")
    return Tensor(np.bincount(x.data, raw(weights), minlength))


def equal(a: Tensor, b: Tensor) -> bool:
    """Return whether both tensors have the same shape and values."""
    return bool(np.array_equal(a.data, raw(b)))


def isclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """Return |a - b| <= atol + rtol |b| for each element."""
    a, b = as_tensor(a), as_tensor(b)
    fit_together("isclose", a, b)
    return Tensor(np.asarray(np.isclose(a.data, b.data, rtol, atol, equal_nan)))


def allclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Return whether all elements are close: see `isclose`."""
    a, b = as_tensor(a), as_tensor(b)
    fit_together("allclose", a, b)
    return bool(np.allclose(a.data, b.data, rtol, atol, equal_nan))


def nansum(x: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Return the sum without NaNs."""
    return as_tensor(np.nansum(x.data, axis=_axes("nansum", dim, x), keepdims=keepdim))


# The course's methods as functions ----------------------------------------------------------------------


def sum(x: Any, *given: Any, **named: Any) -> Tensor:
    """Return the sum: see `Tensor.sum`."""
    return as_tensor(x).sum(*given, **named)


def mean(x: Any, *given: Any, **named: Any) -> Tensor:
    """Return the mean: see `Tensor.mean`."""
    return as_tensor(x).mean(*given, **named)


def var(x: Any, *given: Any, **named: Any) -> Tensor:
    """Return the variance: see `Tensor.var`."""
    return as_tensor(x).var(*given, **named)


def max(x: Any, *given: Any, **named: Any) -> Any:
    """Return the maximum, along a dimension, or of two tensors: see `Tensor.max` and `maximum`."""
    if given and isinstance(given[0], Tensor):
        return as_tensor(x).maximum(given[0])
    return as_tensor(x).max(*given, **named)


def min(x: Any, *given: Any, **named: Any) -> Any:
    """Return the minimum, along a dimension, or of two tensors: see `Tensor.min` and `minimum`."""
    if given and isinstance(given[0], Tensor):
        return as_tensor(x).minimum(given[0])
    return as_tensor(x).min(*given, **named)


def argmax(x: Any, *given: Any, **named: Any) -> Tensor:
    """Return the index of the maximum: see `Tensor.argmax`."""
    return as_tensor(x).argmax(*given, **named)


def numel(x: Tensor) -> int:
    """Return the number of elements."""
    return x.numel()


NAMES = (
    "all allclose amax amin any argmax argmin argsort bincount count_nonzero cumprod cumsum equal isclose kthvalue "
    "logsumexp max mean median min nansum nonzero norm numel prod sort std sum topk unique var"
)
METHODS: dict[str, Any] = {**rename_all(NAMES, globals()), "nelement": numel}
