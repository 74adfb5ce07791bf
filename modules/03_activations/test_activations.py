"""Module 03: activations against their formulas in float64, and at the limits of floating point."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

import tinytorch as tt
from tinytorch.tensor import Array, Tensor

X = np.linspace(-6, 6, 25)
EXPONENTIALS = np.exp(X) / np.exp(X).sum()

FORMULAS: dict[str, tuple[Callable[[Tensor], Tensor], Array]] = {
    "relu": (tt.ReLU(), np.where(X > 0, X, 0)),
    "sigmoid": (tt.Sigmoid(), 1 / (1 + np.exp(-X))),
    "tanh": (tt.Tanh(), (np.exp(X) - np.exp(-X)) / (np.exp(X) + np.exp(-X))),
    "gelu": (tt.GELU(), X / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (X + 0.044715 * X**3)))),
    "softmax": (tt.Softmax(), EXPONENTIALS),
    "log_softmax": (tt.LogSoftmax(), np.log(EXPONENTIALS)),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_activation_matches_its_formula(name: str) -> None:
    layer, expected = FORMULAS[name]
    np.testing.assert_allclose(layer(Tensor(X)).data, expected, rtol=1e-12)
    single = layer(Tensor(X.astype(np.float32))).data
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [5, 5000])
def test_relu_is_the_same_for_small_and_large_arrays(size: int) -> None:
    x = np.random.default_rng(0).standard_normal((3, size, 2)).astype(np.float32).transpose(2, 0, 1)
    y = tt.relu(Tensor(x)).data
    np.testing.assert_array_equal(y, np.where(x > 0, x, 0))
    assert y.strides == np.empty_like(x).strides


@pytest.mark.parametrize("function", [tt.relu, tt.sigmoid, tt.tanh, tt.gelu])
def test_scalar_and_empty_inputs_work(function: object) -> None:
    assert function(Tensor(np.float32(0.5))).shape == ()  # type: ignore[operator]
    assert function(tt.zeros(0, 3)).shape == (0, 3)  # type: ignore[operator]


def test_gelu_is_close_to_the_exact_form() -> None:
    exact = [x * 0.5 * (1 + math.erf(x / math.sqrt(2))) for x in X]
    np.testing.assert_allclose(tt.gelu(Tensor(X)).data, exact, atol=5e-4)


@pytest.mark.parametrize("function", [tt.sigmoid, tt.tanh, tt.softmax, tt.log_softmax, tt.gelu])
def test_huge_inputs_do_not_overflow(function: object) -> None:
    assert np.isfinite(function(Tensor(np.array([-1e4, 0, 1e4], np.float32))).data).all()  # type: ignore[operator]


rows = hnp.arrays(
    np.float64, hnp.array_shapes(min_dims=2, max_dims=3, max_side=5), elements={"min_value": -50, "max_value": 50}
)


@given(rows)
def test_softmax_sums_to_one_and_ignores_a_shift(x: np.ndarray) -> None:
    for dim in range(x.ndim):
        y = tt.softmax(Tensor(x), dim).data
        np.testing.assert_allclose(y.sum(axis=dim), 1, rtol=1e-12)
        np.testing.assert_allclose(tt.softmax(Tensor(x + 7), dim).data, y, rtol=1e-10)
        np.testing.assert_allclose(np.exp(tt.log_softmax(Tensor(x), dim).data), y, rtol=1e-10)


@given(rows)
def test_sigmoid_and_tanh_are_symmetric_and_related(x: np.ndarray) -> None:
    np.testing.assert_allclose(tt.sigmoid(Tensor(-x)).data, 1 - tt.sigmoid(Tensor(x)).data, atol=1e-15)
    np.testing.assert_allclose(tt.tanh(Tensor(x)).data, 2 * tt.sigmoid(Tensor(2 * x)).data - 1, atol=1e-14)
