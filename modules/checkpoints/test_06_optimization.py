"""Checkpoint 06: can I optimize parameters? A line through made points is found by each optimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinytorch.layers import Linear, Parameter
from tinytorch.losses import mse_loss
from tinytorch.optimizers import SGD, Adam, AdamW, CosineLR, Optimizer, StepLR, clip_grad_norm_
from tinytorch.tensor import Tensor

SLOPE, OFFSET = np.array([[2.0, -1.0]], np.float32), np.float32(0.5)


def points() -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(9).standard_normal((64, 2)).astype(np.float32)
    return x, x @ SLOPE.T + OFFSET


def fit(make: Callable[[Any], Optimizer], steps: int) -> Linear:
    (x, y), layer = points(), Linear(2, 1)
    optimizer = make(layer.parameters())
    for _ in range(steps):
        optimizer.zero_grad()
        mse_loss(layer(Tensor(x)), y).backward()
        optimizer.step()
    return layer


@pytest.mark.parametrize(
    "make",
    [
        lambda parameters: SGD(parameters, lr=0.1),
        lambda parameters: SGD(parameters, lr=0.02, momentum=0.9),
        lambda parameters: Adam(parameters, lr=0.05),
        lambda parameters: AdamW(parameters, lr=0.05, weight_decay=0.0),
    ],
    ids=["sgd", "momentum", "adam", "adamw"],
)
def test_each_optimizer_finds_the_line(make: Callable[[Any], Optimizer]) -> None:
    layer = fit(make, 300)
    assert layer.bias is not None
    np.testing.assert_allclose(layer.weight.numpy(), SLOPE, atol=0.01)
    np.testing.assert_allclose(layer.bias.numpy(), [OFFSET], atol=0.01)


def test_one_step_is_what_the_formula_says() -> None:
    w = Parameter(np.array([1.0, -2.0], np.float32))
    w.grad = Tensor(np.array([0.5, 4.0], np.float32))
    SGD([w], lr=0.1).step()
    np.testing.assert_allclose(w.numpy(), [0.95, -2.4], rtol=1e-6)
    w.grad = Tensor(np.array([0.5, -4.0], np.float32))
    Adam([w], lr=0.1).step()  # Adam's first step is lr in each direction, whatever the gradient's size
    np.testing.assert_allclose(w.numpy(), [0.85, -2.3], rtol=1e-5)


def test_weight_decay_shrinks_what_nothing_pulls_at() -> None:
    w = Parameter(np.ones(3, np.float32))
    optimizer = AdamW([w], lr=0.1, weight_decay=0.5)
    for _ in range(10):
        w.grad = Tensor(np.zeros(3, np.float32))
        optimizer.step()
    np.testing.assert_allclose(w.numpy(), 0.95**10, rtol=1e-5)


def test_schedules_lower_the_learning_rate() -> None:
    w = Parameter(np.ones(1, np.float32))
    schedules = [StepLR(SGD([w], lr=1.0), step_size=2, gamma=0.1), CosineLR(SGD([w], lr=1.0), total=4)]
    rates: list[list[float]] = []
    for schedule in schedules:
        rates.append([])
        for _ in range(5):
            rates[-1].append(round(schedule.get_last_lr()[0], 6))
            schedule.step()
    assert rates[0] == [1.0, 1.0, 0.1, 0.1, 0.01]
    assert rates[1] == [1.0, 0.853553, 0.5, 0.146447, 0.0]


def test_gradients_are_clipped_to_their_common_norm() -> None:
    a, b = Parameter(np.zeros(1, np.float32)), Parameter(np.zeros(1, np.float32))
    a.grad, b.grad = Tensor(np.array([3.0], np.float32)), Tensor(np.array([4.0], np.float32))
    assert clip_grad_norm_([a, b], 1.0) == pytest.approx(5)
    assert a.grad is not None
    assert b.grad is not None
    np.testing.assert_allclose([a.grad.item(), b.grad.item()], [0.6, 0.8], rtol=1e-4)
