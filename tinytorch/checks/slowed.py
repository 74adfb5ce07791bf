"""A function that is slower by a known share: what a comparison of times must be able to find."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Given = TypeVar("Given")
Returned = TypeVar("Returned")


def slowed(f: Callable[[Given], Returned], share: float) -> Callable[[Given], Returned]:
    """Return `f`, followed by spinning for a share of the time that this call took."""

    def slow(x: Given) -> Returned:
        start = time.perf_counter()
        y = f(x)
        end = time.perf_counter()
        until = end + share * (end - start)
        while time.perf_counter() < until:
            pass
        return y

    return slow
