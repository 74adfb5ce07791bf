"""Module 07: each update against its formula in float64, schedules, clipping, and saved state."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.base.errors import GradientError, SettingError, StateError
from tinytorch.optimizers import Optimizer
from tinytorch.tensor import Array, Tensor

START = np.array([1.0, -2.0, 3.0])
GRADIENTS = np.random.default_rng(7).standard_normal((6, 3))


def run(make: Any, **settings: Any) -> np.ndarray:
    """Run six steps with given gradients."""
    parameter = tt.Parameter(START.copy())
    optimizer = make([parameter], **settings)
    for g in GRADIENTS:
        parameter.grad = Tensor(g.copy())
        optimizer.step()
    return parameter.data


def sgd(lr: float, momentum: float = 0.0, weight_decay: float = 0.0, nesterov: bool = False) -> np.ndarray:
    p, v = START.copy(), np.zeros(3)
    for gradient in GRADIENTS:
        g = gradient + weight_decay * p
        v = momentum * v + g
        p = p - lr * (g + momentum * v if nesterov else v)
    return p


def adam(lr: float, b1: float, b2: float, eps: float, coupled: float = 0.0, decoupled: float = 0.0) -> np.ndarray:
    p, m, v = START.copy(), np.zeros(3), np.zeros(3)
    for t, gradient in enumerate(GRADIENTS, 1):
        g = gradient + coupled * p
        p = p * (1 - lr * decoupled)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        p = p - lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
    return p


CASES: dict[str, tuple[Callable[..., Any], dict[str, Any], Array]] = {
    "sgd": (tt.SGD, {"lr": 0.1}, sgd(0.1)),
    "sgd momentum": (tt.SGD, {"lr": 0.1, "momentum": 0.9}, sgd(0.1, 0.9)),
    "sgd nesterov": (tt.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}, sgd(0.1, 0.9, nesterov=True)),
    "sgd decay": (tt.SGD, {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.2}, sgd(0.1, 0.5, 0.2)),
    "adam": (tt.Adam, {"lr": 0.1}, adam(0.1, 0.9, 0.999, 1e-8)),
    "adam large eps": (tt.Adam, {"lr": 0.1, "eps": 0.5}, adam(0.1, 0.9, 0.999, 0.5)),
    "adam decay": (tt.Adam, {"lr": 0.1, "weight_decay": 0.3}, adam(0.1, 0.9, 0.999, 1e-8, coupled=0.3)),
    "adamw": (tt.AdamW, {"lr": 0.1, "betas": (0.8, 0.9)}, adam(0.1, 0.8, 0.9, 1e-8, decoupled=0.01)),
}


@pytest.mark.parametrize("name", CASES)
def test_optimizer_follows_its_formula(name: str) -> None:
    make, settings, expected = CASES[name]
    np.testing.assert_allclose(run(make, **settings), expected, rtol=1e-10)


def test_step_changes_weights_in_place_and_keeps_the_gradient() -> None:
    for make in (tt.SGD, tt.AdamW):
        parameter = tt.Parameter(START.astype(np.float32))
        data, gradient = parameter.data, np.ones(3, np.float32)
        parameter.grad = Tensor(gradient)
        make([parameter], lr=0.1, weight_decay=0.1).step()
        assert parameter.data is data
        assert not np.array_equal(data, START)
        np.testing.assert_array_equal(gradient, 1)
        assert data.dtype == np.float32


def test_parameters_without_a_gradient_do_not_change() -> None:
    parameter = tt.Parameter(START.copy())
    tt.Adam([parameter]).step()
    np.testing.assert_array_equal(parameter.data, START)


def test_groups_have_their_own_settings() -> None:
    a, b = tt.Parameter(np.ones(1)), tt.Parameter(np.ones(1))
    groups: list[dict[str, Any]] = [{"params": [a]}, {"params": [b], "lr": 0.0}]
    optimizer = tt.SGD(groups, lr=0.5)
    a.grad = b.grad = Tensor(np.ones(1))
    optimizer.step()
    assert (a.item(), b.item()) == (0.5, 1.0)
    optimizer.zero_grad()
    assert a.grad is None


def test_loaded_state_continues_exactly() -> None:
    def stepped(optimizer: Optimizer, parameter: tt.Parameter, gradients: np.ndarray) -> None:
        for g in gradients:
            parameter.grad = Tensor(g)
            optimizer.step()

    whole = tt.Parameter(START.copy())
    stepped(tt.AdamW([whole], lr=0.1), whole, GRADIENTS)
    first = tt.Parameter(START.copy())
    before = tt.AdamW([first], lr=0.1)
    stepped(before, first, GRADIENTS[:3])
    after = tt.AdamW([first], lr=99)
    after.load_state_dict(before.state_dict())
    stepped(after, first, GRADIENTS[3:])
    np.testing.assert_array_equal(first.data, whole.data)


def test_state_of_another_optimizer_is_rejected() -> None:
    state = tt.SGD([tt.Parameter(START)], momentum=0.9).state_dict()
    with pytest.raises(StateError, match=r"Adam: a state of SGD: expected one of Adam"):
        tt.Adam([tt.Parameter(START)]).load_state_dict(state)


def rates(schedule: tt.LambdaLR, steps: int) -> list[float]:
    out = []
    for _ in range(steps):
        out.append(schedule.get_last_lr()[0])
        schedule.step()
    return out


def test_schedules_follow_their_formulas() -> None:
    def optimizer() -> tt.SGD:
        return tt.SGD([tt.Parameter(START)], lr=2.0)

    np.testing.assert_allclose(rates(tt.StepLR(optimizer(), 2, gamma=0.5), 5), [2, 2, 1, 1, 0.5])
    cosine = rates(tt.CosineLR(optimizer(), total=10, warmup=4, final=0.1), 13)
    np.testing.assert_allclose(cosine[:5], [0.4, 0.8, 1.2, 1.6, 2.0])
    np.testing.assert_allclose(cosine[7], 2 * (0.1 + 0.9 * 0.5))
    np.testing.assert_allclose(cosine[10:], 0.2)
    np.testing.assert_allclose(rates(tt.LambdaLR(optimizer(), lambda t: 1 / (t + 1)), 3), [2, 1, 2 / 3])
    with pytest.raises(SettingError, match="warmup 5 of 5"):
        tt.CosineLR(optimizer(), total=5, warmup=5)


def test_clipping_scales_all_gradients_by_one_factor() -> None:
    a, b = tt.Parameter(np.zeros(2)), tt.Parameter(np.zeros(1))
    shared = np.array([3.0, 0.0])
    a.grad, b.grad = Tensor(shared), Tensor(np.array([4.0]))
    assert tt.clip_grad_norm_([a, b, tt.Parameter(np.zeros(1))], 1.0) == 5
    np.testing.assert_allclose(a.grad.data, [0.6, 0])
    np.testing.assert_allclose(b.grad.data, [0.8])
    np.testing.assert_array_equal(shared, [3, 0])
    assert math.isclose(tt.clip_grad_norm_([a, b], 2.0), 1.0)
    np.testing.assert_allclose(b.grad.data, [0.8])


def test_clipping_rejects_a_norm_that_is_not_finite() -> None:
    a = tt.Parameter(np.zeros(1))
    a.grad = Tensor(np.array([np.nan]))
    with pytest.raises(GradientError, match="norm is nan"):
        tt.clip_grad_norm_([a], 1.0, error_if_nonfinite=True)


def test_clipping_leaves_gradients_alone_if_no_factor_would_help() -> None:
    a = tt.Parameter(np.zeros(2))
    a.grad = Tensor(np.array([np.inf, 1]))
    assert tt.clip_grad_norm_([a], 1.0) == np.inf
    np.testing.assert_array_equal(a.grad.data, [np.inf, 1])


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (tt.SGD, {"lr": -1}, "lr -1"),
        (tt.SGD, {"momentum": 1.0}, "momentum 1.0"),
        (tt.SGD, {"nesterov": True}, "> 0 for Nesterov"),
        (tt.Adam, {"betas": (0.9, 1.0)}, r"betas \(0.9, 1.0\)"),
        (tt.AdamW, {"eps": math.nan}, "eps nan"),
    ],
)
def test_settings_out_of_range_are_rejected(make: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        make([tt.Parameter(START)], **settings)


def test_groups_override_every_setting_and_unknown_settings_are_rejected() -> None:
    p = tt.Parameter(START.copy())
    optimizer = tt.SGD([{"params": iter([p]), "momentum": 0.9, "nesterov": True}], lr=0.1)
    for g in GRADIENTS:
        p.grad = Tensor(g)
        optimizer.step()
    np.testing.assert_allclose(p.data, sgd(0.1, 0.9, nesterov=True))
    with pytest.raises(SettingError, match="unknown settings typo"):
        tt.SGD([{"params": [p], "typo": 1}])
    with pytest.raises(SettingError, match="given twice"):
        tt.SGD([p, p])


def test_bias_correction_of_an_idle_parameter_starts_at_its_first_step() -> None:
    busy, idle = tt.Parameter(np.zeros(1)), tt.Parameter(np.zeros(1))
    optimizer = tt.Adam([busy, idle], lr=0.1)
    for _ in range(9):
        busy.grad = Tensor(np.ones(1))
        optimizer.step()
    idle.grad = Tensor(np.ones(1))
    optimizer.step()
    np.testing.assert_allclose(idle.data, -0.1, rtol=1e-6)


def test_clipping_handles_squares_too_large_for_float32() -> None:
    p = tt.Parameter(np.zeros(2, np.float32))
    p.grad = Tensor(np.array([3e20, 4e20], np.float32))
    np.testing.assert_allclose(tt.clip_grad_norm_([p], 1.0), 5e20, rtol=1e-6)
    np.testing.assert_allclose(p.grad.data, [0.6, 0.8], rtol=1e-6)


def test_an_optimizer_without_parameters_is_rejected() -> None:
    with pytest.raises(SettingError, match="no parameters"):
        tt.SGD([])
