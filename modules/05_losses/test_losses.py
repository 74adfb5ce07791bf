"""Module 05: losses against their formulas, at their limits, and with invalid inputs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.losses import (
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    MSELoss,
    binary_cross_entropy_with_logits,
    cross_entropy,
    mse_loss,
)
from tinytorch.tensor import Array, Tensor, zeros

LOGITS = np.random.default_rng(0).standard_normal((5, 3))
TARGETS = np.array([0, 2, 1, 1, 0])
SOFTMAX = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
X = np.random.default_rng(1).standard_normal(6)
T = np.array([0, 1, 1, 0, 0.3, 1])

# Mean squared error -------------------------------------------------------------------------------------


def test_mean_squared_error_matches_its_formula() -> None:
    x, t = np.random.default_rng(2).standard_normal((2, 4, 3))
    expected = ((x - t) ** 2).mean()
    np.testing.assert_allclose(mse_loss(Tensor(x), Tensor(t)).item(), expected, rtol=1e-12)
    np.testing.assert_allclose(mse_loss(Tensor(x), t).item(), expected, rtol=1e-12)
    np.testing.assert_allclose(MSELoss()(Tensor(x), Tensor(t)).item(), expected, rtol=1e-12)


def test_mean_squared_error_is_a_single_number_that_records_its_inputs() -> None:
    loss = mse_loss(Tensor([1.0, 2.0], requires_grad=True), Tensor([0.0, 4.0]))
    assert loss.shape == ()
    assert loss.item() == 2.5
    assert loss.requires_grad
    assert mse_loss(Tensor([1.0]), Tensor([0.0], requires_grad=True)).requires_grad


def test_mean_squared_error_keeps_the_dtype_for_any_target_dtype() -> None:
    assert mse_loss(zeros(2), np.array([0.0, 1.0])).dtype == np.float32
    assert mse_loss(Tensor([1.0, 2.0]), np.array([1, 2], np.uint8)).item() == 0


def test_mean_squared_error_of_different_shapes_is_rejected() -> None:
    with pytest.raises(ShapeError, match=r"mse_loss: shapes \(3,\) and \(3, 1\) differ"):
        mse_loss(zeros(3), zeros(3, 1))
    assert mse_loss(zeros(3, 1), zeros(3, 1)).item() == 0


# Binary cross-entropy -----------------------------------------------------------------------------------


def test_binary_cross_entropy_matches_its_formula() -> None:
    p = 1 / (1 + np.exp(-X))
    expected = -(T * np.log(p) + (1 - T) * np.log(1 - p)).mean()
    np.testing.assert_allclose(binary_cross_entropy_with_logits(Tensor(X), T).item(), expected, rtol=1e-12)
    np.testing.assert_allclose(BCEWithLogitsLoss()(Tensor(X), T).item(), expected, rtol=1e-12)
    square = binary_cross_entropy_with_logits(Tensor(X.reshape(2, 3)), T.reshape(2, 3))
    np.testing.assert_allclose(square.item(), expected, rtol=1e-12)


def test_binary_cross_entropy_is_a_float32_number_for_float32_logits() -> None:
    for targets in (np.array([0, 1]), np.array([0.0, 1.0]), Tensor([0.0, 1.0])):
        loss = binary_cross_entropy_with_logits(zeros(2), targets)
        assert loss.dtype == np.float32
        assert loss.shape == ()
        np.testing.assert_allclose(loss.item(), np.log(2), rtol=1e-6)


@given(st.floats(-1e4, 1e4, width=32))
def test_binary_cross_entropy_stays_finite_for_huge_logits(x: float) -> None:
    logits, targets = np.array([[x, -x]], np.float32), np.array([[0.0, 1.0]], np.float32)
    loss = binary_cross_entropy_with_logits(Tensor(logits), targets).item()
    np.testing.assert_allclose(loss, np.logaddexp(0, float(x)), rtol=1e-5, atol=1e-6)


def test_binary_cross_entropy_does_not_change_its_inputs() -> None:
    logits, targets = X.copy(), T.copy()
    binary_cross_entropy_with_logits(Tensor(logits), targets)
    np.testing.assert_array_equal(logits, X)
    np.testing.assert_array_equal(targets, T)


# Cross-entropy ------------------------------------------------------------------------------------------


def expected_loss(logits: Array, targets: Array, smoothing: float) -> float:
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    q = (1 - smoothing) * np.eye(logits.shape[1])[targets] + smoothing / logits.shape[1]
    return float(-(q * log_p).sum(axis=1).mean())


def test_cross_entropy_matches_its_formula() -> None:
    expected = expected_loss(LOGITS, TARGETS, 0.0)
    np.testing.assert_allclose(cross_entropy(Tensor(LOGITS), Tensor(TARGETS)).item(), expected, rtol=1e-12)
    np.testing.assert_allclose(cross_entropy(Tensor(LOGITS), TARGETS.astype(np.uint8)).item(), expected, rtol=1e-12)
    np.testing.assert_allclose(CrossEntropyLoss()(Tensor(LOGITS), TARGETS).item(), expected, rtol=1e-12)


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_label_smoothing_matches_its_formula(smoothing: float) -> None:
    loss = CrossEntropyLoss(smoothing)(Tensor(LOGITS), Tensor(TARGETS))
    np.testing.assert_allclose(loss.item(), expected_loss(LOGITS, TARGETS, smoothing), rtol=1e-12)


def test_equal_logits_cost_the_logarithm_of_the_number_of_classes() -> None:
    np.testing.assert_allclose(cross_entropy(zeros(4, 10), np.arange(4)).item(), np.log(10), rtol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_keeps_the_probabilities(smoothing: float) -> None:
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 1e-6)):
        loss = cross_entropy(Tensor(LOGITS.astype(dtype), requires_grad=True), TARGETS, smoothing)
        assert loss.node is not None
        kept = loss.node.kept
        assert kept.shape == (5, 3)
        assert kept.dtype == dtype
        np.testing.assert_allclose(kept, SOFTMAX, rtol=tolerance)


def test_cross_entropy_is_a_float32_number_for_float32_logits() -> None:
    for smoothing in (0.0, 0.1):
        loss = cross_entropy(zeros(2, 3), np.array([0, 1]), smoothing)
        assert loss.dtype == np.float32
        assert loss.shape == ()


@given(st.floats(-1e4, 1e4, width=32))
def test_cross_entropy_stays_finite_for_huge_logits(x: float) -> None:
    logits = np.array([[x, -x]], np.float32)
    loss = cross_entropy(Tensor(logits), np.array([0])).item()
    np.testing.assert_allclose(loss, np.logaddexp(0, -2 * float(x)), rtol=1e-5, atol=1e-6)


def test_cross_entropy_of_rows_that_are_far_apart_is_finite() -> None:
    logits = np.array([[1e4, 1e4], [-1e4, -1e4]], np.float32)
    np.testing.assert_allclose(cross_entropy(Tensor(logits), np.array([0, 1])).item(), np.log(2), rtol=1e-6)


def test_cross_entropy_does_not_change_its_inputs() -> None:
    logits, targets = LOGITS.copy(), TARGETS.copy()
    cross_entropy(Tensor(logits), targets, 0.1)
    np.testing.assert_array_equal(logits, LOGITS)
    np.testing.assert_array_equal(targets, TARGETS)


def test_invalid_logits_and_targets_are_stated() -> None:
    with pytest.raises(ShapeError, match=r"logits of shape \(5, 3\) and targets of shape \(4,\)"):
        cross_entropy(Tensor(LOGITS), np.zeros(4, int))
    with pytest.raises(ShapeError, match=r"targets from 0 to 3: expected 0 to 2 for 3 classes"):
        cross_entropy(Tensor(LOGITS), np.array([0, 1, 2, 3, 0]))
    with pytest.raises(ShapeError, match=r"targets from -1"):
        cross_entropy(Tensor(LOGITS), np.array([0, 1, -1, 0, 0]))
    with pytest.raises(SettingError, match="targets of dtype float64"):
        cross_entropy(Tensor(LOGITS), np.zeros(5))
    with pytest.raises(SettingError, match=r"label_smoothing 1"):
        CrossEntropyLoss(1)
