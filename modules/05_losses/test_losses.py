"""Module 05: losses against their formulas, at their limits, and with invalid inputs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytorch as tt
from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.tensor import Tensor

RNG = np.random.default_rng(0)
LOGITS, TARGETS = RNG.standard_normal((5, 3)), np.array([0, 2, 1, 1, 0])


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_cross_entropy_matches_its_formula(smoothing: float) -> None:
    log_p = LOGITS - np.log(np.exp(LOGITS).sum(axis=1, keepdims=True))
    q = (1 - smoothing) * np.eye(3)[TARGETS] + smoothing / 3
    loss = tt.CrossEntropyLoss(smoothing)(Tensor(LOGITS), Tensor(TARGETS))
    np.testing.assert_allclose(loss.item(), -(q * log_p).sum(axis=1).mean(), rtol=1e-12)


def test_binary_cross_entropy_matches_its_formula() -> None:
    x, t = RNG.standard_normal(6), np.array([0, 1, 1, 0, 0.3, 1])
    p = 1 / (1 + np.exp(-x))
    expected = -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean()
    np.testing.assert_allclose(tt.BCEWithLogitsLoss()(Tensor(x), t).item(), expected, rtol=1e-12)


def test_mean_squared_error_matches_its_formula() -> None:
    x, t = RNG.standard_normal((2, 4))
    np.testing.assert_allclose(tt.MSELoss()(Tensor(x), Tensor(t)).item(), ((x - t) ** 2).mean(), rtol=1e-12)


@given(st.floats(-1e4, 1e4, width=32))
def test_losses_stay_finite_for_huge_logits(x: float) -> None:
    logits = np.array([[x, -x]], np.float32)
    assert np.isfinite(tt.cross_entropy(Tensor(logits), np.array([0])).item())
    assert np.isfinite(tt.binary_cross_entropy_with_logits(Tensor(logits), np.array([[0.0, 1.0]], np.float32)).item())


def test_equal_logits_cost_the_logarithm_of_the_number_of_classes() -> None:
    np.testing.assert_allclose(tt.cross_entropy(tt.zeros(4, 10), np.arange(4)).item(), np.log(10), rtol=1e-6)


def test_losses_keep_the_dtype_for_any_target_dtype() -> None:
    assert tt.cross_entropy(tt.zeros(2, 3), np.array([0, 1])).dtype == np.float32
    assert tt.binary_cross_entropy_with_logits(tt.zeros(2), np.array([0, 1])).dtype == np.float32
    assert tt.mse_loss(tt.zeros(2), np.array([0.0, 1.0])).dtype == np.float32
    assert tt.mse_loss(Tensor([1.0, 2.0]), np.array([1, 2], np.uint8)).item() == 0


def test_mismatched_shapes_are_stated() -> None:
    with pytest.raises(ShapeError, match=r"logits of shape \(5, 3\) and targets of shape \(4,\)"):
        tt.cross_entropy(Tensor(LOGITS), np.zeros(4, int))
    with pytest.raises(ShapeError, match=r"targets from 0 to 3: expected 0 to 2 for 3 classes"):
        tt.cross_entropy(Tensor(LOGITS), np.array([0, 1, 2, 3, 0]))
    with pytest.raises(ShapeError, match=r"targets from -1"):
        tt.cross_entropy(Tensor(LOGITS), np.array([0, 1, -1, 0, 0]))
    with pytest.raises(ShapeError, match=r"mse_loss: shapes \(3,\) and \(3, 1\) differ"):
        tt.mse_loss(tt.zeros(3), tt.zeros(3, 1))
    with pytest.raises(SettingError, match="targets of dtype float64"):
        tt.cross_entropy(Tensor(LOGITS), np.zeros(5))
    with pytest.raises(SettingError, match=r"label_smoothing 1"):
        tt.CrossEntropyLoss(1)
