"""Threads only as long as they pay: if another program needs a core, a plan runs on one thread for a while.

On two cores, one of them busy, two threads wait for each other at every primitive: an MLP took 147 µs for one image
instead of 22, and on one thread 56; ResNet-8 870 µs instead of 113, and on one thread 160.
"""

from __future__ import annotations

from time import perf_counter

import numpy as np

from tinytorch.inference.plan import Plan
from tinytorch.tensor import Array

SLOWER = 1.2  # a call on all threads that takes this much longer than on one is disturbed
PATIENCE = 0.05  # seconds: threads that begin on one core need some time until the system separates them
SHORTEST, LONGEST = 0.05, 1.0  # seconds on one thread, before all threads are tried again
TRIALS = 5  # runs on one thread, of which the fastest counts


def same_bits(shared: Plan, alone: Plan) -> bool:
    """Return whether two plans add up their products in the same order, tried on one random input.

    oneDNN may split a long sum between threads. A result must not depend on what else the machine is doing.
    """
    x = np.random.default_rng(0).standard_normal(alone.given.shape).astype(np.float32)
    return np.array_equal(shared(x), alone(x), equal_nan=True)  # type: ignore[arg-type]


class Choice:
    """A plan for all threads, and one for the same shape on one thread, with the same bits.

    If all calls have been disturbed for PATIENCE seconds, calls run on one thread: for SHORTEST seconds, and twice as
    long each time that the calls after it are disturbed as well.
    """

    def __init__(self, shared: Plan, alone: Plan) -> None:
        self.shared, self.alone = shared, alone
        self._since = self._until = 0.0  # when the disturbed calls began (0: none), and when the rest ends
        self._rest = SHORTEST
        x = np.zeros(alone.given.shape, np.float32)
        self._limit = SLOWER * min(self._seconds(x) for _ in range(TRIALS))

    def __call__(self, x: Array) -> Array | None:
        begin = perf_counter()
        if begin < self._until:
            return self.alone(x)
        y = self.shared(x)
        end = perf_counter()
        if end - begin <= self._limit:
            self._since, self._rest = 0.0, SHORTEST
        elif not self._since:
            self._since = begin
        elif end - self._since > PATIENCE:
            self._until, self._since, self._rest = end + self._rest, 0.0, min(2 * self._rest, LONGEST)
        return y

    def _seconds(self, x: Array) -> float:
        begin = perf_counter()
        self.alone(x)
        return perf_counter() - begin
