"""Module 09: one batch on all cores.

BLAS spreads a large product over the cores by itself, but NumPy copies and adds on one. A convolution is as
much the one as the other, so its batch is cut into as many parts as there are cores and each thread takes one
part through all steps, with BLAS on a single thread inside. NumPy lets go of Python's lock while it works.

How many threads BLAS was given (OPENBLAS_NUM_THREADS) is how many are used here. With another BLAS than
OpenBLAS, which cannot be told at run time, all parts are done in turn.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np

Result = TypeVar("Result")

SMALLEST = 2**17  # elements in a batch; with fewer, one thread is done before another has woken up

_turn = threading.Lock()  # the number of BLAS threads is one setting for the whole process


class _Blas:
    """Reads and sets how many threads OpenBLAS uses; `threads` is 1 where it is another library."""

    def __init__(self) -> None:
        self.set_threads: Callable[[int], object] = lambda count: None
        self.threads = 1
        package = Path(np.__file__).parent
        for folder in (package.parent / "numpy.libs", package / ".dylibs"):  # Linux and Windows; macOS
            for path in sorted(folder.glob("*openblas*")):
                self._take(path)

    def _take(self, path: Path) -> None:
        try:
            library = ctypes.CDLL(str(path))  # NumPy has it loaded: this is one more handle to the same
        except OSError:
            return
        for suffix in ("64_", ""):  # built with 64-bit integers, or with 32-bit ones
            try:
                self.set_threads = library[f"scipy_openblas_set_num_threads{suffix}"]
                self.threads = library[f"scipy_openblas_get_num_threads{suffix}"]()
            except AttributeError:
                continue
            return


@cache
def _blas() -> _Blas:
    return _Blas()


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_blas().threads - 1, thread_name_prefix="tinytorch")


def in_parallel(batch: np.ndarray, work: Callable[[int, int], Result]) -> list[Result]:
    """`work(begin, end)` for consecutive parts of range(len(batch)), one for each core; the results in order.

    A small batch is one part, and BLAS stays on one thread for it as well. The parts depend on the batch's shape
    and the number of threads alone, so that sums over them are repeatable.
    """
    blas, samples = _blas(), len(batch)
    small = batch.size < SMALLEST
    if blas.threads == 1 or (samples < blas.threads and not small) or not _turn.acquire(blocking=False):
        return [work(0, samples)]
    try:
        blas.set_threads(1)
        if small:
            return [work(0, samples)]
        cuts = [samples * i // blas.threads for i in range(blas.threads + 1)]
        others = [_pool().submit(work, begin, end) for begin, end in pairwise(cuts[1:])]
        first = work(0, cuts[1])
        return [first, *(other.result() for other in others)]
    finally:
        blas.set_threads(blas.threads)
        _turn.release()
