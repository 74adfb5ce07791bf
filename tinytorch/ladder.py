"""Module 16: one matrix product, written eight times, each faster than the one before.

    y[i, j] = sum over k of a[i, k] b[k, j]        (M, K) (K, N) -> (M, N), 2 M K N operations

Read from top to bottom: the arithmetic stays the same, and all that changes is who does it and where the numbers
lie meanwhile. `RUNGS` names them; the suite 2025_acceleration measures them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytorch import kernels
from tinytorch.tensor import Array

ROWS, DEPTH = 4, 64  # of a block: 4 x 64 x N numbers stay in a core's own cache (256 kB for N = 256)


def loops(a: Array, b: Array) -> Array:
    """Three nested loops in Python, on lists: Python reads single numbers of an array even more slowly."""
    rows, columns = a.tolist(), b.T.tolist()
    y = [[0.0] * len(columns) for _ in rows]
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            total = 0.0
            for k in range(len(row)):
                total += row[k] * column[k]
            y[i][j] = total
    return np.array(y, a.dtype).reshape(len(rows), len(columns))


def inner_products(a: Array, b: Array) -> Array:
    """The inner loop is NumPy's: one call for K operations, but still a call for each result."""
    columns = np.ascontiguousarray(b.T)
    y = np.empty((len(a), len(columns)), a.dtype)
    for i, row in enumerate(a):
        for j, column in enumerate(columns):
            y[i, j] = row @ column
    return y


def broadcast(a: Array, b: Array) -> Array:
    """No loop in Python: all M K N products at once in one array, which is far too large for a cache."""
    return (a[:, :, None] * b[None, :, :]).sum(1)  # (M, K, N) -> (M, N)


def blocked(a: Array, b: Array) -> Array:
    """The same in blocks that fit the cache: a product is added up before it has ever reached memory."""
    y = np.zeros((len(a), b.shape[1]), a.dtype)
    for i in range(0, len(a), ROWS):
        for k in range(0, len(b), DEPTH):
            y[i : i + ROWS] += (a[i : i + ROWS, k : k + DEPTH, None] * b[None, k : k + DEPTH]).sum(1)
    return y


def blas(a: Array, b: Array) -> Array:
    """BLAS: blocks for registers and for each cache, vector instructions that multiply and add, all cores."""
    return a @ b


def native(a: Array, b: kernels.Packed) -> Array:
    """oneDNN: as BLAS does, with b laid out before as its instructions read it, in the dtype of a and b."""
    return b.product(a)


@dataclass(frozen=True)
class Rung:
    """One way to multiply.

    `multiply` is what is timed; `largest` is the side of the largest matrices that are worth the wait.
    """

    name: str
    multiply: Callable[[Array, Any], Array]
    largest: int
    why: str  # it is faster than the one before
    dtype: str = "float32"

    @property
    def is_native(self) -> bool:
        """Whether it needs a native kernel for its dtype."""
        return self.multiply is native

    def prepare(self, a: Array, b: Array) -> tuple[Array, Any]:
        """Both factors as the rung wants them, which is done once and not timed: in its dtype, b packed.

        int8 takes integers from -128 to 127. What others lose by becoming such is module 17's matter.
        """
        if not self.is_native:
            return a, b
        dtype = _dtype(self.dtype)
        return a.astype(dtype), kernels.pack(b.T.astype(dtype))


RUNGS = (
    Rung("Python loops", loops, 256, "one multiplication at a time, each through the interpreter"),
    Rung("inner products", inner_products, 256, "K operations for each call from Python"),
    Rung("broadcast", broadcast, 256, "one call for everything; where it is large, memory is what it waits for"),
    Rung("blocked", blocked, 512, "blocks that fit the cache"),
    Rung("BLAS", blas, 2048, "numbers used many times while they are in registers; all cores"),
    Rung("oneDNN float32", native, 2048, "one factor laid out beforehand"),
    Rung("oneDNN bfloat16", native, 2048, "half the bytes, and two operations where float32 has one", "bfloat16"),
    Rung("oneDNN int8", native, 2048, "a quarter of the bytes, four operations where float32 has one", "int8"),
)


def _dtype(name: str) -> np.dtype:
    return kernels.bfloat16() if name == "bfloat16" else np.dtype(name)


def rungs() -> tuple[Rung, ...]:
    """Those that this machine has: the native ones only where there is an instruction for their dtype."""
    return tuple(rung for rung in RUNGS if not rung.is_native or kernels.native(_dtype(rung.dtype)))


def left_out() -> str:
    """Which rungs are missing here, and why, in one line; "" if none is."""
    missing = [rung.name for rung in RUNGS if rung not in rungs()]
    return f"{', '.join(missing)}: the backend here is {kernels.why()}" if missing else ""


def matrices(size: int, seed: int = 0) -> tuple[Array, Array]:
    """Two square matrices of whole numbers from -127 to 127, as float32.

    Every dtype of the ladder holds such numbers, and float32 holds their sums (below 2^24 up to size 1040 for
    certain, and by far for these random ones up to 2048), so that all rungs must give the same result to the bit.
    """
    rng = np.random.default_rng(seed)
    a, b = rng.integers(-127, 128, (2, size, size)).astype(np.float32)
    return a, b


def operations(size: int) -> int:
    """Multiplications and additions of one square product."""
    return 2 * size**3
