"""Module 09: one batch on all cores.

BLAS spreads a large product over the cores by itself, but NumPy copies and adds on one. A convolution is as
much the one as the other, so its batch is cut into as many parts as there are cores and each thread takes one
part through all steps, with BLAS on a single thread inside. NumPy lets go of Python's lock while it works.

How many threads BLAS was given (OPENBLAS_NUM_THREADS) is how many are used here, and how many BLAS has again
afterwards, whatever it was told in between. With another BLAS than OpenBLAS, which cannot be told at run time, a
batch is one part.
"""

from __future__ import annotations

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

SMALLEST = 2**17  # elements in a batch; with fewer, one thread is done before another has woken up

_turn = threading.Lock()  # the number of BLAS threads is one setting for the whole process


class _Blas:
    """Reads and sets how many threads OpenBLAS uses; `threads` is 1 with any other library."""

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


def _begin_anew() -> None:
    """A forked child has none of the pool's threads, and the lock may be held by a thread that it has not either."""
    global _turn
    _turn = threading.Lock()
    _pool.cache_clear()


if sys.platform != "win32":  # where there is no fork
    os.register_at_fork(after_in_child=_begin_anew)


def in_parallel(batch: np.ndarray, work: Callable[[int, int], Result]) -> list[Result]:
    """`work(begin, end)` for consecutive parts of range(len(batch)), one for each core; the results in order.

    A small batch is one part, and BLAS stays on one thread for it as well. The parts depend on the batch's shape
    and the number of threads alone, so that sums over them are repeatable. An error in one part comes out when all
    have ended. Within another call's parts, or while another thread is at it, the parts are done in turn.
    """
    blas, turn, samples = _blas(), _turn, len(batch)
    small = batch.size < SMALLEST
    if blas.threads == 1 or (samples < blas.threads and not small):
        return [work(0, samples)]
    count = 1 if small else blas.threads
    parts = list(pairwise(samples * i // count for i in range(count + 1)))
    if not turn.acquire(blocking=False):
        return [work(*part) for part in parts]
    try:
        blas.set_threads(1)
        return _share(parts, work)
    finally:
        blas.set_threads(blas.threads)
        turn.release()


def _share(parts: list[tuple[int, int]], work: Callable[[int, int], Result]) -> list[Result]:
    """The first part in this thread, the others in the pool's."""
    others = [_pool().submit(work, *part) for part in parts[1:]]
    try:
        first = work(*parts[0])
    finally:
        wait(others)
    return [first, *(other.result() for other in others)]
