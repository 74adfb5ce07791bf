"""Run in a fresh process: is this BLAS kernel right, and how fast is it? Prints one line of JSON.

    python -P blas_probe.py check  ->  {"kernel": "SkylakeX", "gflops": 380.2, "error": 4.1e-05}
    python -P blas_probe.py        ->  {"kernel": "SkylakeX", "gflops": 379.8}

The kernel is fixed when NumPy is imported, so that each candidate needs a process of its own;
`tito.bench.blas` starts them. Imports NumPy and tinytorch.environment only.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from tinytorch.environment import blas

SIZE = 1024
PRODUCTS = 15  # timed ones in one process: about 0.1 s
# Square and ragged, a single row, tall and thin: each takes a way of its own through a BLAS.
SHAPES = ((SIZE, SIZE, SIZE), (127, 784, 509), (1, 784, 512), (500, 2000, 10))


def relative_error(m: int, k: int, n: int, dtype: type, transposed: bool) -> float:
    """How far a product C = A B is from the truth, against the size of its own entries.

    Every entry of C is checked without a second product of that size: for a random X of few columns, C X must
    equal A (B X) (Freivalds, 1977). Those are float64 sums by np.einsum, which calls no BLAS. A wrong
    entry shows as an error of about 1, the rounding of float32 as 5e-5.
    """
    rng = np.random.default_rng(0)
    A: np.ndarray = rng.standard_normal((m, k)).astype(dtype)  # (m, k)
    B: np.ndarray = rng.standard_normal((n, k)).astype(dtype).T  # (k, n), in the order of memory of (n, k)
    if not transposed:
        B = np.ascontiguousarray(B)
    X = rng.standard_normal((n, 3))  # (n, 3)
    expected = _columns(A, _columns(B, X))  # (m, 3)
    return float(np.abs(_columns(A @ B, X) - expected).max() / np.sqrt(k))


def _columns(matrix: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """matrix @ columns in float64, without a BLAS."""
    return np.einsum("ij,jk->ik", matrix.astype(np.float64), columns)


def gflops() -> float:
    """The speed of a float32 product of two 1024 x 1024 matrices, in 1e9 operations a second.

    Of many products the quickest: what else runs on the machine can only make one slower.
    """
    rng = np.random.default_rng(0)
    A, B = (rng.standard_normal((SIZE, SIZE)).astype(np.float32) for _ in range(2))
    out = A @ B  # warms up the threads and the caches
    seconds = []
    for _ in range(PRODUCTS):
        start = time.perf_counter()
        np.matmul(A, B, out=out)
        seconds.append(time.perf_counter() - start)
    return float(2 * SIZE**3 / min(seconds) / 1e9)


def worst_error() -> float:
    """The largest relative error over all shapes, both precisions and both orders of memory."""
    return max(
        relative_error(*shape, dtype, transposed)
        for shape in SHAPES
        for dtype in (np.float32, np.float64)
        for transposed in (False, True)
    )


if __name__ == "__main__":
    answer: dict[str, str | float] = {"kernel": blas().kernel, "gflops": gflops()}
    if sys.argv[1:] == ["check"]:
        answer["error"] = worst_error()
    print(json.dumps(answer))  # noqa: T201 (its answer to the process that started it)
