"""Module 16: every rung of the ladder computes the same product."""

from __future__ import annotations

import numpy as np
import pytest

from tinytorch import acceleration
from tinytorch.acceleration import RUNGS, matrices, rungs
from tinytorch.native import backend

TOLERANCE = {"float32": 1e-5, "bfloat16": 2.0**-7}  # of the sums of magnitudes; bfloat16 rounds both factors by 2^-9


@pytest.fixture
def without_native(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(backend.VARIABLE, "numpy")
    monkeypatch.setattr(backend, "_chosen", None)


SIZES = (1, 2, 7, 17, 40, 65)
SHAPES = ((1, 1, 1), (3, 70, 2), (5, 4, 130), (66, 129, 9))


def check(name: str) -> None:
    """Check a rung on integers, where it is exact, and on any values, within the rounding of its dtype."""
    found = [rung for rung in rungs() if rung.name == name]
    if not found:
        pytest.skip(acceleration.left_out())
    (rung,) = found
    for size in SIZES:
        a, b = matrices(size, seed=size)
        y = rung.multiply(*rung.prepare(a, b))
        np.testing.assert_array_equal(y, a.astype(np.int64) @ b.astype(np.int64))
    if rung.dtype not in TOLERANCE:
        return
    rng = np.random.default_rng(0)
    for m, k, n in SHAPES:
        a, b = rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32)
        y = rung.multiply(*rung.prepare(a, b))
        exact, sizes = a.astype(np.float64) @ b.astype(np.float64), abs(a).astype(np.float64) @ abs(b)
        assert y.dtype == np.float32
        assert (abs(y - exact) <= TOLERANCE[rung.dtype] * sizes).all()


def test_three_loops_multiply() -> None:
    check("Python loops")


def test_inner_products_multiply() -> None:
    check("inner products")


def test_broadcast_multiplies() -> None:
    check("broadcast")


def test_blocks_multiply() -> None:
    check("blocked")


@pytest.mark.parametrize("name", ["BLAS", "oneDNN float32", "oneDNN bfloat16", "oneDNN int8"])
def test_library_multiplies(name: str) -> None:
    check(name)


def test_loops_keep_the_dtype_of_the_factors() -> None:
    a, b = matrices(3)
    for multiply in (acceleration.loops, acceleration.inner_products, acceleration.broadcast, acceleration.blocked):
        assert multiply(a.astype(np.float64), b.astype(np.float64)).dtype == np.float64


def test_matrices_are_reproducible_and_their_sums_fit_float32() -> None:
    a, b = matrices(300)
    np.testing.assert_array_equal(a, matrices(300)[0])
    assert (a != matrices(300, seed=1)[0]).any()
    assert (a == np.rint(a)).all()
    assert abs(a).max() == abs(b).max() == 127
    assert acceleration.operations(300) == 2 * 27_000_000


@pytest.mark.usefixtures("without_native")
def test_without_a_native_backend_its_rungs_are_left_out_with_a_reason() -> None:
    assert [rung.name for rung in rungs()] == ["Python loops", "inner products", "broadcast", "blocked", "BLAS"]
    told = acceleration.left_out()
    assert told.startswith("oneDNN float32, oneDNN bfloat16, oneDNN int8: the backend here is NumPy (")
    assert "\n" not in told


def test_nothing_is_left_out_if_all_kernels_are_available(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "native", lambda dtype: True)
    assert rungs() == RUNGS
    assert acceleration.left_out() == ""
