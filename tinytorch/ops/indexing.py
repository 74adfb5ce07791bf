"""Elements chosen by tensors of indices or masks, and values put there."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch import tensor as T
from tinytorch.autograd import derivative
from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.graph.reads import reads
from tinytorch.ops.common import as_tensor, axis_of, raw, rename_all
from tinytorch.tensor import Array, Op, Tensor, apply


def indices_of(name: str, index: Any, size: int) -> Array:
    """Return indices as int64, each from 0 to size - 1.

    Raises:
        SettingError: an index is not an integer, or there is no such element.
    """
    array = np.asarray(raw(index))
    if array.dtype.kind not in "iu":
        raise SettingError(f"{name}: indices of dtype {array.dtype}: expected integers")
    if array.size and not -size <= array.min() <= array.max() < size:
        raise SettingError(f"{name}: indices from {array.min()} to {array.max()}: expected {-size} to {size - 1}")
    return array.astype(np.int64)


def _places(shape: tuple[int, ...], index: Array, dim: int) -> tuple[Array, ...]:
    """Return the full indices of `gather`: the index along `dim`, and each position's own along the others."""
    places = list(np.ogrid[tuple(slice(n) for n in index.shape)])
    places[dim] = index
    return tuple(places)


def _checked(name: str, x: Tensor, dim: int, index: Any) -> tuple[int, Array]:
    dim = axis_of(name, dim, x.ndim)
    array = indices_of(name, index, x.shape[dim] if x.ndim else 1)
    fits = all(n <= m for i, (n, m) in enumerate(zip(array.shape, x.shape, strict=False)) if i != dim)
    if array.ndim != x.ndim or not fits:
        raise ShapeError(f"{name}: indices of shape {array.shape} for a tensor of shape {x.shape}: expected as many "
                         f"dimensions, and no larger ones except dimension {dim}")  # fmt: skip
    return dim, array


def gather(x: Tensor, dim: int, index: Any) -> Tensor:
    """Return y[i, j] = x[index[i, j], j] for dim 0, x[i, index[i, j]] for dim 1, and so on; y has the index's shape."""
    dim, array = _checked("gather", x, dim, index)
    return x[_places(x.shape, array, dim)]


def take_along_dim(x: Tensor, indices: Any, dim: int) -> Tensor:
    """Return `gather`, with the other dimensions broadcast."""
    dim, array = axis_of("take_along_dim", dim, x.ndim), np.asarray(raw(indices))
    shape = list(np.broadcast_shapes(*((*s[:dim], 1, *s[dim + 1 :]) for s in (x.shape, array.shape))))
    sizes = [(*shape[:dim], n, *shape[dim + 1 :]) for n in (x.shape[dim], array.shape[dim])]
    return gather(x.expand(*sizes[0]), dim, np.broadcast_to(array, sizes[1]))


def index_select(x: Tensor, dim: int, index: Any) -> Tensor:
    """Return the slices at a vector of indices along `dim`."""
    dim = axis_of("index_select", dim, x.ndim)
    return x[(slice(None),) * dim + (indices_of("index_select", index, x.shape[dim]),)]


def take(x: Tensor, index: Any) -> Tensor:
    """Return the elements at indices into the flattened tensor."""
    return x.reshape(-1)[indices_of("take", index, x.numel())]


# Putting values -----------------------------------------------------------------------------------------


def _put(x: Array, value: Any, index: Any) -> Array:
    out = x.copy()
    out[index] = value
    return out


def _put_x(g: Array, y: Array, x: Array, value: Any, index: Any) -> Array:
    return _put(g, 0, index)


def _put_value(g: Array, y: Array, x: Array, value: Any, index: Any) -> Array:
    part = g[index]
    return part.reshape(part.shape[part.ndim - np.ndim(value) :]) if part.ndim < np.ndim(value) else part


def _put_added(x: Array, value: Any, index: Any) -> Array:
    out = x.copy()
    np.add.at(out, index, value)
    return out


put_ = Op("setitem", _put)  # x with `value` at x[index]
put_added_ = Op("index_add", _put_added)
derivative(put_, _put_x, _put_value)
derivative(put_added_, lambda g, y, x, value, index: g, lambda g, y, x, value, index: g[index])
reads(put_, ())
reads(put_added_, ())


def put(x: Tensor, index: Any, value: Any) -> Tensor:
    """Return x with the value in place of x[index]; gradients flow to both."""
    return apply(put_, x, value, index=index)


def _source(value: Any, shape: tuple[int, ...]) -> Any:
    """Return the part of a source tensor that has as many elements as the index."""
    return value[tuple(slice(n) for n in shape)] if isinstance(value, Tensor) and value.ndim else value


def scatter(
    x: Tensor, dim: int, index: Any, src: Any = None, *, value: Any = None, reduce: str | None = None
) -> Tensor:
    """Return x with y[index[i, j], j] = src[i, j] for dim 0, and so on: the inverse of `gather`."""
    dim, array = _checked("scatter", x, dim, index)
    given = _source(value if src is None else src, array.shape)
    if reduce not in (None, "add"):
        raise SettingError(f"scatter: reduce {reduce!r}: expected None or 'add'")
    return apply(put_added_ if reduce else put_, x, given, index=_places(x.shape, array, dim))


def scatter_add(x: Tensor, dim: int, index: Any, src: Any) -> Tensor:
    """Return x with src[i, j] added at [index[i, j], j] for dim 0, and so on; repeated indices add up."""
    dim, array = _checked("scatter_add", x, dim, index)
    return apply(put_added_, x, _source(src, array.shape), index=_places(x.shape, array, dim))


def index_add(x: Tensor, dim: int, index: Any, source: Any, *, alpha: float = 1) -> Tensor:
    """Return x with the slices of `source` added at a vector of indices along `dim`."""
    dim = axis_of("index_add", dim, x.ndim)
    place = (slice(None),) * dim + (indices_of("index_add", index, x.shape[dim]),)
    return apply(put_added_, x, source if alpha == 1 else source * alpha, index=place)


def index_copy(x: Tensor, dim: int, index: Any, source: Any) -> Tensor:
    """Return x with the slices of `source` at a vector of indices along `dim`."""
    dim = axis_of("index_copy", dim, x.ndim)
    return put(x, (slice(None),) * dim + (indices_of("index_copy", index, x.shape[dim]),), source)


def index_fill(x: Tensor, dim: int, index: Any, value: float) -> Tensor:
    """Return x with one value at a vector of indices along `dim`."""
    return index_copy(x, dim, index, value)


# Masks --------------------------------------------------------------------------------------------------


def _mask(name: str, mask: Any) -> Array:
    array = np.asarray(raw(mask))
    if array.dtype != bool:
        raise SettingError(f"{name}: mask of dtype {array.dtype}: expected bool; compare first, as in (x == 0)")
    return array


def masked_fill(x: Tensor, mask: Any, value: Any) -> Tensor:
    """Return x with the value where the mask is true; no gradient flows from there."""
    array = _mask("masked_fill", mask)
    shape = np.broadcast_shapes(x.shape, array.shape)
    filled = T.where(~array, x, value if isinstance(value, Tensor) else x.dtype.type(value))
    return filled if filled.shape == shape else filled.expand(*shape)


def masked_select(x: Tensor, mask: Any) -> Tensor:
    """Return the elements where the mask is true, as a vector."""
    array = _mask("masked_select", mask)
    shape = np.broadcast_shapes(x.shape, array.shape)
    return x.expand(*shape)[np.broadcast_to(array, shape)]


def where(condition: Any, a: Any = None, b: Any = None) -> Any:
    """Return a where the condition is true and b elsewhere; without them, the indices of the true elements."""
    if a is None:
        return tuple(map(Tensor, np.nonzero(raw(condition))))
    return T.where(condition, a, b)


def contains(x: Tensor, value: Any) -> bool:
    """Return whether any element equals the value: `value in x`."""
    return bool((x.data == as_tensor(value).data).any())


def isin(x: Any, values: Any) -> Tensor:
    """Return whether each element is one of the values."""
    return Tensor(np.isin(raw(x), raw(values)))


def searchsorted(sequence: Any, values: Any, *, right: bool = False) -> Tensor:
    """Return where each value would have to be inserted to keep the sequence in order."""
    return Tensor(
        np.asarray(np.searchsorted(as_tensor(sequence).data, as_tensor(values).data, "right" if right else "left"))
    )


NAMES = (
    "gather index_add index_copy index_fill index_select isin masked_fill masked_select scatter scatter_add "
    "searchsorted take take_along_dim"
)
METHODS: dict[str, Any] = {
    **rename_all(NAMES, globals()),
    "__contains__": contains,
    "where": lambda x, condition, other: T.where(condition, x, as_tensor(other)),
}
