"""A slowed function returns the same, and takes the stated share longer."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tinytorch.checks import slowed


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_it_takes_a_known_share_longer_and_returns_the_same(share: float) -> None:
    """Compared with the time of the very same call, so that a busy machine does not matter."""
    inner: list[float] = []

    def work(n: int) -> int:
        start = time.perf_counter()
        total = sum(range(n))
        inner.append(time.perf_counter() - start)
        return total

    slow, whole = slowed(work, share), []
    for _ in range(101):
        start = time.perf_counter()
        returned = slow(100_000)
        whole.append(time.perf_counter() - start)
        assert returned == 4999950000
    longer = (np.array(whole) / inner - 1).min()  # of the call that other programs disturbed least
    assert share <= longer < share + 0.05


def test_nothing_is_added_with_share_zero() -> None:
    assert slowed(abs, 0.0)(-2) == 2
