"""Processing one batch on all cores, for module 09.

BLAS distributes a large product over the cores by itself, but NumPy copies and adds on a single core. A convolution
consists of both, so its batch is split into as many parts as there are cores. Each thread runs all steps on one part,
with BLAS on a single thread. NumPy releases Python's global interpreter lock while it works.

The number of threads is the one that BLAS was given (OPENBLAS_NUM_THREADS), and BLAS is set back to it afterwards, even
if it was changed in between. The thread count of a BLAS other than OpenBLAS cannot be set at run time, so with such a
BLAS, a batch is one part.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from itertools import pairwise
from typing import TypeVar

import numpy as np

from tinytorch.base import openblas

Result = TypeVar("Result")

SMALLEST = 2**17  # elements in a batch; with fewer, one thread finishes before another wakes up

_turn = threading.Lock()  # the number of BLAS threads is a setting of the whole process


class _Blas:
    """Reads and sets OpenBLAS's number of threads; with any other library, `threads` is 1."""

    def __init__(self) -> None:
        self.set_threads: Callable[[int], object] = lambda count: None
        self.threads = 1
        found = openblas.functions("set_num_threads", "get_num_threads")
        if found:
            self.set_threads, self.threads = found[0], found[1]()


@cache
def _blas() -> _Blas:
    return _Blas()


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_blas().threads - 1, thread_name_prefix="tinytorch")


def _reset_after_fork() -> None:
    """Reset the lock and the pool in a forked child process: the threads that use them exist only in the parent."""
    global _turn
    _turn = threading.Lock()
    _pool.cache_clear()


if sys.platform != "win32":  # Windows has no fork
    os.register_at_fork(after_in_child=_reset_after_fork)


def parts(batch: np.ndarray | tuple[int, ...]) -> list[tuple[int, int]]:
    """Return the parts of range(len(batch)) that `in_parallel` works on, for a batch or its shape."""
    shape = batch if isinstance(batch, tuple) else batch.shape
    threads, samples, small = _blas().threads, shape[0], math.prod(shape) < SMALLEST
    count = 1 if small or samples < threads else threads
    return list(pairwise(samples * i // count for i in range(count + 1)))


def in_parallel(batch: np.ndarray, work: Callable[[int, int], Result]) -> list[Result]:
    """Call `work(begin, end)` on consecutive parts of range(len(batch)), one per core; return the results in order.

    A small batch is one part, and BLAS uses one thread for it, too. The parts depend only on the batch's shape and the
    number of threads, so sums over them are reproducible. An error in one part is raised once all parts have finished.
    Inside another call's part, or while another thread is in this function, the parts run one after the other.
    """
    blas, turn, samples = _blas(), _turn, len(batch)
    small = batch.size < SMALLEST
    if blas.threads == 1 or (samples < blas.threads and not small):
        return [work(0, samples)]
    shares = parts(batch)
    if not turn.acquire(blocking=False):
        return [work(*part) for part in shares]
    try:
        blas.set_threads(1)
        return _share(shares, work)
    finally:
        blas.set_threads(blas.threads)
        turn.release()


def _share(parts: list[tuple[int, int]], work: Callable[[int, int], Result]) -> list[Result]:
    """Run the first part in this thread and the others in the pool."""
    others = [_pool().submit(work, *part) for part in parts[1:]]
    try:
        first = work(*parts[0])
    finally:
        wait(others)
    return [first, *(other.result() for other in others)]
