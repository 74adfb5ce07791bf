"""Primitives that run one after another on fixed arrays, with one call into the library for each.

`Primitive.run` takes 0.8 µs more than the operation itself: it sets arrays, the number of threads, and scratch memory,
and waits. A program fixes all of this in advance. It need not wait, because a CPU primitive has finished when the call
returns. For ResNet-8 with one image, 11 primitives of 10 µs on average, this saves a tenth of the time.
"""

from __future__ import annotations

from collections.abc import Sequence

from tinytorch.native.library import check, library
from tinytorch.native.primitives import Primitive, aligned

# Threads pay in a program of at least this much work, and on average this much in a primitive. The unit is the time of
# one thread for one byte. Measured on two cores: an MLP in float32 (2.2 million, 0.7 for each of three) takes 22 µs
# instead of 62, and ResNet-8 (4.2 million, 0.3 each) 114 instead of 158. In INT8, the MLP (0.6 million) would take
# 17 µs instead of 15, and ResNet-8 (1.4 million, 0.08 each) 96 instead of 93.
LEAST_WORK, LEAST_SHARE = 2**20, 2**17
TINY = 2**14  # oneDNN itself runs a primitive of less work on one thread


def cost_of(operations: int, size: int) -> int:
    """Return the work of a primitive that reads and writes `size` bytes; 8 float32 operations count as one byte."""
    return operations // 8 + size


def pays_threads(primitives: Sequence[Primitive]) -> bool:
    """Return whether the primitives are faster on all threads than on one."""
    work = [primitive.cost for primitive in primitives if primitive.cost >= TINY]
    return sum(work) >= max(LEAST_WORK, LEAST_SHARE * len(work))


class Program:
    """Calls bound primitives in order. One thread may call it at a time.

    Args:
        primitives: all run on one thread, or all on all threads: changing the number takes 2 µs. All their arrays are
            bound, except for the scratch memory, which they share.
    """

    def __init__(self, primitives: Sequence[Primitive]) -> None:
        loaded = library()
        scratch = aligned(max(primitive.scratch_size for primitive in primitives))
        self._primitives = list(primitives)  # the owners of what is called
        self._calls = [primitive.bound(scratch) for primitive in primitives]
        self._alone = all(primitive.alone for primitive in primitives)
        self._use_threads, self._execute, self._stream = loaded.use_threads, loaded.execute, loaded.stream

    def __call__(self) -> None:
        execute, stream = self._execute, self._stream
        self._use_threads(self._alone)
        for handle, count, table in self._calls:
            if status := execute(handle, stream, count, table):
                check(status, "running a primitive")
