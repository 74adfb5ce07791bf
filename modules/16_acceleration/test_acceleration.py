"""Module 16: a traced model computes the same as the model."""

from __future__ import annotations

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.acceleration import Plan, Slot, trace
from tinytorch.activations import relu_
from tinytorch.base.errors import GradientError
from tinytorch.layers import linear
from tinytorch.tensor import Tensor, is_grad_enabled, set_grad_enabled, sum_


class Branching(tt.Module):
    """Uses its input twice, a constant, and a value computed from parameters only."""

    def __init__(self) -> None:
        self.a, self.b = tt.Linear(4, 4), tt.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        scale = (self.a.weight * self.b.weight).sum()
        return tt.gelu(self.a(x)) * 2 + self.b(x) * scale + x.sum(1, keepdim=True) + np.float32(3)


def test_plan_contains_the_operations_on_the_input() -> None:
    model, x = tt.Sequential(tt.Linear(4, 3), tt.ReLU()), np.ones((2, 4), np.float32)
    steps = Plan(model, x).steps
    assert [forward for forward, _, _ in steps] == [linear.forward, relu_.forward]
    (_, (first, weight, bias), _), (_, (second,), _) = steps
    assert isinstance(first, Slot)
    assert isinstance(second, Slot)
    assert [first.index, second.index] == [0, 1]
    np.testing.assert_array_equal(weight, model[0].weight.data)  # type: ignore[attr-defined]
    assert not np.shares_memory(weight, model[0].weight.data)  # type: ignore[attr-defined]
    assert isinstance(bias, np.ndarray)


def test_plan_computes_what_depends_on_parameters_only_once() -> None:
    plan = Plan(Branching(), np.ones((2, 4), np.float32))
    assert len(plan.steps) == 9  # linear, gelu, and * 2; linear and * scale; +; sum and +; + 3
    assert sum(forward is sum_.forward for forward, _, _ in plan.steps) == 1


def test_plan_computes_the_result_for_another_input() -> None:
    model = Branching()
    plan = Plan(model, np.ones((2, 4), np.float32))
    x = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    for enabled in (True, False):
        set_grad_enabled(enabled)
        try:
            np.testing.assert_array_equal(plan(x), model(Tensor(x)).data)
            assert is_grad_enabled() == enabled
        finally:
            set_grad_enabled(True)


def test_each_shape_is_traced_once() -> None:
    shapes = []

    def seen(x: Tensor) -> Tensor:
        shapes.append(x.shape)
        return x.reshape(x.shape[0], -1)

    predict = trace(tt.Sequential(seen, tt.Linear(4, 3)))
    for n in (1, 2, 1, 3, 2, 1):
        assert predict(np.ones((n, 2, 2), np.float32)).shape == (n, 3)
    assert set(shapes) == {(1, 2, 2), (2, 2, 2), (3, 2, 2)}
    assert len(shapes) % 3 == 0  # as often for each shape: to record, and to check


@pytest.mark.parametrize("n", [1, 2, 7])
def test_trace_matches_the_model_for_every_batch_size(n: int) -> None:
    tt.manual_seed(0)
    model = tt.Sequential(tt.Flatten(), Branching(), tt.Dropout(0.5), tt.Linear(4, 3), tt.Softmax())
    predict = trace(model)
    x = np.random.default_rng(0).standard_normal((n, 2, 2)).astype(np.float32)
    with tt.no_grad():
        np.testing.assert_array_equal(predict(x), model.eval()(Tensor(x)).data)
        np.testing.assert_array_equal(predict(x[::-1]), model(Tensor(x[::-1])).data)


def test_trace_in_mixed_precision_matches_the_model(backend: str) -> None:
    tt.manual_seed(0)
    model = tt.Sequential(
        *(tt.Conv2d(3, 4, 3, bias=False), tt.MaxPool2d(2), tt.BatchNorm2d(4), tt.ReLU(), tt.BasicBlock(4, 8, 2)),
        *(tt.Flatten(), tt.Linear(32, 3)),
    ).eval()
    x = np.random.default_rng(0).standard_normal((4, 3, 8, 8)).astype(np.float32)
    with tt.autocast():
        np.testing.assert_array_equal(trace(model)(x), model(Tensor(x)).data)


def test_trace_does_not_run_module_code_again() -> None:
    calls = 0

    def count(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return x * 2

    predict = trace(tt.Sequential(count))
    predict(np.ones((1, 2), np.float32))
    traced = calls
    for _ in range(5):
        predict(np.ones((1, 2), np.float32))
    assert calls == traced


@pytest.mark.parametrize(
    "layer",
    [
        lambda x: tt.where(x > 0, x, 0.1 * x),
        lambda x: x - x.detach().max(),
        lambda x: x + tt.randn(1),
        lambda x: x if x.data.sum() > 0 else x * 2,
    ],
    ids=["comparison", "detach", "randomness", "branch"],
)
def test_input_dependence_outside_recorded_operations_is_rejected(layer: object) -> None:
    with pytest.raises(GradientError, match="same operations for every input"):
        trace(tt.Sequential(layer))(np.array([[1.0, 2.0, 4.0]], np.float32))  # type: ignore[arg-type]


def test_trace_is_a_snapshot_of_the_weights() -> None:
    model = Branching()
    predict, x = trace(model), np.ones((2, 4), np.float32)
    before = predict(x)
    for parameter in model.parameters():
        parameter.data += 1
    np.testing.assert_array_equal(predict(x), before)


def test_tracing_keeps_the_models_mode() -> None:
    model = tt.Sequential(tt.Linear(2, 2), tt.Dropout(0.5))
    model[1].training = False  # type: ignore[attr-defined]
    trace(model)(np.ones((1, 2), np.float32))
    assert [module.training for module in model.modules()] == [True, True, False]


def test_integer_inputs_are_rejected_with_a_message() -> None:
    with pytest.raises(GradientError, match="dtype int64: only floating-point"):
        trace(tt.Sequential(tt.ReLU()))(np.ones((1, 2), np.int64))


def test_output_that_ignores_the_input_is_rejected() -> None:
    with pytest.raises(GradientError, match="does not depend on the input"):
        trace(tt.Sequential(lambda x: Tensor(x.data + 1)))(np.ones((1, 2), np.float32))
