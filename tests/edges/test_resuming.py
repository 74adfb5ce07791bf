"""Saved states of optimizers and schedules: everything is restored, in any order, and a misfit is refused."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.base.errors import StateError
from tinytorch.compression import GradualPruning

START = np.array([1.0, -2.0, 3.0], np.float32)

SCHEDULES: dict[str, Callable[[tt.Optimizer], tt.LambdaLR]] = {
    "StepLR": lambda o: tt.StepLR(o, 2),
    "CosineLR": lambda o: tt.CosineLR(o, 20, warmup=3, final=0.1),
    "LambdaLR": lambda o: tt.LambdaLR(o, lambda t: 1 / (t + 1)),
}
OPTIMIZERS: dict[str, tuple[Callable[..., tt.Optimizer], dict[str, Any]]] = {
    "SGD": (tt.SGD, {"momentum": 0.8, "weight_decay": 0.1, "nesterov": True}),
    "Adam": (tt.Adam, {"betas": (0.7, 0.8), "eps": 1e-3, "weight_decay": 0.2}),
    "AdamW": (tt.AdamW, {"betas": (0.7, 0.8), "eps": 1e-3, "weight_decay": 0.2}),
}


def train(optimizer: tt.Optimizer, schedule: tt.LambdaLR | None, steps: int) -> list[float]:
    found = []
    for i in range(steps):
        for p in optimizer.parameters():
            p.grad = tt.Tensor(np.cos(p.data + i))
        optimizer.step()
        if schedule is not None:
            schedule.step()
        found.append(float(optimizer.param_groups[0]["lr"]))
    return found


@pytest.mark.parametrize("name", SCHEDULES)
def test_optimizer_and_schedule_can_be_created_and_loaded_in_any_order(name: str) -> None:
    make = SCHEDULES[name]
    whole = tt.SGD([tt.Parameter(START)], lr=1e-3)
    rates = train(whole, steps := make(whole), 7)
    states = json.loads(json.dumps([whole.state_dict(), steps.state_dict()]))
    expected = train(whole, steps, 5)
    for order in itertools.permutations(["load optimizer", "create schedule", "load schedule"]):
        if order.index("load schedule") < order.index("create schedule"):
            continue
        optimizer = tt.SGD([tt.Parameter(START)], lr=0.5)
        schedule: Any = None
        for action in order:
            if action == "load optimizer":
                optimizer.load_state_dict(states[0])
            elif action == "create schedule":
                schedule = make(optimizer)
            else:
                schedule.load_state_dict(states[1])
        assert optimizer.param_groups[0]["lr"] == rates[-1]
        assert train(optimizer, schedule, 5) == expected, order


def test_new_schedule_of_a_loaded_optimizer_begins_at_the_initial_rate() -> None:
    # PyTorch 2.13: after six steps of StepLR(o, 2) at 1e-3, o2.load_state_dict(o.state_dict()); StepLR(o2, 2).base_lrs
    # is [0.001]
    optimizer = tt.SGD([tt.Parameter(START)], lr=1e-3)
    train(optimizer, tt.StepLR(optimizer, 2), 6)
    again = tt.SGD([tt.Parameter(START)], lr=0.5)
    again.load_state_dict(optimizer.state_dict())
    assert again.param_groups[0]["lr"] == pytest.approx(1e-6)
    schedule = tt.StepLR(again, 2)
    assert schedule.base_rates == [1e-3]
    assert again.param_groups[0]["lr"] == 1e-3


def test_optimizer_saved_without_a_schedule_gets_its_rate_as_the_initial_one() -> None:
    plain = tt.SGD([tt.Parameter(START)], lr=0.25)
    other = tt.SGD([tt.Parameter(START)], lr=0.5)
    schedule = tt.StepLR(other, 2)
    other.load_state_dict(plain.state_dict())
    assert schedule.base_rates == [0.25]


def test_schedule_restores_its_settings_and_refuses_another_class() -> None:
    def optimizer(groups: int = 1) -> tt.SGD:
        return tt.SGD([{"params": [tt.Parameter(START)]} for _ in range(groups)], lr=1.0)

    state = tt.StepLR(optimizer(), 2, gamma=0.5).state_dict()
    assert state == {"schedule": "StepLR", "last_epoch": 0, "base_lrs": [1.0], "step_size": 2, "gamma": 0.5}
    other = tt.StepLR(optimizer(), 7)
    other.load_state_dict(state)
    assert (other.step_size, other.gamma) == (2, 0.5)
    with pytest.raises(StateError, match="CosineLR: a state of StepLR"):
        tt.CosineLR(optimizer(), 5).load_state_dict(state)
    with pytest.raises(StateError, match="StepLR: a state for 1 parameter groups: expected 2"):
        tt.StepLR(optimizer(2), 2).load_state_dict(state)
    with pytest.raises(StateError, match="StepLR: a state of no schedule"):
        tt.StepLR(optimizer(), 2).load_state_dict({})


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_loaded_optimizer_has_all_settings_and_continues_bit_for_bit(name: str) -> None:
    make, settings = OPTIMIZERS[name]
    p = tt.Parameter(START.copy())
    whole = make([p], lr=0.1, **settings)
    train(whole, None, 4)
    other_p = tt.Parameter(p.data.copy())
    other = make([other_p], lr=99.0)  # every other setting differs too; SGD has no velocity yet
    other.load_state_dict(whole.state_dict())
    assert {k: v for k, v in other.param_groups[0].items() if k != "params"} == {"lr": 0.1, **settings}
    train(whole, None, 4)
    train(other, None, 4)
    np.testing.assert_array_equal(other_p.data, p.data)


def test_groups_keep_their_own_settings() -> None:
    def groups() -> list[dict[str, Any]]:
        return [{"params": [tt.Parameter(START), tt.Parameter(START)], "lr": 0.5}, {"params": [tt.Parameter(START)]}]

    first = tt.AdamW(groups(), lr=0.1, weight_decay=0.3)
    first.param_groups[1]["weight_decay"] = 0.0
    state = first.state_dict()
    assert [group["params"] for group in state["param_groups"]] == [[0, 1], [2]]
    second = tt.AdamW(groups())
    second.load_state_dict(state)
    assert [(g["lr"], g["weight_decay"]) for g in second.param_groups] == [(0.5, 0.3), (0.1, 0.0)]


@pytest.mark.parametrize("given", OPTIMIZERS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_state_of_another_class_is_refused(name: str, given: str) -> None:
    state = OPTIMIZERS[given][0]([tt.Parameter(START)], lr=0.1).state_dict()
    optimizer = OPTIMIZERS[name][0]([tt.Parameter(START)], lr=0.2)
    if name == given:
        optimizer.load_state_dict(state)
        return
    with pytest.raises(StateError, match=f"{name}: a state of {given}: expected one of {name}"):
        optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] == 0.2


MISFITS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no optimizer": (lambda s: s.pop("optimizer"), "a state of no optimizer"),
    "no groups": (lambda s: s.pop("param_groups"), r"groups of \[\] parameters: expected \[1\]"),
    "more parameters": (lambda s: s["param_groups"][0].update(params=[0, 1]), r"of \[2\] parameters: expected \[1\]"),
    "a setting is missing": (lambda s: s["param_groups"][0].pop("eps"), "a state with the settings"),
    "an unknown setting": (lambda s: s["param_groups"][0].update(extra=1), "a state with the settings"),
    "an array is missing": (lambda s: s.pop("0.mean"), r"state does not fit: 0\.mean"),
    "an unknown array": (lambda s: s.update({"1.mean": START}), r"state does not fit: 1\.mean"),
    "another shape": (lambda s: s.update({"0.mean": np.ones(2)}), r"state does not fit: 0\.mean"),
}


@pytest.mark.parametrize("what", MISFITS)
def test_misfit_is_refused_and_changes_nothing(what: str) -> None:
    change, message = MISFITS[what]
    source = tt.Adam([tt.Parameter(START)], lr=0.1)
    train(source, None, 2)
    state = source.state_dict()
    change(state)
    optimizer = tt.Adam([tt.Parameter(START)], lr=0.2)
    with pytest.raises(StateError, match=message):
        optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] == 0.2
    assert not optimizer.state[0]["mean"].any()


def test_wrapped_optimizer_and_schedule_see_the_loaded_groups() -> None:
    model = tt.Linear(3, 2)
    inner = tt.SGD(model.parameters(), lr=0.1, momentum=0.9)
    pruning = GradualPruning(inner, model, 0.5, steps=4)
    schedule = tt.StepLR(pruning, 1)
    train(pruning, schedule, 2)
    again = GradualPruning(tt.SGD(model.parameters(), lr=9.0), model, 0.5, steps=4)
    steps = tt.StepLR(again, 1)
    again.load_state_dict(pruning.state_dict())
    assert again.param_groups[0]["lr"] == again.optimizer.param_groups[0]["lr"] == pytest.approx(1e-3)
    assert steps.base_rates == [0.1]
    assert again.state is again.optimizer.state
    np.testing.assert_array_equal(again.state[0]["velocity"], inner.state[0]["velocity"])


def test_resumed_trainer_restores_every_setting(tmp_path: Any) -> None:
    x = np.linspace(0, 1, 12, dtype=np.float32)[:, None]
    loader = tt.DataLoader(tt.TensorDataset(x, 2 * x), 4)

    def trainer(file: str, **settings: Any) -> tt.Trainer:
        tt.manual_seed(0)
        model = tt.Linear(1, 1)
        optimizer = tt.AdamW(model.parameters(), **settings)
        schedule = tt.StepLR(optimizer, 2, gamma=0.5)
        return tt.Trainer(model, optimizer, tt.mse_loss, schedule, checkpoint=tmp_path / file)

    settings = {"lr": 0.3, "betas": (0.5, 0.6), "eps": 1e-2, "weight_decay": 0.4}
    whole = trainer("a", **settings)
    whole.fit(loader, 4)
    trainer("b", **settings).fit(loader, 2)
    resumed = trainer("b", lr=np.float32(7))  # the settings come from the checkpoint
    assert resumed.resume()
    resumed.fit(loader, 4)
    for name, value in whole.model.state_dict().items():
        np.testing.assert_array_equal(resumed.model.state_dict()[name].data, value.data)
