"""Threads only as long as they pay: if another program needs a core, a plan runs on one thread for a while.

On two cores, one of them busy, two threads wait for each other at every primitive: an MLP took 147 µs for one image
instead of 22, and on one thread 56; ResNet-8 870 µs instead of 113, and on one thread 160.
"""

from __future__ import annotations

from time import perf_counter

import numpy as np

from tinytorch.inference.plan import Plan
from tinytorch.tensor import Array

SLOWER = 1.2  # a call on all threads that takes this much longer than on one was disturbed
LONGEST = 256  # calls on one thread, at most, before all threads are tried again
ATTEMPTS = 4
TRIALS = 5  # runs on one thread, of which the fastest counts


def same_bits(shared: Plan, alone: Plan) -> bool:
    """Return whether two plans add up their products in the same order, tried on one random input.

    oneDNN may split a long sum between threads. A result must not depend on what else the machine is doing.
    """
    x = np.random.default_rng(0).standard_normal(alone.given.shape).astype(np.float32)
    return np.array_equal(shared(x), alone(x), equal_nan=True)  # type: ignore[arg-type]


class Choice:
    """A plan for all threads, and one for the same shape on one thread, with the same bits.

    After ATTEMPTS disturbed calls in a row (the first one may only have had to wake the threads), the next call runs on
    one thread. If the attempts after it are disturbed as well, the next two calls do, then four, and so on.
    """

    def __init__(self, shared: Plan, alone: Plan) -> None:
        self.shared, self.alone = shared, alone
        self.output, self.primitives = shared.output, shared.primitives
        self._pause, self._left, self._disturbed = 1, 0, 0
        x = np.zeros(alone.given.shape, np.float32)
        self._limit = SLOWER * min(self._seconds(x) for _ in range(TRIALS))

    def __call__(self, x: Array) -> Array | None:
        if self._left:
            self._left -= 1
            return self.alone(x)
        begin = perf_counter()
        y = self.shared(x)
        if perf_counter() - begin <= self._limit:
            self._pause, self._disturbed = 1, 0
        elif self._disturbed < ATTEMPTS - 1:
            self._disturbed += 1
        else:
            self._left, self._pause, self._disturbed = self._pause, min(2 * self._pause, LONGEST), 0
        return y

    def _seconds(self, x: Array) -> float:
        begin = perf_counter()
        self.alone(x)
        return perf_counter() - begin
