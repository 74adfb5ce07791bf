"""Module 16: every rung of the ladder computes the same product."""

from __future__ import annotations

import numpy as np
import pytest

from tinytorch import acceleration
from tinytorch.acceleration import RUNGS, Rung, matrices, rungs
from tinytorch.native import backend

TOLERANCE = {"float32": 1e-5, "bfloat16": 2.0**-7}  # of the sums of magnitudes; bfloat16 rounds both factors by 2^-9


@pytest.fixture
def without_native(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(backend.VARIABLE, "numpy")
    monkeypatch.setattr(backend, "_chosen", None)


@pytest.mark.parametrize("rung", rungs(), ids=lambda rung: rung.name)
@pytest.mark.parametrize("size", [1, 2, 7, 17, 40, 65])
def test_integers_give_bit_identical_results(rung: Rung, size: int) -> None:
    a, b = matrices(size, seed=size)
    y = rung.multiply(*rung.prepare(a, b))
    np.testing.assert_array_equal(y, a.astype(np.int64) @ b.astype(np.int64))


@pytest.mark.parametrize("rung", [rung for rung in rungs() if rung.dtype in TOLERANCE], ids=lambda rung: rung.name)
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 70, 2), (5, 4, 130), (66, 129, 9)])
def test_any_values_and_shapes_are_within_the_dtypes_rounding(rung: Rung, shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32)
    y = rung.multiply(*rung.prepare(a, b))
    exact, sizes = a.astype(np.float64) @ b.astype(np.float64), abs(a).astype(np.float64) @ abs(b)
    assert y.dtype == np.float32
    assert (abs(y - exact) <= TOLERANCE[rung.dtype] * sizes).all()


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
