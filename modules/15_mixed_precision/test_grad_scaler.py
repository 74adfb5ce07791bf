"""Module 15: dynamic loss scaling: an overflow costs one step, small gradients survive."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.base.errors import GradientError, SettingError, StateError
from tinytorch.layers import Parameter
from tinytorch.mixed_precision import GradScaler, autocast
from tinytorch.spatial import AdaptiveAvgPool2d, BasicBlock, BatchNorm2d, Conv2d, MaxPool2d


def network(seed: int = 0) -> tt.Module:
    tt.manual_seed(seed)
    return tt.Sequential(
        Conv2d(3, 16, 3, padding=1, bias=False), MaxPool2d(2), BatchNorm2d(16), tt.ReLU(),
        BasicBlock(16, 32, 2), AdaptiveAvgPool2d(2), tt.Flatten(), tt.Linear(128, 4),
    )  # fmt: skip


def images(n: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    return rng.standard_normal((n, 3, 16, 16), np.float32), rng.integers(0, 4, n)


def one_weight(gradient: float) -> tuple[Parameter, tt.SGD]:
    weight = Parameter(np.ones(2, np.float32))
    weight.grad = tt.Tensor(np.array([1.0, gradient], np.float32))
    return weight, tt.SGD([weight], lr=0.5)


def test_scale_cancels_in_the_update() -> None:
    weight = Parameter(np.array([2.0, 3.0], np.float32))
    optimizer, scaler = tt.SGD([weight], lr=1.0), GradScaler()
    loss = (weight * weight).sum()
    scaled = scaler.scale(loss)
    assert scaled.item() == 13 * 65536
    scaled.backward()
    assert scaler.step(optimizer)
    scaler.update()
    np.testing.assert_allclose(weight.data, [-2, -3])
    assert scaler.get_scale() == 65536


def test_scaled_loss_is_float32() -> None:
    loss = tt.Tensor(np.array(2, np.float16), requires_grad=True)
    scaled = GradScaler().scale(loss)  # 2 x 65536 is infinite in float16
    assert scaled.dtype == np.float32
    assert scaled.item() == 131072


def test_gradients_are_divided_by_the_scale() -> None:
    weight, optimizer = one_weight(6.0)
    scaler = GradScaler(4.0)
    assert scaler.unscale_(optimizer) is True
    assert weight.grad is not None
    assert weight.grad.data.tolist() == [0.25, 1.5]
    _, optimizer = one_weight(np.nan)
    assert scaler.unscale_(optimizer) is False


def test_gradients_that_share_an_array_are_divided_once() -> None:
    shared = np.array([8.0], np.float32)
    weights = [Parameter(np.ones(1, np.float32)) for _ in range(3)]
    for weight in weights[:2]:
        weight.grad = tt.Tensor(shared)
    GradScaler(4.0).unscale_(tt.SGD(weights, lr=0.5))
    assert [weight.grad.item() for weight in weights[:2] if weight.grad is not None] == [2, 2]
    assert shared.item() == 8
    assert weights[2].grad is None


def test_step_runs_only_with_finite_gradients() -> None:
    weight, optimizer = one_weight(2.0)
    assert GradScaler(4.0).step(optimizer) is True
    assert weight.data.tolist() == [0.875, 0.75]
    weight, optimizer = one_weight(np.inf)
    assert GradScaler(4.0).step(optimizer) is False
    assert weight.data.tolist() == [1, 1]


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_infinite_gradient_skips_the_step_and_halves_the_scale(bad: float) -> None:
    weight, optimizer = one_weight(bad)
    scaler = GradScaler()
    assert not scaler.step(optimizer)
    scaler.update()
    assert weight.data.tolist() == [1, 1]
    assert scaler.get_scale() == 32768


def test_scale_grows_after_enough_consecutive_finite_steps() -> None:
    scaler, scales = GradScaler(8.0, growth_interval=2), []
    for gradient in (1.0, np.inf, 1.0, 1.0, 1.0, 1.0):
        _, optimizer = one_weight(gradient)
        scaler.step(optimizer)
        scaler.update()
        scales.append(scaler.get_scale())
    assert scales == [8, 4, 4, 8, 8, 16]


def test_one_bad_gradient_of_many_is_enough() -> None:
    weights = [Parameter(np.ones(1, np.float32)) for _ in range(3)]
    for weight, g in zip(weights, (1.0, np.inf, 1.0), strict=True):
        weight.grad = tt.Tensor(np.array([g], np.float32))
    assert not GradScaler().step(tt.SGD(weights, lr=0.5))
    assert [weight.item() for weight in weights] == [1, 1, 1]


def test_summed_gradients_may_overflow_without_a_warning() -> None:
    """A tensor that is used twice sums two gradients: 60,000 plus 60,000 is infinite in float16."""
    x = tt.Tensor(np.ones(1, np.float16), requires_grad=True)
    with autocast("float16"):
        y = x + tt.relu(x)
    y.backward(np.array([60000]))
    assert x.grad is not None
    assert x.grad.item() == np.inf


def test_one_bad_optimizer_of_two_halves_the_scale_for_both() -> None:
    (good, first), (bad, second), scaler = one_weight(1.0), one_weight(np.nan), GradScaler(2.0)
    assert scaler.step(first)
    assert not scaler.step(second)
    scaler.update()
    assert good.data.tolist() == [0.75, 0.75]
    assert bad.data.tolist() == [1, 1]
    assert scaler.get_scale() == 1


def test_small_gradients_vanish_in_float16_without_the_scale() -> None:
    """1e-8 is below float16's smallest number, 6e-8."""
    found = []
    for scaler in (GradScaler(enabled=False), GradScaler()):
        layer = tt.Linear(1, 1, bias=False)
        first = tt.Linear(1, 1, bias=False)
        layer.weight.data[...] = first.weight.data[...] = 1
        with autocast("float16"):
            loss = layer(first(tt.Tensor([[1.0]]))).sum() * 1e-8
        scaler.scale(loss).backward()
        scaler.unscale_(tt.SGD(first.parameters(), lr=1.0))
        assert first.weight.grad is not None
        found.append(first.weight.grad.item())
    assert found[0] == 0
    assert found[1] == pytest.approx(1e-8, rel=1e-3)


def test_training_recovers_from_a_forced_overflow() -> None:
    """A scale of 2^40 makes the first gradients infinite in float16; training continues after enough halvings."""
    model, scaler = network(), GradScaler(2.0**40)
    optimizer = tt.SGD(model.parameters(), lr=0.05)
    x, labels = images()
    losses, steps = [], []
    for _ in range(40):
        before = model[7].weight.data.copy()  # type: ignore[index]
        with autocast("float16"):
            loss = tt.CrossEntropyLoss()(model(tt.Tensor(x)), labels)
        scaler.scale(loss).backward()
        steps.append(scaler.step(optimizer))
        scaler.update()
        optimizer.zero_grad()
        losses.append(loss.item())
        assert np.array_equal(before, model[7].weight.data) != steps[-1]  # type: ignore[index]
    assert not steps[0]
    skipped = steps.index(True)
    assert scaler.get_scale() == 2.0 ** (40 - steps.count(False))
    assert 10 <= skipped < 30
    assert losses[-1] < 0.7 * losses[0]
    assert all(np.isfinite(p.data).all() for p in model.parameters())


def test_gradients_can_be_clipped_between_unscale_and_step() -> None:
    weight, optimizer = one_weight(0.0)
    weight.grad = tt.Tensor(np.array([3.0, 4.0], np.float32) * 1024)
    scaler = GradScaler(1024)
    assert scaler.unscale_(optimizer)
    assert tt.clip_grad_norm_([weight], 1.0) == pytest.approx(5)
    scaler.step(optimizer)
    np.testing.assert_allclose(weight.data, [0.7, 0.6], rtol=1e-6)  # unscaled once, not twice


def test_calls_in_the_wrong_order_are_rejected() -> None:
    _, optimizer = one_weight(1.0)
    scaler = GradScaler()
    with pytest.raises(GradientError, match="without step"):
        scaler.update()
    scaler.unscale_(optimizer)
    with pytest.raises(GradientError, match=r"unscale_\(\) was called twice"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(GradientError, match=r"step\(\) was called twice"):
        scaler.step(optimizer)
    with pytest.raises(GradientError, match=r"unscale_\(\) was called after step\(\)"):
        scaler.unscale_(optimizer)
    scaler.update()
    scaler.step(optimizer)


def test_optimizer_is_identified_by_more_than_its_address() -> None:
    """A new optimizer may get the address of a deleted one, but must not inherit its result."""
    scaler = GradScaler()
    scaler.unscale_(one_weight(np.inf)[1])
    for _ in range(100):
        assert scaler.step(one_weight(1.0)[1])


def test_scale_and_its_reciprocal_stay_finite_in_float32() -> None:
    scaler = GradScaler(2.0**-100, growth_interval=1)
    for _ in range(1200):
        scaler.step(one_weight(np.nan)[1])
        scaler.update()
    assert scaler.get_scale() == 2.0**-126
    for _ in range(300):
        weight = Parameter(np.ones(2, np.float32))
        optimizer = tt.SGD([weight], lr=0.5)
        scaler.scale((weight * 2.0**-3).sum()).backward()
        assert scaler.step(optimizer)
        scaler.update()
        np.testing.assert_array_equal(weight.data, 1 - 2.0**-4)
    assert scaler.get_scale() == 2.0**127


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_gradients_keep_their_dtype(dtype: type) -> None:
    """A scale of 2^16 would be infinite in float16."""
    weight = Parameter(np.ones(2, dtype))
    weight.grad = tt.Tensor(np.array([1.0, 2.0**15], dtype))
    assert GradScaler(2.0**16).step(tt.SGD([weight], lr=1.0))
    assert weight.grad.dtype == weight.dtype == dtype
    np.testing.assert_array_equal(weight.grad.data, np.array([2.0**-16, 0.5]))


def test_disabled_scaler_does_nothing() -> None:
    weight, optimizer = one_weight(1.0)
    scaler = GradScaler(enabled=False)
    loss = tt.Tensor([2.0])
    assert scaler.scale(loss) is loss
    assert scaler.step(optimizer)
    scaler.update()
    assert weight.data.tolist() == [0.5, 0.5]
    assert scaler.get_scale() == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"init_scale": 0},
        {"init_scale": np.nan},
        {"init_scale": 2.0**-127},
        {"init_scale": 2.0**128},
        {"init_scale": "1"},
        {"init_scale": None},
        {"init_scale": True},
        {"growth_factor": 1},
        {"growth_factor": np.inf},
        {"growth_factor": None},
        {"backoff_factor": 1},
        {"backoff_factor": [0.5]},
        {"growth_interval": 0},
        {"growth_interval": 2.5},
    ],
)
def test_settings_out_of_range_are_rejected(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match="GradScaler: "):
        GradScaler(**settings)
    names = {"init_scale": "scale"}
    state = GradScaler(64.0).state_dict()
    scaler = GradScaler()
    with pytest.raises(StateError, match="GradScaler: state with "):
        scaler.load_state_dict(state | {names.get(name, name): value for name, value in settings.items()})
    assert scaler.state_dict() == GradScaler().state_dict()


@pytest.mark.parametrize("steps", [-1, 0.5, "2", None])
def test_state_with_invalid_steps_is_rejected(steps: Any) -> None:
    with pytest.raises(StateError, match="GradScaler: state with _growth_tracker"):
        GradScaler().load_state_dict(GradScaler().state_dict() | {"_growth_tracker": steps})


def test_state_dict_restores_the_scaler() -> None:
    old, new = GradScaler(64.0, growth_interval=3), GradScaler()
    _, optimizer = one_weight(1.0)
    old.step(optimizer)
    old.update()
    new.load_state_dict(old.state_dict())
    assert new.state_dict() == old.state_dict() == {
        "scale": 64.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 3, "_growth_tracker": 1,
    }  # fmt: skip
    with pytest.raises(StateError, match="GradScaler: state with"):
        new.load_state_dict({"scale": 1.0})
