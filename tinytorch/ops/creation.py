"""New tensors: from data, filled with one number, in steps, and drawn at random.

Random functions draw from the default generator, or from a `Generator`. All accept `device="cpu"`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinytorch.base.devices import as_dtype, device
from tinytorch.base.errors import InputTypeError, SettingError, ShapeError
from tinytorch.base.random import default_generator
from tinytorch.base.words import described
from tinytorch.ops.common import raw, sizes_of
from tinytorch.tensor import Array, Tensor, is_floating


class Generator:
    """A random generator of its own, as PyTorch's: `Generator().manual_seed(42)`."""

    def __init__(self, device: Any = "cpu") -> None:
        self.numpy = np.random.default_rng(0)

    def manual_seed(self, seed: int) -> Generator:
        """Start the generator's numbers again from a seed; return the generator."""
        self.numpy = np.random.default_rng(seed)
        return self


def numpy_generator(generator: Generator | None) -> np.random.Generator:
    """Return NumPy's generator: the default one for None."""
    return default_generator() if generator is None else generator.numpy


def _made(array: Array, requires_grad: bool, place: Any = None) -> Tensor:
    if place is not None:
        device(place)
    return Tensor(array, requires_grad)


def tensor(data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a tensor with a copy of the data: numbers, nested lists, an array, or a tensor.

    Python floats become float32, Python integers int64; an array keeps its dtype.
    """
    if isinstance(data, list | tuple) and any(isinstance(x, Tensor) for x in data):
        data = [x.data.tolist() if isinstance(x, Tensor) else x for x in data]
    array = Tensor(data).data
    wanted = as_dtype(dtype)
    return _made(np.array(array, array.dtype if wanted is None else wanted), requires_grad, device)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """Return a tensor of the data, without a copy where possible.

    Raises:
        InputTypeError: it holds no numbers.
    """
    if data is None or isinstance(data, str | bytes | dict | set | type):
        raise InputTypeError(f"data is {described(data)}: expected a Tensor, an array, numbers, or lists of numbers")
    if isinstance(data, Tensor) and as_dtype(dtype) in (None, data.dtype):
        return data
    return from_numpy(data) if isinstance(data, np.ndarray) and dtype is None else tensor(data, dtype, device)


def from_numpy(array: Array) -> Tensor:
    """Return a tensor that shares the array's memory.

    Raises:
        SettingError: it is no NumPy array.
    """
    if not isinstance(array, np.ndarray):
        raise SettingError(f"from_numpy: {type(array).__name__}: expected a NumPy array; use tensor() for other data")
    return Tensor(array)


# Filled -------------------------------------------------------------------------------------------------


def full(size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return one value in the given shape.

    Raises:
        InputTypeError: a size is not an integer, or the value is not one number.
        SettingError: a size is negative.
    """
    shape = _shape("full", (size,), "size")
    if not isinstance(fill_value, bool | int | float):
        number = as_tensor(fill_value)
        if number.numel() != 1:
            raise InputTypeError(
                f"full: fill_value is {described(fill_value)} of shape {number.shape}: expected one number"
            )
        fill_value = number.data.reshape(())
    kind = as_dtype(dtype) or (np.dtype(np.float32) if isinstance(fill_value, float) else np.asarray(fill_value).dtype)
    return _made(np.full(shape, fill_value, kind), requires_grad, device)


def _shape(name: str, size: tuple[Any, ...], argument: str = "shape") -> tuple[int, ...]:
    """Return the shape of a new tensor, given as separate numbers or as one tuple or list."""
    shape = sizes_of(name, size, argument)
    if min(shape, default=0) < 0:
        raise SettingError(f"{name}: {argument} {shape}: expected sizes of at least 0")
    return shape


def _filled(name: str, value: int) -> Any:
    def function(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
        if not size:
            size = ((),)
        return full(_shape(name, size), value, dtype=dtype or np.float32, device=device, requires_grad=requires_grad)

    return function


zeros, ones = _filled("zeros", 0), _filled("ones", 1)
zeros.__doc__, ones.__doc__ = "Return zeros in the given shape.", "Return ones in the given shape."
empty = zeros


def full_like(
    x: Tensor | Array, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return one value in the shape and dtype of x."""
    return full(x.shape, fill_value, dtype=as_dtype(dtype) or x.dtype, device=device, requires_grad=requires_grad)


def zeros_like(x: Tensor | Array, **settings: Any) -> Tensor:
    """Return zeros in the shape and dtype of x."""
    return full_like(x, 0, **settings)


def empty_like(x: Tensor | Array, **settings: Any) -> Tensor:
    """Return `zeros_like(x)`: memory that holds anything would surprise."""
    return zeros_like(x, **settings)


def ones_like(x: Tensor | Array, **settings: Any) -> Tensor:
    """Return ones in the shape and dtype of x."""
    return full_like(x, 1, **settings)


def eye(n: int, m: int | None = None, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return the identity matrix, (n, n) or (n, m)."""
    rows, columns = _shape("eye", (n, n if m is None else m))
    return _made(np.eye(rows, columns, dtype=as_dtype(dtype) or np.float32), requires_grad, device)


# In steps -----------------------------------------------------------------------------------------------


def arange(
    start: float,
    end: float | None = None,
    step: float = 1,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return start, start + step, ... up to but not including end: int64 for integers, otherwise float32."""
    start, end, step = (raw(v) for v in ((0, start, step) if end is None else (start, end, step)))
    whole = all(isinstance(v, int | np.integer) or np.asarray(v).dtype.kind in "iu" for v in (start, end, step))
    kind = as_dtype(dtype) or np.dtype(np.int64 if whole else np.float32)
    if any(np.size(v) != 1 for v in (start, end, step)):
        raise InputTypeError("arange: expected one number each for start, end, and step")
    if not step or (end - start) / step < 0:
        raise SettingError(f"arange: from {start} to {end} in steps of {step}: expected steps toward the end")
    return _made(np.arange(start, end, step).astype(kind), requires_grad, device)


def linspace(
    start: float, end: float, steps: int, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return `steps` numbers from start to end, both included, at equal distances."""
    values = np.linspace(raw(start), raw(end), steps)
    return _made(values.astype(as_dtype(dtype) or np.float32), requires_grad, device)


def logspace(start: float, end: float, steps: int, base: float = 10.0, **settings: Any) -> Tensor:
    """Return `steps` numbers from base^start to base^end, at equal ratios."""
    dtype = as_dtype(settings.pop("dtype", None)) or np.float32
    return _made((base ** np.linspace(start, end, steps)).astype(dtype), settings.pop("requires_grad", False))


# At random ----------------------------------------------------------------------------------------------


def _drawn(kind: str) -> Any:
    def function(
        *size: Any,
        generator: Generator | None = None,
        dtype: Any = None,
        device: Any = None,
        requires_grad: bool = False,
    ) -> Tensor:
        rng, shape, wanted = numpy_generator(generator), _shape(kind, size), as_dtype(dtype) or np.dtype(np.float32)
        single = wanted != np.float64
        draw = rng.standard_normal if kind == "randn" else rng.random
        values = draw(shape, np.float32 if single else np.float64)
        return _made(np.asarray(values).astype(wanted, copy=False), requires_grad, device)

    return function


randn, rand = _drawn("randn"), _drawn("rand")
randn.__doc__ = "Return values from a standard normal distribution, in the given shape."
rand.__doc__ = "Return values from a uniform distribution over [0, 1), in the given shape."


def randn_like(x: Tensor | Array, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return `randn` in the shape and dtype of x."""
    return randn(*x.shape, dtype=as_dtype(dtype) or x.dtype, device=device, requires_grad=requires_grad)


def rand_like(x: Tensor | Array, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return `rand` in the shape and dtype of x."""
    return rand(*x.shape, dtype=as_dtype(dtype) or x.dtype, device=device, requires_grad=requires_grad)


def randint(low: int, high: Any, size: Any = None, *, generator: Generator | None = None, dtype: Any = None,
            device: Any = None, requires_grad: bool = False) -> Tensor:  # fmt: skip
    """Return integers from low to high - 1: `randint(high, size)` or `randint(low, high, size)`."""
    if size is None:
        low, high, size = 0, low, high
    if not low < high:
        raise SettingError(f"randint: from {low} to {high}: expected low < high")
    values = numpy_generator(generator).integers(low, high, _shape("randint", (size,), "size"))
    return _made(values.astype(as_dtype(dtype) or np.int64, copy=False), requires_grad, device)


def randperm(n: int, *, generator: Generator | None = None, device: Any = None) -> Tensor:
    """Return the numbers 0 to n - 1 in random order."""
    return _made(numpy_generator(generator).permutation(n).astype(np.int64), False, device)


def normal(mean: Any = 0.0, std: Any = 1.0, size: Sequence[int] | None = None, *,
           generator: Generator | None = None) -> Tensor:  # fmt: skip
    """Return normally distributed values with the given means and standard deviations."""
    m, s = np.asarray(raw(mean), np.float32), np.asarray(raw(std), np.float32)
    shape = _shape("normal", (size,), "size") if size is not None else np.broadcast_shapes(m.shape, s.shape)
    return Tensor(np.asarray(m + s * numpy_generator(generator).standard_normal(shape, np.float32)))


def bernoulli(p: Tensor, *, generator: Generator | None = None) -> Tensor:
    """Return 1 with probability p and 0 otherwise, for each element of p.

    Raises:
        SettingError: a probability is not from 0 to 1.
    """
    if not is_floating(p.dtype) or (p.numel() and not 0 <= p.data.min() <= p.data.max() <= 1):
        raise SettingError("bernoulli: expected floating-point probabilities from 0 to 1")
    draws = numpy_generator(generator).random(p.shape)
    return Tensor(np.asarray(draws < p.data).astype(p.dtype))


def multinomial(
    weights: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Return num_samples indices for each row of weights, drawn with these probabilities (up to a factor).

    Raises:
        SettingError: a weight is negative or not finite, or a row has too few positive ones.
        ShapeError: weights has neither one nor two dimensions.
    """
    rows = weights.data.astype(np.float64)
    if rows.ndim not in (1, 2):
        raise ShapeError(f"multinomial: weights of shape {rows.shape}: expected (N,) or (B, N)")
    if not (np.isfinite(rows).all() and (rows >= 0).all()):
        raise SettingError("multinomial: expected finite weights of at least 0; are the logits NaN?")
    least = (np.atleast_2d(rows) > 0).sum(axis=1).min(initial=rows.shape[-1])
    if num_samples < 1 or least < (1 if replacement else num_samples):
        raise SettingError(f"multinomial: {num_samples} samples of {least} positive weights: expected at least 1 and, "
                           f"without replacement, at most as many as there are")  # fmt: skip
    rng = numpy_generator(generator)
    with np.errstate(divide="ignore"):
        logs = np.log(np.atleast_2d(rows))
    if replacement:
        steps = np.cumsum(np.atleast_2d(rows), axis=1)
        draws = rng.random((len(steps), num_samples)) * steps[:, -1:]
        found = np.stack([np.searchsorted(row, d, "right") for row, d in zip(steps, draws, strict=True)])
    else:  # Gumbel's trick: the largest log weights plus noise are a sample without replacement
        noisy = logs + rng.gumbel(size=logs.shape)
        found = np.argsort(-noisy, axis=1)[:, :num_samples]
    return Tensor(found.reshape((*rows.shape[:-1], num_samples)).astype(np.int64))


def is_tensor(x: Any) -> bool:
    """Return whether x is a tensor."""
    return isinstance(x, Tensor)


def is_floating_point(x: Tensor) -> bool:
    """Return whether the dtype is a floating-point dtype."""
    return is_floating(x.dtype)


def finfo(dtype: Any = np.float32) -> Any:
    """Return the limits of a floating-point dtype: max, min, eps, tiny.

    Raises:
        InputTypeError: it is another dtype.
    """
    kind = as_dtype(dtype) or np.dtype(np.float32)
    if not is_floating(kind):
        raise InputTypeError(f"finfo: dtype is {kind}: expected a floating-point dtype; for integers, use iinfo")
    if kind.name == "bfloat16":
        import ml_dtypes

        return ml_dtypes.finfo(kind)
    return np.finfo(kind)


def iinfo(dtype: Any) -> Any:
    """Return the limits of an integer dtype: max and min.

    Raises:
        InputTypeError: it is another dtype.
    """
    kind = as_dtype(dtype) or np.dtype(np.int64)
    if kind.kind not in "iu":
        raise InputTypeError(f"iinfo: dtype is {kind}: expected an integer dtype; for floating point, use finfo")
    return np.iinfo(kind)


PI = math.pi
NAMES = (
    "Generator arange as_tensor bernoulli empty empty_like eye finfo from_numpy full full_like iinfo is_floating_point "
    "is_tensor linspace logspace multinomial normal ones ones_like rand rand_like randint randn randn_like randperm "
    "tensor zeros zeros_like"
)
METHODS: dict[str, Any] = {"bernoulli": bernoulli, "multinomial": multinomial}
