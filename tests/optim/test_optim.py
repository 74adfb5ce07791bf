"""Optimizers and schedules beyond the course: text, groups, states, and settings. Values: tests/parity."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch import nn, optim
from tinytorch.base.errors import SettingError
from tinytorch.layers import Parameter
from tinytorch.optim import lr_scheduler
from tinytorch.tensor import Tensor

KINDS = ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax")
LONG: list[tuple[str, dict[str, Any]]] = [
    *((kind, {}) for kind in KINDS),
    ("SGD", {"momentum": 0.9, "dampening": 0.1}),
    ("Adam", {"amsgrad": True}),
    ("AdamW", {"maximize": True}),
    ("RMSprop", {"momentum": 0.9, "centered": True}),
]


def trained(kind: str, settings: dict[str, Any], steps: int, state: Any = None) -> tuple[nn.Linear, Any]:
    tt.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = getattr(optim, kind)(model.parameters(), lr=0.01, **settings)
    if state is not None:
        model.load_state_dict(state[0])
        optimizer.load_state_dict(state[1])
    x = tt.Tensor(np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32))
    for _ in range(steps):
        optimizer.zero_grad()
        (model(x) ** 2).sum().backward()
        optimizer.step()
    return model, optimizer


@pytest.mark.parametrize(("kind", "settings"), LONG)
def test_resumed_run_is_bit_equal(kind: str, settings: dict[str, Any]) -> None:
    whole, _ = trained(kind, settings, 6)
    model, optimizer = trained(kind, settings, 3)
    resumed, _ = trained(kind, settings, 3, (model.state_dict(), optimizer.state_dict()))
    np.testing.assert_array_equal(resumed.weight.data, whole.weight.data)


@pytest.mark.parametrize(("kind", "settings"), LONG)
def test_text_shows_settings_and_sizes(kind: str, settings: dict[str, Any]) -> None:
    _, optimizer = trained(kind, settings, 0)
    assert repr(optimizer).startswith(f"{kind}(lr=0.01, ")
    assert repr(optimizer).endswith("# 2 tensors, 8 parameters")


def test_courses_class_is_used_where_it_suffices() -> None:
    parameters = [nn.Parameter(tt.ones(2))]
    assert type(optim.Adam(parameters, fused=True)) is tt.Adam
    assert isinstance(optim.Adam(parameters, amsgrad=True), tt.Adam)
    assert isinstance(tt.AdamW(parameters), optim.AdamW)
    assert isinstance(optim.SGD(parameters), tt.SGD)


def test_group_added_later_gets_defaults_and_state() -> None:
    a, b = nn.Parameter(tt.ones(2)), nn.Parameter(tt.ones(3))
    optimizer = optim.Adam([a], lr=0.1)
    optimizer.add_param_group({"params": b, "lr": 0.5})
    optimizer.add_param_group({"params": [nn.Parameter(tt.ones(1))]})
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.5, 0.1]
    b.grad = tt.ones(3)
    optimizer.step()
    np.testing.assert_allclose(b.data, 0.5, rtol=1e-5)
    assert repr(optimizer).splitlines()[2].startswith("  group 1: lr=0.5, ")
    with pytest.raises(SettingError, match="given twice"):
        optimizer.add_param_group({"params": [a]})
    with pytest.raises(SettingError, match="unknown settings speed"):
        optimizer.add_param_group({"params": [nn.Parameter(tt.ones(1))], "speed": 1})


def test_step_runs_a_closure_and_returns_its_loss() -> None:
    w = nn.Parameter(tt.ones(1))
    optimizer: Any = optim.SGD([w], lr=0.1)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 1
    np.testing.assert_allclose(w.data, 0.8)


@pytest.mark.parametrize("name", [n for n in lr_scheduler.__all__ if n not in ("SequentialLR", "ReduceLROnPlateau")])
def test_schedule_continues_from_its_state(name: str) -> None:
    settings: dict[str, dict[str, Any]] = {
        "StepLR": {"step_size": 2}, "MultiStepLR": {"milestones": [1, 3]}, "ExponentialLR": {"gamma": 0.5},
        "CosineAnnealingLR": {"T_max": 5}, "CosineAnnealingWarmRestarts": {"T_0": 2}, "CosineLR": {"total": 9},
        "OneCycleLR": {"max_lr": 1.0, "total_steps": 9},
    }  # fmt: skip
    given = settings.get(name, {"lr_lambda": lambda t: 1 / (t + 1)} if name == "LambdaLR" else {})
    rates = []
    for resume in (False, True):
        optimizer = optim.SGD([nn.Parameter(tt.ones(1))], lr=0.1, momentum=0.9)
        schedule = getattr(lr_scheduler, name)(optimizer, **given)
        for i in range(6):
            if resume and i == 3:
                state = schedule.state_dict()
                optimizer = optim.SGD([nn.Parameter(tt.ones(1))], lr=0.1, momentum=0.9)
                schedule = getattr(lr_scheduler, name)(optimizer, **given)
                schedule.load_state_dict(state)
            schedule.step()
        rates.append(schedule.get_last_lr())
    assert rates[0] == rates[1]


def test_wrong_settings_are_refused() -> None:
    optimizer = optim.SGD([nn.Parameter(tt.ones(1))], lr=0.1)
    with pytest.raises(SettingError, match="lr -1"):
        optim.RMSprop([nn.Parameter(tt.ones(1))], lr=-1)
    with pytest.raises(SettingError, match="expected total_steps, or epochs and steps_per_epoch"):
        lr_scheduler.OneCycleLR(optimizer, 0.1)
    with pytest.raises(SettingError, match=r"factor 1\.5: expected less than 1"):
        lr_scheduler.ReduceLROnPlateau(optimizer, factor=1.5)
    with pytest.raises(SettingError, match="one for each"):
        lr_scheduler.LambdaLR(optimizer, [lambda t: 1.0, lambda t: 1.0])
    one_cycle = lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=2)
    one_cycle.step()
    with pytest.raises(SettingError, match="no more steps than total_steps"):
        one_cycle.step()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_resumed_optimizer_of_16_bit_parameters_continues_exactly(dtype: str) -> None:
    """Its state is float32: in 16 bits, squared gradients would be 0."""

    def run(resume: bool) -> np.ndarray:
        parameter = Parameter(Tensor(np.ones(8, np.float32)).to(dtype).data)
        optimizer = tt.Adam([parameter], lr=1e-2)
        for i in range(6):
            if resume and i == 3:
                state = copy.deepcopy(optimizer.state_dict())
                optimizer = tt.Adam([parameter], lr=1e-2)
                optimizer.load_state_dict(state)
                assert {a.dtype for name, a in optimizer.state[0].items() if name != "step"} == {np.dtype(np.float32)}
            parameter.grad = Tensor(np.linspace(1e-4, 1e-2, 8, dtype=np.float32)).to(dtype)
            optimizer.step()
        return parameter.data

    np.testing.assert_array_equal(run(resume=True), run(resume=False))
