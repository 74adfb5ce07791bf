"""Matrix products with a weight that is packed once: `pack(weight)` returns a `Packed`, `Packed.product(x)` multiplies.

numpy     bfloat16, float16, and int8 have no BLAS: they are converted to float32 and multiplied as float32, with
          correct results at 0.5 to 0.7 times the speed of float32 itself
onednn    uses the CPU's instructions for int8 and bfloat16
"""

from __future__ import annotations

import threading
from functools import cached_property
from typing import Any

import numpy as np
from numpy import ndarray as Array

from tinytorch.arrays.integers import shift_of, shifted
from tinytorch.base.dtypes import rounded, to_float32
from tinytorch.base.errors import ShapeError
from tinytorch.native.backend import native
from tinytorch.native.primitives import DST, SRC, WEIGHTS, Descriptor, Layouts, Primitive

EXACT_COLUMNS = 1024  # 127 * 128 * 1024 < 2^24: float32 holds every sum of this many int8 products exactly
EXACT_BYTES = 512  # 255 * 128 * 512 < 2^24: the same for uint8 with int8
MOST_PREPARED = 512  # row counts for which one weight keeps a primitive: generating a text uses one for each length


class Packed:
    """A weight (out, in) of float32, bfloat16, float16, or int8, prepared for products.

    It is a snapshot: later changes to `weight` have no effect. Threads may share it; they take turns. When it is
    copied to another process, the backend of that process packs it again.
    """

    def __init__(self, weight: Array) -> None:
        if not _is_matrix(weight) or weight.dtype.name not in ("float32", "bfloat16", "float16", "int8"):
            raise ShapeError(f"pack: {_described(weight)}: expected (out, in) of float32, bfloat16, float16, or int8")
        weight = weight.astype(weight.dtype.newbyteorder("="), copy=False)
        self.shape, self.dtype = weight.shape, weight.dtype
        self.backend = "onednn" if native(weight.dtype) else "numpy"
        if self.backend == "numpy":
            self._transposed = np.array(weight.T, np.float32, order="C")
        else:
            self._weight, self._turn = np.array(weight, order="C"), threading.Lock()
            self._prepared: dict[tuple[int, np.dtype], tuple[Primitive, Array]] = {}
            if weight.dtype == np.int8:
                self._offset = shift_of(weight)

    def __deepcopy__(self, memo: dict[int, Any]) -> Packed:
        """Return the object itself: it is immutable."""
        return self

    def __reduce__(self) -> tuple[type[Packed], tuple[Array]]:
        """Pickle the weight in its own dtype; float32 represents all values of the other dtypes exactly."""
        return Packed, (self._transposed.T.astype(self.dtype) if self.backend == "numpy" else self._weight,)

    @cached_property
    def layouts(self) -> Layouts:
        """The weight in oneDNN's layouts, each packed at its first use."""
        return Layouts(self._weight, Descriptor(self.shape[::-1], self.dtype, (1, self.shape[1])))

    def product(self, x: Array) -> Array:
        """Return x W^T: (M, in) -> (M, out).

        Floating-point x is rounded to the weight's dtype; the sums and the result are float32. int8 or uint8 x with an
        int8 weight returns the exact integers as int32.

        Raises:
            ShapeError: the shape or dtype of x does not match the weight.
        """
        integers = self.dtype.char == "b"
        if not _is_matrix(x) or x.shape[1] != self.shape[1] or not _multiplies(x.dtype, integers):
            expected = "int8 or uint8" if integers else "floating-point"
            raise ShapeError(f"product: {_described(x)}: expected (M, {self.shape[1]}) of {expected}")
        if self.backend == "numpy":
            return self._exact(x) if integers else to_float32(rounded(x, self.dtype)) @ self._transposed
        if not x.shape[1]:
            return np.zeros((len(x), self.shape[0]), np.int32 if integers else np.float32)
        if x.dtype == np.int8 and x.shape[1] > EXACT_COLUMNS:
            # oneDNN rounds int8 sums to float32, which is not exact beyond 2^24. It does not round uint8 sums.
            return self._run(shifted(x)) - self._offset  # (x + 128) W^T - 128 (1 W^T)
        return self._run(x if integers else rounded(x, self.dtype))

    def _run(self, x: Array) -> Array:
        """Compute the product with oneDNN."""
        x = np.ascontiguousarray(x)
        y = np.empty((len(x), self.shape[0]), np.int32 if self.dtype == np.int8 else np.float32)
        if y.size:
            key = (len(x), x.dtype)
            with self._turn:  # the primitive stores its array pointers, so concurrent calls would mix them
                primitive, packed = self._prepared.get(key) or self._prepare(*key)
                primitive.run({SRC: x, WEIGHTS: packed, DST: y})
        return y

    def _exact(self, x: Array) -> Array:
        """Compute integer products with float32's BLAS: exact, because float32 represents each block's sums."""
        step = EXACT_COLUMNS if x.dtype == np.int8 else EXACT_BYTES
        y = np.zeros((len(x), self.shape[0]), np.int32)
        for i in range(0, self.shape[1], step):
            y += (x[:, i : i + step].astype(np.float32) @ self._transposed[i : i + step]).astype(np.int32)
        return y

    def _prepare(self, rows: int, dtype: np.dtype) -> tuple[Primitive, Array]:
        """Return oneDNN's primitive for `rows` rows of x, and the weight in the layout that it has chosen."""
        out, depth = self.shape
        x = Descriptor((rows, depth), dtype)
        y = Descriptor((rows, out), np.int32 if self.dtype == np.int8 else np.float32)
        free = Descriptor((depth, out), self.dtype, "any")
        arrays = {SRC: x, WEIGHTS: None, DST: y}
        primitive = Primitive("matmul", (x, free, None, y, None), arrays, operations=2 * rows * depth * out)
        if len(self._prepared) >= MOST_PREPARED:
            self._prepared.clear()
        packed = self._prepared[rows, dtype] = primitive, self.layouts.packed_in(primitive.descriptor(WEIGHTS))
        return packed


def _is_matrix(x: object) -> bool:
    return isinstance(x, np.ndarray) and x.ndim == 2


def _multiplies(dtype: np.dtype, integers: bool) -> bool:
    """Return whether a packed weight of integers (or floats) can be multiplied by values of this dtype."""
    return dtype.char in "bB" if integers else dtype.kind == "f" or dtype.name == "bfloat16"  # int8, uint8


def _described(x: object) -> str:
    return f"{x.dtype} of shape {x.shape}" if isinstance(x, np.ndarray) else f"a {type(x).__name__}"


def pack(weight: Array) -> Packed:
    """Prepare a weight (out, in) for products; see `Packed`."""
    return Packed(weight)
