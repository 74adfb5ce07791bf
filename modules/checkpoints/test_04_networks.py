"""Checkpoint 04: can I measure loss? Losses rank good, undecided, and wrong predictions, and agree with each other."""

from __future__ import annotations

import math

import numpy as np

from tinytorch.activations import relu
from tinytorch.base.random import manual_seed
from tinytorch.layers import Linear, Sequential
from tinytorch.losses import BCEWithLogitsLoss, CrossEntropyLoss, MSELoss
from tinytorch.tensor import Tensor

LABELS = np.array([0, 3, 1, 2, 3, 0])


def logits(strength: float) -> Tensor:
    return Tensor(strength * np.eye(4)[LABELS])  # (N, C); negative strength: sure and wrong


def test_a_better_prediction_has_a_smaller_loss() -> None:
    losses = [CrossEntropyLoss()(logits(strength), LABELS).item() for strength in (10, 1, 0, -1, -10)]
    assert losses == sorted(losses)
    assert losses[0] < 0.001
    assert math.isclose(losses[2], math.log(4), rel_tol=1e-6), "an undecided model of four classes loses log 4"


def test_cross_entropy_stays_finite_for_sure_predictions() -> None:
    wrong = CrossEntropyLoss()(logits(-1000), LABELS).item()
    assert math.isclose(wrong, 1000 + math.log(3), rel_tol=1e-6)


def test_two_classes_by_one_logit_or_by_two() -> None:
    x = np.random.default_rng(5).normal(0, 3, 20)
    targets = np.arange(20) % 2
    by_one = BCEWithLogitsLoss()(Tensor(x), targets.astype(np.float64)).item()
    by_two = CrossEntropyLoss()(Tensor(np.stack([np.zeros(20), x], axis=1)), targets).item()
    assert math.isclose(by_one, by_two, rel_tol=1e-6)


def test_the_mean_is_the_constant_with_the_least_squared_error() -> None:
    y = np.random.default_rng(6).normal(2, 1, 50)
    at = {shift: MSELoss()(Tensor(np.full(50, y.mean() + shift)), y).item() for shift in (-0.5, 0.0, 0.5)}
    assert math.isclose(at[0.0], y.var(), rel_tol=1e-6)
    assert math.isclose(at[0.5], y.var() + 0.25, rel_tol=1e-6)
    assert math.isclose(at[-0.5], at[0.5], rel_tol=1e-6)


def test_smoothing_prefers_a_model_that_is_not_too_sure() -> None:
    loss = CrossEntropyLoss(label_smoothing=0.2)
    assert loss(logits(3), LABELS).item() < loss(logits(30), LABELS).item()


def test_the_loss_of_a_whole_network_is_one_number() -> None:
    manual_seed(0)
    model = Sequential(Linear(5, 8), relu, Linear(8, 4))
    x = np.random.default_rng(7).standard_normal((6, 5)).astype(np.float32)
    loss = CrossEntropyLoss()(model(Tensor(x)), LABELS)
    assert loss.shape == ()
    assert 0.5 < loss.item() < 3, "an untrained model is near log 4"
