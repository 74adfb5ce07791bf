"""A probe of this process's BLAS: the error of its products, their speed, or their time, as one line of JSON.

    python -P blas_probe.py error   ->  {"kernel": "SkylakeX", "error": 4.1e-05}
    python -P blas_probe.py gflops  ->  {"kernel": "SkylakeX", "gflops": 198.4}
    python -P blas_probe.py seconds ->  {"kernel": "SkylakeX", "seconds": 0.00018}

The kernel is fixed when NumPy is imported, so each candidate needs its own process; `tito.process.blas` starts them.
This module imports only NumPy and tinytorch.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from tinytorch.environment import blas

SIZE = 1024
MEAN_SECONDS = 0.25
PRODUCTS = 5  # timed products in one process: about 0.1 s
# Square, ragged, a single row, tall and thin: a BLAS has a different code path for each.
SHAPES = ((SIZE, SIZE, SIZE), (127, 784, 509), (1, 784, 512), (500, 2000, 10))


def relative_error(A: np.ndarray, B: np.ndarray) -> float:
    """Return the error of the product C = A B relative to the size of its entries; A (m, k), B (k, n).

    Every entry of C is checked without a second product of that size: for a random X with few columns, C X must equal
    A (B X) (Freivalds, 1977). These are float64 sums by np.einsum, which calls no BLAS. For standard normal A and B, a
    wrong entry causes an error of about 1, the rounding of float32 one of 5e-5.
    """
    X = np.random.default_rng(1).standard_normal((B.shape[1], 3))  # (n, 3)
    expected = _columns(A, _columns(B, X))  # (m, 3)
    return float(np.abs(_columns(A @ B, X) - expected).max() / np.sqrt(len(B)))


def _columns(matrix: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return matrix @ columns in float64, computed without a BLAS."""
    return np.einsum("ij,jk->ik", matrix.astype(np.float64), columns)


def worst_error() -> float:
    """Return the largest relative error over all shapes, both precisions, and both memory orders."""
    rng = np.random.default_rng(0)
    errors = []
    for m, k, n in SHAPES:
        normal = rng.standard_normal((m, k)), rng.standard_normal((k, n))
        for dtype in (np.float32, np.float64):
            A, B = (matrix.astype(dtype) for matrix in normal)
            errors += [relative_error(A, B), relative_error(A, np.asfortranarray(B))]
    return float(np.max(errors))  # NaN if one is NaN


def gflops() -> float:
    """Return the speed of a float32 product of two 1024 x 1024 matrices, in 1e9 operations per second.

    It is that of the fastest of several products, because other load on the machine can only slow a product down.
    """
    rng = np.random.default_rng(0)
    A, B = (rng.random((SIZE, SIZE), np.float32) for _ in range(2))
    out = A @ B  # warm up the caches
    seconds = []
    for _ in range(PRODUCTS):
        start = time.perf_counter()
        np.matmul(A, B, out=out)
        seconds.append(time.perf_counter() - start)
    return 2 * SIZE**3 / min(seconds) / 1e9


def mean_seconds() -> float:
    """Return the mean time of a small product, as in a training step of an MLP, over a quarter of a second.

    The mean, unlike the median, includes the products that wait for a thread without a core.
    """
    rng = np.random.default_rng(0)
    A, B = rng.random((16, 512), np.float32), rng.random((512, 784), np.float32)
    count, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < MEAN_SECONDS:
        A @ B
        count += 1
    return passed / count


if __name__ == "__main__":
    question = sys.argv[1]
    answer = {"error": worst_error, "gflops": gflops, "seconds": mean_seconds}[question]()
    print(json.dumps({"kernel": blas().kernel, question: answer}))  # noqa: T201 (for the process that started it)
