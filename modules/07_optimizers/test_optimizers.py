"""Module 07: each update against its formula in float64, schedules, clipping, and saved state."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tinytorch.base.errors import GradientError, SettingError, StateError
from tinytorch.layers import Parameter
from tinytorch.optimizers import SGD, Adam, AdamW, CosineLR, LambdaLR, Optimizer, StepLR, clip_grad_norm_
from tinytorch.tensor import Array, Tensor

START = np.array([1.0, -2.0, 3.0])
GRADIENTS = np.random.default_rng(7).standard_normal((6, 3))

# The optimizer's base class ------------------------------------------------------------------------------


class Recorder(Optimizer):
    """An optimizer that moves each parameter by its gradient and records what `update` received."""

    def __init__(self, parameters: Any, lr: float = 1.0) -> None:
        self.calls: list[tuple[Array, Array, dict[str, Array], Array, dict[str, Any]]] = []
        super().__init__(parameters, lr=lr)

    def new_state(self, data: Array, group: dict[str, Any]) -> dict[str, Array]:
        return {"own": np.zeros_like(data)}

    def update(self, data: Array, g: Array, state: dict[str, Array], scratch: Array, group: dict[str, Any]) -> None:
        self.calls.append((data, g, state, scratch, group))
        data += g


def test_zero_grad_resets_every_gradient_to_none() -> None:
    a, b = Parameter(np.ones(1)), Parameter(np.ones(2))
    a.grad, b.grad = Tensor(np.ones(1)), Tensor(np.ones(2))
    optimizer = Recorder([{"params": [a]}, {"params": [b]}])
    optimizer.zero_grad()
    assert a.grad is b.grad is None


def test_step_updates_each_parameter_with_its_own_state_and_group() -> None:
    parameters = [Parameter(np.full(n, float(n))) for n in (1, 2, 3)]
    groups = [{"params": parameters[:2]}, {"params": parameters[2:], "lr": 0.5}]
    optimizer = Recorder(groups)
    gradients = [np.ones(n) for n in (1, 2, 3)]
    for parameter, g in zip(parameters, gradients, strict=True):
        parameter.grad = Tensor(g)
    optimizer.step()
    assert [p.data.tolist() for p in parameters] == [[2], [3, 3], [4, 4, 4]]
    assert len(optimizer.calls) == 3
    for i, (data, g, state, scratch, group) in enumerate(optimizer.calls):
        assert data is parameters[i].data
        assert g is gradients[i]
        assert state is optimizer.state[i]
        assert scratch.shape == data.shape
        assert group["lr"] == (1.0, 1.0, 0.5)[i]


def test_step_skips_parameters_without_a_gradient_but_not_their_state() -> None:
    first, second = Parameter(np.ones(2)), Parameter(np.ones(3))
    optimizer = Recorder([first, second])
    second.grad = Tensor(np.ones(3))
    optimizer.step()
    assert len(optimizer.calls) == 1
    assert optimizer.calls[0][2] is optimizer.state[1]
    assert optimizer.calls[0][3].shape == (3,)
    assert first.data.tolist() == [1, 1]


def test_update_must_be_defined() -> None:
    parameter = Parameter(np.ones(1))
    parameter.grad = Tensor(np.ones(1))
    with pytest.raises(NotImplementedError, match=r"Optimizer must define update\(\)"):
        Optimizer([parameter], lr=1.0).step()


# Updates ------------------------------------------------------------------------------------------------


def run(make: Any, **settings: Any) -> np.ndarray:
    """Run six steps with given gradients."""
    parameter = Parameter(START.copy())
    optimizer = make([parameter], **settings)
    data = parameter.data
    for g in GRADIENTS:
        parameter.grad = Tensor(g.copy())
        optimizer.step()
        assert parameter.grad is not None
        np.testing.assert_array_equal(parameter.grad.data, g, err_msg="the gradient was written into")
    assert parameter.data is data, "the parameter's array was replaced instead of changed"
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


SGD_CASES: dict[str, tuple[dict[str, Any], Array]] = {
    "plain": ({"lr": 0.1}, sgd(0.1)),
    "momentum": ({"lr": 0.1, "momentum": 0.9}, sgd(0.1, 0.9)),
    "Nesterov": ({"lr": 0.1, "momentum": 0.9, "nesterov": True}, sgd(0.1, 0.9, nesterov=True)),
    "weight decay": ({"lr": 0.1, "weight_decay": 0.2}, sgd(0.1, 0.0, 0.2)),
    "momentum and decay": ({"lr": 0.1, "momentum": 0.5, "weight_decay": 0.2}, sgd(0.1, 0.5, 0.2)),
    "all": ({"lr": 0.1, "momentum": 0.5, "weight_decay": 0.2, "nesterov": True}, sgd(0.1, 0.5, 0.2, nesterov=True)),
}
ADAM_CASES: dict[str, tuple[dict[str, Any], Array]] = {
    "plain": ({"lr": 0.1}, adam(0.1, 0.9, 0.999, 1e-8)),
    "large eps": ({"lr": 0.1, "eps": 0.5}, adam(0.1, 0.9, 0.999, 0.5)),
    "other betas": ({"lr": 0.1, "betas": (0.5, 0.7)}, adam(0.1, 0.5, 0.7, 1e-8)),
    "weight decay": ({"lr": 0.1, "weight_decay": 0.3}, adam(0.1, 0.9, 0.999, 1e-8, coupled=0.3)),
}


@pytest.mark.parametrize("name", SGD_CASES)
def test_sgd_follows_its_formula(name: str) -> None:
    settings, expected = SGD_CASES[name]
    np.testing.assert_allclose(run(SGD, **settings), expected, rtol=1e-10)


@pytest.mark.parametrize("name", ADAM_CASES)
def test_adam_follows_its_formula(name: str) -> None:
    settings, expected = ADAM_CASES[name]
    np.testing.assert_allclose(run(Adam, **settings), expected, rtol=1e-10)


def test_adamw_decays_the_weights_apart_from_the_gradient() -> None:
    expected = adam(0.1, 0.8, 0.9, 1e-8, decoupled=0.01)
    np.testing.assert_allclose(run(AdamW, lr=0.1, betas=(0.8, 0.9)), expected, rtol=1e-10)


def keeps_float32_and_places(make: Any) -> None:
    parameter = Parameter(START.astype(np.float32))
    data, gradient = parameter.data, np.ones(3, np.float32)
    parameter.grad = Tensor(gradient)
    make([parameter], lr=0.1, weight_decay=0.1).step()
    assert parameter.data is data
    assert not np.array_equal(data, START)
    np.testing.assert_array_equal(gradient, 1)
    assert data.dtype == np.float32


def test_sgd_changes_weights_in_place_and_keeps_the_gradient() -> None:
    keeps_float32_and_places(SGD)


def test_adam_changes_weights_in_place_and_keeps_the_gradient() -> None:
    keeps_float32_and_places(Adam)
    keeps_float32_and_places(AdamW)


def test_parameters_without_a_gradient_do_not_change() -> None:
    parameter = Parameter(START.copy())
    Adam([parameter]).step()
    np.testing.assert_array_equal(parameter.data, START)


def test_groups_have_their_own_settings() -> None:
    a, b = Parameter(np.ones(1)), Parameter(np.ones(1))
    groups: list[dict[str, Any]] = [{"params": [a]}, {"params": [b], "lr": 0.0}]
    optimizer = SGD(groups, lr=0.5)
    a.grad = b.grad = Tensor(np.ones(1))
    optimizer.step()
    assert (a.item(), b.item()) == (0.5, 1.0)


def test_loaded_state_continues_exactly() -> None:
    def stepped(optimizer: Optimizer, parameter: Parameter, gradients: np.ndarray) -> None:
        for g in gradients:
            parameter.grad = Tensor(g)
            optimizer.step()

    whole = Parameter(START.copy())
    stepped(AdamW([whole], lr=0.1), whole, GRADIENTS)
    first = Parameter(START.copy())
    before = AdamW([first], lr=0.1)
    stepped(before, first, GRADIENTS[:3])
    after = AdamW([first], lr=99)
    after.load_state_dict(before.state_dict())
    stepped(after, first, GRADIENTS[3:])
    np.testing.assert_array_equal(first.data, whole.data)


def test_state_of_another_optimizer_is_rejected() -> None:
    state = SGD([Parameter(START)], momentum=0.9).state_dict()
    with pytest.raises(StateError, match=r"Adam: a state of SGD: expected one of Adam"):
        Adam([Parameter(START)]).load_state_dict(state)


def rates(schedule: LambdaLR, steps: int) -> list[float]:
    out = []
    for _ in range(steps):
        out.append(schedule.get_last_lr()[0])
        schedule.step()
    return out


def make_sgd() -> SGD:
    return SGD([Parameter(START.copy())], lr=2.0)


def test_step_decay_follows_its_formula() -> None:
    np.testing.assert_allclose(rates(StepLR(make_sgd(), 2, gamma=0.5), 5), [2, 2, 1, 1, 0.5])
    np.testing.assert_allclose(rates(StepLR(make_sgd(), 3), 7), [2, 2, 2, 0.2, 0.2, 0.2, 0.02])


def test_schedules_change_every_group_and_can_jump() -> None:
    a, b = Parameter(np.ones(1)), Parameter(np.ones(1))
    groups: list[dict[str, Any]] = [{"params": [a]}, {"params": [b], "lr": 8.0}]
    schedule = StepLR(SGD(groups, lr=2.0), 10, gamma=0.5)
    schedule.seek(25)
    assert schedule.get_last_lr() == [0.5, 2.0]
    np.testing.assert_allclose(rates(LambdaLR(make_sgd(), lambda t: 1 / (t + 1)), 3), [2, 1, 2 / 3])


def test_cosine_schedule_follows_its_formula() -> None:
    cosine = rates(CosineLR(make_sgd(), total=10, warmup=4, final=0.1), 13)
    np.testing.assert_allclose(cosine[:5], [0.4, 0.8, 1.2, 1.6, 2.0])
    np.testing.assert_allclose(cosine[5], 2 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 6))))
    np.testing.assert_allclose(cosine[7], 2 * (0.1 + 0.9 * 0.5))
    np.testing.assert_allclose(cosine[10:], 0.2)
    without_warmup = rates(CosineLR(make_sgd(), total=2), 4)
    np.testing.assert_allclose(without_warmup, [2, 1, 0, 0], atol=1e-15)
    with pytest.raises(SettingError, match="warmup 5 of 5"):
        CosineLR(make_sgd(), total=5, warmup=5)


def test_clipping_scales_all_gradients_by_one_factor() -> None:
    a, b = Parameter(np.zeros(2)), Parameter(np.zeros(1))
    shared = np.array([3.0, 0.0])
    a.grad, b.grad = Tensor(shared), Tensor(np.array([4.0]))
    assert clip_grad_norm_([a, b, Parameter(np.zeros(1))], 1.0) == 5
    np.testing.assert_allclose(a.grad.data, [0.6, 0])
    np.testing.assert_allclose(b.grad.data, [0.8])
    np.testing.assert_array_equal(shared, [3, 0])
    assert math.isclose(clip_grad_norm_([a, b], 2.0), 1.0)
    np.testing.assert_allclose(b.grad.data, [0.8])


def test_clipping_keeps_float32_and_small_gradients() -> None:
    p = Parameter(np.zeros(2, np.float32))
    g = Tensor(np.array([3, 4], np.float32))
    p.grad = g
    assert clip_grad_norm_([p], 5.0) == 5
    assert p.grad is g
    assert clip_grad_norm_(iter([p]), 2.5) == 5
    assert p.grad.dtype == np.float32
    np.testing.assert_allclose(p.grad.data, [1.5, 2], rtol=1e-6)


def test_clipping_rejects_a_norm_that_is_not_finite() -> None:
    a = Parameter(np.zeros(1))
    a.grad = Tensor(np.array([np.nan]))
    with pytest.raises(GradientError, match="norm is nan"):
        clip_grad_norm_([a], 1.0, error_if_nonfinite=True)


def test_clipping_leaves_gradients_alone_if_no_factor_would_help() -> None:
    a = Parameter(np.zeros(2))
    a.grad = Tensor(np.array([np.inf, 1]))
    assert clip_grad_norm_([a], 1.0) == np.inf
    np.testing.assert_array_equal(a.grad.data, [np.inf, 1])


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (SGD, {"lr": -1}, "lr -1"),
        (SGD, {"momentum": 1.0}, "momentum 1.0"),
        (SGD, {"nesterov": True}, "> 0 for Nesterov"),
        (Adam, {"betas": (0.9, 1.0)}, r"betas \(0.9, 1.0\)"),
        (AdamW, {"eps": math.nan}, "eps nan"),
    ],
)
def test_settings_out_of_range_are_rejected(make: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        make([Parameter(START)], **settings)


def test_groups_override_every_setting_and_unknown_settings_are_rejected() -> None:
    p = Parameter(START.copy())
    optimizer = SGD([{"params": iter([p]), "momentum": 0.9, "nesterov": True}], lr=0.1)
    for g in GRADIENTS:
        p.grad = Tensor(g)
        optimizer.step()
    np.testing.assert_allclose(p.data, sgd(0.1, 0.9, nesterov=True))
    with pytest.raises(SettingError, match="unknown settings typo"):
        SGD([{"params": [p], "typo": 1}])
    with pytest.raises(SettingError, match="given twice"):
        SGD([p, p])


def test_bias_correction_of_an_idle_parameter_starts_at_its_first_step() -> None:
    busy, idle = Parameter(np.zeros(1)), Parameter(np.zeros(1))
    optimizer = Adam([busy, idle], lr=0.1)
    for _ in range(9):
        busy.grad = Tensor(np.ones(1))
        optimizer.step()
    idle.grad = Tensor(np.ones(1))
    optimizer.step()
    np.testing.assert_allclose(idle.data, -0.1, rtol=1e-6)


def test_clipping_handles_squares_too_large_for_float32() -> None:
    p = Parameter(np.zeros(2, np.float32))
    p.grad = Tensor(np.array([3e20, 4e20], np.float32))
    np.testing.assert_allclose(clip_grad_norm_([p], 1.0), 5e20, rtol=1e-6)
    np.testing.assert_allclose(p.grad.data, [0.6, 0.8], rtol=1e-6)


def test_an_optimizer_without_parameters_is_rejected() -> None:
    with pytest.raises(SettingError, match="no parameters"):
        SGD([])
