"""Which samples have an extreme value."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest

from tinytorch.arrays.evenness import uneven
from tinytorch.tensor import Array

LIMIT = 64
rng = np.random.default_rng(0)


def by_definition(x: Array) -> list[bool]:
    found = []
    for sample in x.reshape(len(x), -1).astype(np.float64):
        sizes = np.abs(sample)
        others = (sizes.sum() - sizes.max()) / max(1, len(sizes))
        even = np.isfinite(sizes).all() and sizes.max() < 1e30 and (sizes.max() < LIMIT * others or not sizes.any())
        found.append(not even)
    return found


def as_list(found: Array | None, n: int) -> list[bool]:
    return [False] * n if found is None else found.tolist()


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("size", [1, 2, 9, 40, 300, 5000])
@pytest.mark.parametrize("value", [inf, -inf, nan, 1e3, -1e3, 1e6, 1e20, -1e20, 3e38, -3e38, 0, 1])
@pytest.mark.parametrize("kind", ["signed", "positive", "sparse", "zero", "huge"])
def test_extreme_samples_are_those_of_the_definition(kind: str, value: float, size: int, n: int) -> None:
    x = rng.standard_normal((n, size, 1)).astype(np.float32)
    if kind == "huge":
        x *= np.float32(1e37)
    if kind in ("positive", "sparse"):
        x = np.maximum(x, 0)
    if kind in ("sparse", "zero"):
        x *= (rng.random(x.shape) < 0.1) if kind == "sparse" else 0
    x[0, size // 2] = value
    assert as_list(uneven(x, LIMIT), n) == by_definition(x)


def test_no_samples_and_empty_samples_are_even() -> None:
    assert uneven(np.zeros((0, 3), np.float32), LIMIT) is None
    assert uneven(np.zeros((3, 0), np.float32), LIMIT) is None
