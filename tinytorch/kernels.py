"""Module 15: who multiplies. One small interface over two backends, chosen once by what is there:

    numpy    always there. bfloat16, float16 and int8 have no BLAS, so that they are expanded and multiplied as
             float32: right, and no faster
    onednn   an optional extra, with the CPU's own instructions for int8 and bfloat16

    pack(weight) -> Packed; Packed.product(x)    the weight is prepared once, products follow

Modules 15 and 17 call it; module 16 measures how far it is from three nested loops.
"""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np

from tinytorch import onednn
from tinytorch.errors import SettingError, ShapeError
from tinytorch.tensor import Array

BACKENDS = ("numpy", "onednn")
VARIABLE = "TINYTORCH_BACKEND"
EXACT_COLUMNS = 1024  # 127 * 128 * 1024 < 2^24: float32 holds every sum of so many int8 products exactly
EXACT_BYTES = 512  # 255 * 128 * 512 < 2^24: the same for uint8 with int8
MOST_PREPARED = 512  # row counts for which one weight keeps a primitive: a text of growing length has many

_chosen: str | None = None


def backend() -> str:
    """The backend in use, "numpy" or "onednn".

    The environment variable TINYTORCH_BACKEND forces one; else it is oneDNN where it can be loaded.

    Raises:
        SettingError: the one that is forced is unknown or not there.
    """
    if _chosen is None:
        forced = os.environ.get(VARIABLE, "")
        use_backend(forced or ("numpy" if onednn.why_not() else "onednn"))
    assert _chosen is not None
    return _chosen


def use_backend(name: str) -> None:
    """From now on, use this one. What was packed before stays with the backend that packed it.

    Raises:
        SettingError: there is no such backend, or it cannot be loaded.
    """
    global _chosen
    if name not in BACKENDS:
        raise SettingError(f"backend {name!r}: expected one of {', '.join(BACKENDS)} ({VARIABLE} may name it)")
    if name == "onednn" and (problem := onednn.why_not()):
        raise SettingError(f"backend 'onednn': {problem}")
    _chosen = name


def native(dtype: Any) -> bool:
    """Whether products in this dtype have a kernel of their own here, and not only float32's.

    Raises:
        SettingError: it is no dtype.
    """
    try:
        name = "bfloat16" if dtype == "bfloat16" else np.dtype(dtype).name  # NumPy may not know it yet
    except TypeError:
        raise SettingError(f"native: {dtype!r} is no dtype") from None
    return backend() == "onednn" and name in onednn.native_dtypes()


def why() -> str:
    """One line: the backend, and what it can or why it is no better one."""
    if backend() == "onednn":
        return f"oneDNN {onednn.version()} (native: {', '.join(sorted(onednn.native_dtypes()))})"
    return f"NumPy ({reason()})"


def reason() -> str:
    """Why it is this backend."""
    if os.environ.get(VARIABLE) == backend():
        return f"{VARIABLE}={backend()}"
    if backend() == "onednn":
        return "it is installed"
    return onednn.why_not() or "chosen by the program"


class Packed:
    """A weight (out, in) of float32, bfloat16, float16 or int8, prepared for products with it.

    It keeps the numbers of this moment: what happens to `weight` later does not matter. Threads may share it: they
    take turns. Copied to another process, it is packed anew by the backend there.
    """

    def __init__(self, weight: Array) -> None:
        if not _is_matrix(weight) or weight.dtype.name not in ("float32", "bfloat16", "float16", "int8"):
            raise ShapeError(f"pack: {_told(weight)}: expected (out, in) of float32, bfloat16, float16 or int8")
        weight = weight.astype(weight.dtype.newbyteorder("="), copy=False)
        self.shape, self.dtype = weight.shape, weight.dtype
        self.backend = "onednn" if native(weight.dtype) else "numpy"
        if self.backend == "numpy":
            self._transposed = np.array(weight.T, np.float32, order="C")
        else:
            self._weight, self._turn = np.array(weight, order="C"), threading.Lock()
            self._prepared: dict[tuple[int, np.dtype], tuple[onednn.Primitive, Array]] = {}
            self.layouts: list[tuple[onednn.Descriptor, Array]] = []  # the weight in each that was asked for
            if weight.dtype == np.int8:
                self._offset = 128 * weight.sum(1, dtype=np.int32)

    def __deepcopy__(self, memo: dict[int, Any]) -> Packed:
        """It never changes, so that copies share it."""
        return self

    def __reduce__(self) -> tuple[type[Packed], tuple[Array]]:
        """Float32 holds every number of the other dtypes: the weight comes back from it as it was."""
        return Packed, (self._transposed.T.astype(self.dtype) if self.backend == "numpy" else self._weight,)

    def product(self, x: Array) -> Array:
        """x W^T: (M, in) -> (M, out).

        Floats give float32, summed in float32; x is rounded to the weight's dtype first. int8 and uint8 with an int8
        weight give the exact integers, int32.

        Raises:
            ShapeError: x does not fit the weight.
        """
        integers = self.dtype.char == "b"
        if not _is_matrix(x) or x.shape[1] != self.shape[1] or not _multiplies(x.dtype, integers):
            expected = "int8 or uint8" if integers else "floating-point"
            raise ShapeError(f"product: {_told(x)}: expected (M, {self.shape[1]}) of {expected}")
        if self.backend == "numpy":
            return self._exact(x) if integers else to_float32(rounded(x, self.dtype)) @ self._transposed
        if not x.shape[1]:
            return np.zeros((len(x), self.shape[0]), np.int32 if integers else np.float32)
        if x.dtype == np.int8 and x.shape[1] > EXACT_COLUMNS:
            # oneDNN rounds int8's sums to float32, which past 2^24 is not exact; uint8's it leaves alone.
            return self._run(x.view(np.uint8) ^ np.uint8(128)) - self._offset  # (x + 128) W^T - 128 (1 W^T)
        return self._run(x if integers else rounded(x, self.dtype))

    def _run(self, x: Array) -> Array:
        """oneDNN's product."""
        x = np.ascontiguousarray(x)
        y = np.empty((len(x), self.shape[0]), np.int32 if self.dtype == np.int8 else np.float32)
        if y.size:
            key = (len(x), x.dtype)
            with self._turn:  # a primitive's arrays are its own, not the call's
                primitive, packed = self._prepared.get(key) or self._prepare(*key)
                primitive.run({onednn.SRC: x, onednn.WEIGHTS: packed, onednn.DST: y})
        return y

    def _exact(self, x: Array) -> Array:
        """Integer products by float32's BLAS: exact, for each block's sums are integers that float32 holds."""
        step = EXACT_COLUMNS if x.dtype == np.int8 else EXACT_BYTES
        y = np.zeros((len(x), self.shape[0]), np.int32)
        for i in range(0, self.shape[1], step):
            y += (x[:, i : i + step].astype(np.float32) @ self._transposed[i : i + step]).astype(np.int32)
        return y

    def _prepare(self, rows: int, dtype: np.dtype) -> tuple[onednn.Primitive, Array]:
        """oneDNN's product for `rows` rows of x, and the weight in the layout that it wants."""
        out, depth = self.shape
        x = onednn.Descriptor((rows, depth), dtype)
        y = onednn.Descriptor((rows, out), np.int32 if self.dtype == np.int8 else np.float32)
        free = onednn.Descriptor((depth, out), self.dtype, "any")
        arrays = {onednn.SRC: x, onednn.WEIGHTS: None, onednn.DST: y}
        primitive = onednn.Primitive("matmul", (x, free, None, y, None), arrays, operations=2 * rows * depth * out)
        if len(self._prepared) >= MOST_PREPARED:
            self._prepared.clear()
        packed = self._prepared[rows, dtype] = primitive, self._in_layout(primitive.descriptor(onednn.WEIGHTS))
        return packed

    def _in_layout(self, wanted: onednn.Descriptor) -> Array:
        """The weight as a primitive wants it, which is most often as another one did."""
        for layout, packed in self.layouts:
            if layout.equals(wanted):
                return packed
        plain = onednn.Descriptor(self.shape[::-1], self.dtype, (1, self.shape[1]))
        self.layouts.append((wanted, onednn.reorder(self._weight, plain, wanted)))
        return self.layouts[-1][1]


def _is_matrix(x: object) -> bool:
    return isinstance(x, np.ndarray) and x.ndim == 2


def _multiplies(dtype: np.dtype, integers: bool) -> bool:
    """Whether what is packed can be multiplied by numbers of this dtype."""
    return dtype.char in "bB" if integers else dtype.kind == "f" or dtype.name == "bfloat16"  # int8, uint8


def _told(x: object) -> str:
    return f"{x.dtype} of shape {x.shape}" if isinstance(x, np.ndarray) else f"a {type(x).__name__}"


def pack(weight: Array) -> Packed:
    """Prepare a weight (out, in) for products; see `Packed`."""
    return Packed(weight)


def rounded(x: Array, dtype: Any) -> Array:
    """The numbers in another floating-point dtype; x itself where it has it already."""
    return to_bfloat16(x) if np.dtype(dtype).name == "bfloat16" else x.astype(dtype, copy=False)


def bfloat16() -> np.dtype:
    """The dtype: a float32 without its last 16 bits (8 of exponent, 7 of fraction), which NumPy lacks."""
    import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16)


def to_bfloat16(x: Array) -> Array:
    """Rounded to the nearest, halves to the even one. `astype` alone: ml_dtypes takes 0.36 ms for a million."""
    with np.errstate(invalid="ignore"):  # it warns of a NaN, which stays one
        return x.astype(bfloat16(), copy=False)


def to_float32(x: Array) -> Array:
    """Every bfloat16 is a float32: nothing is lost. x itself if it is one."""
    return x.astype(np.float32, copy=False)
