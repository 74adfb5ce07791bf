"""Run in a fresh process: is this BLAS kernel right, or how fast is it? Prints one line of JSON.

    python -P blas_probe.py error   ->  {"kernel": "SkylakeX", "error": 4.1e-05}
    python -P blas_probe.py gflops  ->  {"kernel": "SkylakeX", "gflops": 198.4}

The kernel is fixed when NumPy is imported, so that each candidate needs a process of its own; `tito.process.blas`
starts them. Imports NumPy and tinytorch only.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from tinytorch.environment import blas

SIZE = 1024
PRODUCTS = 5  # timed ones in one process: about 0.1 s
# Square and ragged, a single row, tall and thin: each takes a way of its own through a BLAS.
SHAPES = ((SIZE, SIZE, SIZE), (127, 784, 509), (1, 784, 512), (500, 2000, 10))


def relative_error(A: np.ndarray, B: np.ndarray) -> float:
    """How far the product C = A B is from the truth, against the size of its own entries; A (m, k), B (k, n).

    Every entry of C is checked without a second product of that size: for a random X of few columns, C X must
    equal A (B X) (Freivalds, 1977). Those are float64 sums by np.einsum, which calls no BLAS. For standard
    normal A and B, a wrong entry shows as an error of about 1, the rounding of float32 as 5e-5.
    """
    X = np.random.default_rng(1).standard_normal((B.shape[1], 3))  # (n, 3)
    expected = _columns(A, _columns(B, X))  # (m, 3)
    return float(np.abs(_columns(A @ B, X) - expected).max() / np.sqrt(len(B)))


def _columns(matrix: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """matrix @ columns in float64, without a BLAS."""
    return np.einsum("ij,jk->ik", matrix.astype(np.float64), columns)


def worst_error() -> float:
    """The largest relative error over all shapes, both precisions and both orders of memory."""
    rng = np.random.default_rng(0)
    errors = []
    for m, k, n in SHAPES:
        normal = rng.standard_normal((m, k)), rng.standard_normal((k, n))
        for dtype in (np.float32, np.float64):
            A, B = (matrix.astype(dtype) for matrix in normal)
            errors += [relative_error(A, B), relative_error(A, np.asfortranarray(B))]
    return float(np.max(errors))  # NaN if one is NaN


def gflops() -> float:
    """The speed of a float32 product of two 1024 x 1024 matrices, in 1e9 operations a second.

    Of several products the quickest: what else runs on the machine can only make one slower.
    """
    rng = np.random.default_rng(0)
    A, B = (rng.random((SIZE, SIZE), np.float32) for _ in range(2))
    out = A @ B  # warms up the caches
    seconds = []
    for _ in range(PRODUCTS):
        start = time.perf_counter()
        np.matmul(A, B, out=out)
        seconds.append(time.perf_counter() - start)
    return 2 * SIZE**3 / min(seconds) / 1e9


if __name__ == "__main__":
    question = sys.argv[1]
    answer = {"error": worst_error, "gflops": gflops}[question]()
    print(json.dumps({"kernel": blas().kernel, question: answer}))  # noqa: T201 (for the process that started it)
