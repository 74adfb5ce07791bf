"""Module 16: a traced model computes what the model computes."""

from __future__ import annotations

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.acceleration import trace
from tinytorch.errors import GradientError
from tinytorch.tensor import Tensor


class Branching(tt.Module):
    """Uses its input twice, a constant, and something made of parameters alone."""

    def __init__(self) -> None:
        self.a, self.b = tt.Linear(4, 4), tt.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        scale = (self.a.weight * self.b.weight).sum()
        return tt.gelu(self.a(x)) * 2 + self.b(x) * scale + x.sum(1, keepdim=True) + np.float32(3)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_a_trace_gives_the_models_own_numbers_for_every_batch_size(n: int) -> None:
    tt.manual_seed(0)
    model = tt.Sequential(tt.Flatten(), Branching(), tt.Dropout(0.5), tt.Linear(4, 3), tt.Softmax())
    predict = trace(model)
    x = np.random.default_rng(0).standard_normal((n, 2, 2)).astype(np.float32)
    with tt.no_grad():
        np.testing.assert_array_equal(predict(x), model.eval()(Tensor(x)).data)
        np.testing.assert_array_equal(predict(x[::-1]), model(Tensor(x[::-1])).data)


def test_a_trace_runs_no_module_code_again() -> None:
    calls = 0

    def count(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return x * 2

    predict = trace(tt.Sequential(count))
    for _ in range(5):
        predict(np.ones((1, 2), np.float32))
    assert calls == 1


def test_an_output_that_ignores_the_input_is_refused() -> None:
    with pytest.raises(GradientError, match="does not depend on the input"):
        trace(tt.Sequential(lambda x: Tensor(x.data + 1)))(np.ones((1, 2), np.float32))
