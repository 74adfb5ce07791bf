"""Module 16: a traced model computes the same as the model."""

from __future__ import annotations

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.acceleration import trace
from tinytorch.base.errors import GradientError
from tinytorch.tensor import Tensor


class Branching(tt.Module):
    """Uses its input twice, a constant, and a value computed from parameters only."""

    def __init__(self) -> None:
        self.a, self.b = tt.Linear(4, 4), tt.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        scale = (self.a.weight * self.b.weight).sum()
        return tt.gelu(self.a(x)) * 2 + self.b(x) * scale + x.sum(1, keepdim=True) + np.float32(3)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_trace_matches_the_model_for_every_batch_size(n: int) -> None:
    tt.manual_seed(0)
    model = tt.Sequential(tt.Flatten(), Branching(), tt.Dropout(0.5), tt.Linear(4, 3), tt.Softmax())
    predict = trace(model)
    x = np.random.default_rng(0).standard_normal((n, 2, 2)).astype(np.float32)
    with tt.no_grad():
        np.testing.assert_array_equal(predict(x), model.eval()(Tensor(x)).data)
        np.testing.assert_array_equal(predict(x[::-1]), model(Tensor(x[::-1])).data)


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
