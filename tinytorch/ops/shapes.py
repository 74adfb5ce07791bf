"""Shapes: views, pieces, and repetitions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tinytorch import tensor as T
from tinytorch.autograd import derivative
from tinytorch.base.devices import as_dtype
from tinytorch.base.errors import InputTypeError, SettingError, ShapeError
from tinytorch.base.words import described
from tinytorch.graph.reads import reads
from tinytorch.ops.common import as_tensor, axis_of, dims_of, integers_of, rename_all, sizes_of
from tinytorch.tensor import Op, Tensor, apply


class Size(tuple[int, ...]):
    """A shape, as `t.size()` returns it."""

    __slots__ = ()

    def __new__(cls, sizes: Iterable[int] = ()) -> Size:
        return super().__new__(cls, integers_of("Size", sizes, "sizes"))

    def numel(self) -> int:
        """Return the number of elements."""
        return math.prod(self)

    def __repr__(self) -> str:
        return f"Size({list(self)})"


def size(x: Tensor, dim: int | None = None) -> Any:
    """Return the shape, or the size of one dimension."""
    return Size(x.shape) if dim is None else x.shape[axis_of("size", dim, x.ndim)]


def dim(x: Tensor) -> int:
    """Return the number of dimensions."""
    return x.ndim


def stride(x: Tensor, dim: int | None = None) -> Any:
    """Return the steps of the dimensions, in elements."""
    steps = tuple(step // x.data.itemsize for step in x.data.strides)
    return steps if dim is None else steps[dim]


# Views --------------------------------------------------------------------------------------------------


def view(x: Tensor, *shape: Any) -> Tensor:
    """Return the values in another shape, as `reshape`; `view(dtype)` converts nothing and reinterprets the bytes."""
    if len(shape) == 1 and (isinstance(shape[0], np.dtype | str)):
        return Tensor(x.data.view(as_dtype(shape[0])))
    return x.reshape(*shape)


def view_as(x: Tensor, other: Tensor) -> Tensor:
    """Return the values in the shape of another tensor."""
    return x.reshape(other.shape)


def expand_as(x: Tensor, other: Tensor) -> Tensor:
    """Expand dimensions of size 1 to the shape of another tensor."""
    return x.expand(*other.shape)


def broadcast_to(x: Tensor, *shape: Any) -> Tensor:
    """Expand dimensions of size 1 to the given shape."""
    return x.expand(*sizes_of("broadcast_to", shape))


def contiguous(x: Tensor) -> Tensor:
    """Return x itself if its memory is in the order of its elements, and otherwise a copy that is."""
    return x if x.data.flags.c_contiguous else apply(contiguous_, x)


def is_contiguous(x: Tensor) -> bool:
    """Return whether the memory is in the order of the elements."""
    return bool(x.data.flags.c_contiguous)


def clone(x: Tensor) -> Tensor:
    """Return a copy with memory of its own, through which gradients flow."""
    return apply(clone_, x)


contiguous_ = Op("contiguous", lambda x: np.asarray(x, order="C"))
clone_ = Op("clone", lambda x: x.copy())
derivative(contiguous_, lambda g, y, x: g)
derivative(clone_, lambda g, y, x: g)
reads(contiguous_, ())
reads(clone_, ())


def ravel(x: Tensor) -> Tensor:
    """Return all elements in one dimension."""
    return x.reshape(-1)


def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Flatten the dimensions from start_dim to end_dim into one."""
    method: Any = x.flatten  # with one more argument: see `base.extension`
    return method(start_dim, end_dim)


def unflatten(x: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Split one dimension into several: the inverse of `flatten`."""
    dim = axis_of("unflatten", dim, x.ndim)
    return x.reshape((*x.shape[:dim], *sizes, *x.shape[dim + 1 :]))


def movedim(x: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Move dimensions to other places; the others keep their order."""
    sources, tos = dims_of("movedim", source, x.ndim), dims_of("movedim", destination, x.ndim)
    order = [i for i in range(x.ndim) if i not in sources]
    for to, origin in sorted(zip(tos, sources, strict=True)):
        order.insert(to, origin)
    return x.permute(*order)


def transpose(x: Tensor, dim0: int, dim1: int) -> Tensor:
    """Swap two dimensions."""
    return x.transpose(dim0, dim1)


def permute(x: Tensor, dims: Sequence[int]) -> Tensor:
    """Reorder the dimensions."""
    return x.permute(*dims)


def reshape(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Return the values in another shape."""
    return x.reshape(tuple(shape))


def squeeze(x: Tensor, dim: Any = None) -> Tensor:
    """Remove dimensions of size 1."""
    return x.squeeze(dim)


def unsqueeze(x: Tensor, dim: int) -> Tensor:
    """Insert a dimension of size 1."""
    return x.unsqueeze(dim)


def t(x: Tensor) -> Tensor:
    """Transpose a matrix; a vector stays as it is.

    Raises:
        ShapeError: x has more than two dimensions.
    """
    if x.ndim > 2:
        raise ShapeError(f"t: tensor of shape {x.shape}: expected at most two dimensions; use transpose(dim0, dim1)")
    return x if x.ndim < 2 else x.transpose(0, 1)


def narrow(x: Tensor, dim: int, start: int, length: int) -> Tensor:
    """Return `length` elements along `dim`, from `start` on."""
    dim = axis_of("narrow", dim, x.ndim)
    if start < 0 or length < 0 or start + length > x.shape[dim]:
        raise ShapeError(f"narrow: {length} elements from {start} on, of {x.shape[dim]} along dimension {dim}")
    return x[(slice(None),) * dim + (slice(start, start + length),)]


def select(x: Tensor, dim: int, index: int) -> Tensor:
    """Return the elements at one index along `dim`, without that dimension."""
    return x[(slice(None),) * axis_of("select", dim, x.ndim) + (index,)]


# Pieces -------------------------------------------------------------------------------------------------


def split(x: Tensor, split_size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Split along `dim` into pieces of split_size (the last may be smaller), or of the given sizes."""
    dim = axis_of("split", dim, x.ndim)
    whole = x.shape[dim]
    if isinstance(split_size, int | np.integer):
        if split_size < 1:
            raise SettingError(f"split: split_size {split_size}: expected at least 1")
        sizes = [min(split_size, whole - i) for i in range(0, max(1, whole), split_size)]
    else:
        sizes = list(integers_of("split", split_size, "split_size"))
        if sum(sizes) != whole or min(sizes, default=0) < 0:
            raise ShapeError(
                f"split: sizes {sizes}: expected sizes that add up to {whole}, the size of dimension {dim}"
            )
    starts = np.cumsum([0, *sizes[:-1]])
    return tuple(narrow(x, dim, int(start), n) for start, n in zip(starts, sizes, strict=True))


def chunk(x: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Split along `dim` into at most so many pieces of equal size; the last may be smaller."""
    if chunks < 1:
        raise SettingError(f"chunk: {chunks} chunks: expected at least 1")
    return split(x, max(1, -(-x.shape[axis_of("chunk", dim, x.ndim)] // chunks)), dim)


def tensor_split(x: Tensor, parts: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Split along `dim` into so many pieces whose sizes differ by at most 1, or before the given indices."""
    n = x.shape[axis_of("tensor_split", dim, x.ndim)]
    if isinstance(parts, int | np.integer):
        if parts < 1:
            raise SettingError(f"tensor_split: {parts} parts: expected at least 1")
        return split(x, [n // parts + (i < n % parts) for i in range(parts)], dim)
    edges = [0, *(min(max(0, p + n if p < 0 else p), n) for p in integers_of("tensor_split", parts, "parts")), n]
    return split(x, [max(0, b - a) for a, b in pairwise(edges)], dim)


def unbind(x: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Return the slices along `dim`, without that dimension."""
    return tuple(select(x, dim, i) for i in range(x.shape[axis_of("unbind", dim, x.ndim)]))


# Repetitions and order ----------------------------------------------------------------------------------


def repeat(x: Tensor, *sizes: Any) -> Tensor:
    """Repeat the tensor so many times along each dimension, as NumPy's `tile`."""
    times = sizes_of("repeat", sizes, "sizes")
    if len(times) < x.ndim:
        raise ShapeError(
            f"repeat: {len(times)} numbers for a tensor with {x.ndim} dimensions: expected at least {x.ndim}"
        )
    x = x.reshape((1,) * (len(times) - x.ndim) + x.shape)
    spread = x.reshape(tuple(n for size in x.shape for n in (1, size)))
    spread = spread.expand(*(n for pair in zip(times, x.shape, strict=True) for n in pair))
    return spread.reshape(tuple(n * size for n, size in zip(times, x.shape, strict=True)))


def tile(x: Tensor, *sizes: Any) -> Tensor:
    """Repeat the tensor along its last dimensions."""
    times = sizes_of("tile", sizes, "sizes")
    return repeat(x, (1,) * max(0, x.ndim - len(times)) + times)


def repeat_interleave(x: Tensor, repeats: Any, dim: int | None = None) -> Tensor:
    """Repeat each element so many times in place: [1, 2] -> [1, 1, 2, 2].

    Raises:
        InputTypeError: a number of repeats is not an integer.
        SettingError: a number of repeats is negative.
        ShapeError: there is neither one number nor one for each element along `dim`.
    """
    if dim is None:
        x, dim = x.reshape(-1), 0
    dim = axis_of("repeat_interleave", dim, x.ndim)
    counts = as_tensor(repeats).data
    if counts.size and counts.dtype.kind not in "iu":
        raise InputTypeError(f"repeat_interleave: repeats is {described(repeats)}: expected integers")
    if counts.ndim > 1 or counts.size not in (1, x.shape[dim]):
        raise ShapeError(f"repeat_interleave: repeats of shape {counts.shape}: "
                         f"expected one number, or {x.shape[dim]}, the size of dimension {dim}")  # fmt: skip
    if counts.min(initial=0) < 0:
        raise SettingError(f"repeat_interleave: {counts.min()} repeats: expected at least 0")
    places = np.repeat(np.arange(x.shape[dim]), counts.astype(np.int64))
    return x[(slice(None),) * dim + (places,)]


def flip(x: Tensor, *dims: Any) -> Tensor:
    """Reverse the order of the elements along the given dimensions."""
    chosen = dims_of("flip", sizes_of("flip", dims, "dims"), x.ndim)
    return x[tuple(slice(None, None, -1) if i in chosen else slice(None) for i in range(x.ndim))]


roll_ = Op("roll", lambda x, shifts, dims: np.roll(x, shifts, dims))
derivative(roll_, lambda g, y, x, shifts, dims: np.roll(g, tuple(-s for s in shifts) if dims else -shifts, dims))

reads(roll_, ())


def roll(x: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Tensor:
    """Shift the elements along the given dimensions; those that leave at one end enter at the other."""
    if dims is None:
        return apply(roll_, x, shifts=shifts, dims=None)
    as_tuples = [tuple(v) if isinstance(v, list | tuple) else (v,) for v in (shifts, dims)]
    return apply(roll_, x, shifts=as_tuples[0], dims=as_tuples[1])


def unfold(x: Tensor, dim: int, size: int, step: int) -> Tensor:
    """Return all windows of `size` elements along `dim`, `step` apart, in a new last dimension."""
    dim = axis_of("unfold", dim, x.ndim)
    count = (x.shape[dim] - size) // step + 1
    places = np.arange(count)[:, None] * step + np.arange(size)
    return movedim(x[(slice(None),) * dim + (places,)], dim + 1, -1)


# Triangles and diagonals --------------------------------------------------------------------------------

tril_ = Op("tril", np.tril)
triu_ = Op("triu", np.triu)
derivative(tril_, lambda g, y, x, k: np.tril(g, k))
derivative(triu_, lambda g, y, x, k: np.triu(g, k))
reads(tril_, ())
reads(triu_, ())


def tril(x: Tensor, diagonal: int = 0) -> Tensor:
    """Return the lower triangle of each matrix, and zeros above it."""
    return apply(tril_, as_tensor(x), k=diagonal)


def triu(x: Tensor, diagonal: int = 0) -> Tensor:
    """Return the upper triangle of each matrix, and zeros below it."""
    return apply(triu_, as_tensor(x), k=diagonal)


def diagonal(x: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Return the diagonal of each matrix of two dimensions, as the last dimension."""
    y = movedim(x, (dim1, dim2), (-2, -1))
    rows, columns = y.shape[-2:]
    n = max(0, min(rows + min(0, offset), columns - max(0, offset)))
    i = np.arange(n)
    return y[..., i - min(0, offset), i + max(0, offset)]


_diagonal = diagonal  # the next function has an argument of this name


def diag(x: Tensor, diagonal: int = 0) -> Tensor:
    """Return the diagonal of a matrix, or the matrix with a vector on its diagonal."""
    if x.ndim == 2:
        return _diagonal(x, diagonal)
    n = x.shape[0] + abs(diagonal)
    row = np.arange(n)[:, None] + min(0, diagonal)  # the element of x that belongs in each row
    chosen = (np.arange(n) - max(0, diagonal) == row) & (row >= 0) & (row < x.shape[0])
    return T.where(chosen, x[np.clip(row, 0, max(0, x.shape[0] - 1))], Tensor(np.zeros((), x.dtype)))


# New tensors like this one ------------------------------------------------------------------------------


def new_zeros(x: Tensor, *shape: Any, dtype: Any = None, **_: Any) -> Tensor:
    """Return zeros of another shape, in the dtype of x."""
    return Tensor(np.zeros(sizes_of("new_zeros", shape), as_dtype(dtype) or x.dtype))


def new_ones(x: Tensor, *shape: Any, dtype: Any = None, **_: Any) -> Tensor:
    """Return ones of another shape, in the dtype of x."""
    return Tensor(np.ones(sizes_of("new_ones", shape), as_dtype(dtype) or x.dtype))


def new_full(x: Tensor, shape: Sequence[int], value: float, dtype: Any = None, **_: Any) -> Tensor:
    """Return one value in another shape, in the dtype of x."""
    return Tensor(np.full(tuple(shape), value, as_dtype(dtype) or x.dtype))


def new_tensor(x: Tensor, data: Any, dtype: Any = None, **_: Any) -> Tensor:
    """Return a tensor of the data, in the dtype of x."""
    return Tensor(np.array(T.Tensor(data).data, as_dtype(dtype) or x.dtype))


# Several tensors ----------------------------------------------------------------------------------------


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Return the coordinates of a grid: tensor i, repeated along all other dimensions."""
    given = [
        as_tensor(x) for x in (tensors[0] if len(tensors) == 1 and isinstance(tensors[0], list | tuple) else tensors)
    ]
    if indexing not in ("ij", "xy"):
        raise SettingError(f"meshgrid: indexing {indexing!r}: expected 'ij' or 'xy'")
    n = len(given)
    sizes = [len(x) for x in given]
    grids = [x.reshape((1,) * i + (-1,) + (1,) * (n - 1 - i)).expand(*sizes) for i, x in enumerate(given)]
    return tuple(g.transpose(0, 1) for g in grids) if indexing == "xy" and n > 1 else tuple(grids)


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Concatenate along the second dimension, or the first of vectors."""
    tensors = [as_tensor(x) for x in tensors]
    return T.cat([x.reshape(-1) if x.ndim == 0 else x for x in tensors], 0 if tensors[0].ndim < 2 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Concatenate along the first dimension; vectors become rows."""
    tensors = [as_tensor(x) for x in tensors]
    return T.cat([x.reshape(1, -1) if x.ndim < 2 else x for x in tensors], 0)


concat = concatenate = T.cat
NAMES = (
    "broadcast_to chunk clone diag diagonal flatten flip movedim narrow permute ravel repeat_interleave reshape roll "
    "select split squeeze t tensor_split tile transpose tril triu unbind unflatten unsqueeze"
)
METHODS: dict[str, Any] = {
    **rename_all(NAMES, globals()),
    "contiguous": contiguous, "dim": dim, "expand_as": expand_as, "is_contiguous": is_contiguous, "repeat": repeat,
    "reshape_as": view_as, "size": size, "stride": stride, "unfold": unfold, "view": view, "view_as": view_as,
    "new_empty": new_zeros, "new_full": new_full, "new_ones": new_ones, "new_tensor": new_tensor,
    "new_zeros": new_zeros, "moveaxis": movedim, "swapaxes": transpose, "swapdims": transpose,
    "mT": property(lambda x: x.transpose(-2, -1)), "mH": property(lambda x: x.transpose(-2, -1)),
}  # fmt: skip
