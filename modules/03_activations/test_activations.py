"""Module 03: activations against their formulas in float64, and at the limits of floating point."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from tinytorch import activations
from tinytorch.tensor import Array, Op, Tensor, apply, zeros

X = np.linspace(-6, 6, 25)
CUBE = np.random.default_rng(3).standard_normal((2, 3, 4))
T = np.tanh(math.sqrt(2 / math.pi) * (X + 0.044715 * X**3))
HUGE = np.array([-1e4, 0, 1e4], np.float32)
SETTINGS: dict[str, dict[str, int]] = {"softmax": {"dim": -1}, "log_softmax": {"dim": -1}}


def forward(name: str, x: Array, **settings: int) -> Array:
    """Return the activation of an array; the function must not write into it."""
    op: Op = getattr(activations, f"{name}_")
    before = x.copy()
    y = apply(op, Tensor(x), **SETTINGS.get(name, {}) | settings).data
    np.testing.assert_array_equal(x, before, err_msg=f"{name} changed its input")
    return y


def follows(name: str, expected: Array) -> None:
    """Compare an activation with its formula in float64 and float32."""
    np.testing.assert_allclose(forward(name, X), expected, rtol=1e-12, atol=1e-15)
    single = forward(name, X.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=1e-5, atol=1e-6)


def accepts_any_shape(name: str) -> None:
    """A single number, and no number at all, are valid inputs."""
    for shape in ((), (0, 3), (2, 3, 1)):
        assert forward(name, np.full(shape, 0.5, np.float32)).shape == shape


def kept_by(name: str, x: Array, **settings: int) -> tuple[Array, Array]:
    """Return the result and what the forward pass keeps for the derivative."""
    op: Op = getattr(activations, f"{name}_")
    made = apply(op, Tensor(x, requires_grad=True), **SETTINGS.get(name, {}) | settings)
    assert made.node is not None
    return made.data, made.node.kept


def keeps_its_result(name: str) -> None:
    y, kept = kept_by(name, X)
    assert kept is y


# relu ---------------------------------------------------------------------------------------------------


def test_relu_matches_its_formula() -> None:
    follows("relu", np.where(X > 0, X, 0))
    accepts_any_shape("relu")
    keeps_its_result("relu")


@pytest.mark.parametrize("size", [5, 5000])
def test_relu_is_the_same_for_small_and_large_arrays(size: int) -> None:
    x = np.random.default_rng(0).standard_normal((3, size, 2)).astype(np.float32).transpose(2, 0, 1)
    np.testing.assert_array_equal(forward("relu", x), np.where(x > 0, x, 0))


@pytest.mark.beyond
@pytest.mark.parametrize("size", [5, 5000])
def test_relu_keeps_the_memory_layout(size: int) -> None:
    x = np.random.default_rng(0).standard_normal((3, size, 2)).astype(np.float32).transpose(2, 0, 1)
    assert forward("relu", x).strides == np.empty_like(x).strides


# sigmoid ------------------------------------------------------------------------------------------------


def test_sigmoid_matches_its_formula() -> None:
    follows("sigmoid", 1 / (1 + np.exp(-X)))
    accepts_any_shape("sigmoid")
    keeps_its_result("sigmoid")


def test_sigmoid_of_huge_numbers_does_not_overflow() -> None:
    assert forward("sigmoid", HUGE).tolist() == [0, 0.5, 1]


rows = hnp.arrays(
    np.float64, hnp.array_shapes(min_dims=2, max_dims=3, max_side=5), elements={"min_value": -50, "max_value": 50}
)


@given(rows)
def test_sigmoid_and_tanh_are_symmetric_and_related(x: np.ndarray) -> None:
    np.testing.assert_allclose(forward("sigmoid", -x), 1 - forward("sigmoid", x), atol=1e-15)
    np.testing.assert_allclose(forward("tanh", x), 2 * forward("sigmoid", 2 * x) - 1, atol=1e-14)


def test_tanh_matches_its_formula() -> None:
    follows("tanh", (np.exp(X) - np.exp(-X)) / (np.exp(X) + np.exp(-X)))
    assert forward("tanh", HUGE).tolist() == [-1, 0, 1]


# softmax and log_softmax --------------------------------------------------------------------------------


def test_softmax_matches_its_formula() -> None:
    follows("softmax", np.exp(X) / np.exp(X).sum())
    keeps_its_result("softmax")


@pytest.mark.parametrize("dim", [0, 1, 2, -1, -2])
def test_softmax_works_along_any_dimension(dim: int) -> None:
    expected = np.exp(CUBE) / np.exp(CUBE).sum(axis=dim, keepdims=True)
    np.testing.assert_allclose(forward("softmax", CUBE, dim=dim), expected, rtol=1e-12)


def test_softmax_of_huge_numbers_does_not_overflow() -> None:
    assert forward("softmax", HUGE).tolist() == [0, 0, 1]
    far_apart = np.array([[1e4] * 4, [-1e4] * 4], np.float32)
    assert forward("softmax", far_apart).tolist() == [[0.25] * 4] * 2


@given(rows)
def test_softmax_sums_to_one_and_ignores_a_shift(x: np.ndarray) -> None:
    for dim in range(x.ndim):
        y = forward("softmax", x, dim=dim)
        np.testing.assert_allclose(y.sum(axis=dim), 1, rtol=1e-12)
        np.testing.assert_allclose(forward("softmax", x + 7, dim=dim), y, rtol=1e-10)


def test_log_softmax_matches_its_formula() -> None:
    follows("log_softmax", np.log(np.exp(X) / np.exp(X).sum()))
    keeps_its_result("log_softmax")


@pytest.mark.parametrize("dim", [0, 1, 2, -1, -2])
def test_log_softmax_works_along_any_dimension(dim: int) -> None:
    expected = np.log(np.exp(CUBE) / np.exp(CUBE).sum(axis=dim, keepdims=True))
    np.testing.assert_allclose(forward("log_softmax", CUBE, dim=dim), expected, rtol=1e-12)


def test_log_softmax_of_huge_numbers_is_finite() -> None:
    assert forward("log_softmax", HUGE).tolist() == [-2e4, -1e4, 0]
    far_apart = np.array([[1e4] * 2, [-1e4] * 2], np.float32)
    np.testing.assert_allclose(forward("log_softmax", far_apart), math.log(0.5), rtol=1e-6)


@given(rows)
def test_log_softmax_is_the_logarithm_of_softmax(x: np.ndarray) -> None:
    for dim in range(x.ndim):
        np.testing.assert_allclose(
            np.exp(forward("log_softmax", x, dim=dim)), forward("softmax", x, dim=dim), rtol=1e-10
        )


# gelu ---------------------------------------------------------------------------------------------------


def test_gelu_matches_its_formula() -> None:
    follows("gelu", X / 2 * (1 + T))
    accepts_any_shape("gelu")


def test_gelu_keeps_the_hyperbolic_tangent() -> None:
    y, t = kept_by("gelu", X)
    np.testing.assert_allclose(t, T, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(y, X / 2 * (1 + T), rtol=1e-12, atol=1e-15)
    y, t = kept_by("gelu", X.astype(np.float32))
    assert y.dtype == np.float32
    assert t.dtype == np.float32
    assert not np.shares_memory(y, t)


def test_gelu_is_close_to_the_exact_form() -> None:
    exact = [x * 0.5 * (1 + math.erf(x / math.sqrt(2))) for x in X]
    np.testing.assert_allclose(forward("gelu", X), exact, atol=5e-4)


def test_gelu_of_huge_numbers_is_finite() -> None:
    np.testing.assert_allclose(forward("gelu", HUGE), [0, 0, 1e4])


def test_functions_and_layers_run_their_ops() -> None:
    made: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
        "relu": (activations.relu, activations.ReLU()),
        "sigmoid": (activations.sigmoid, activations.Sigmoid()),
        "tanh": (activations.tanh, activations.Tanh()),
        "gelu": (activations.gelu, activations.GELU()),
        "softmax": (activations.softmax, activations.Softmax()),
        "log_softmax": (activations.log_softmax, activations.LogSoftmax()),
    }
    for name, (function, layer) in made.items():
        np.testing.assert_array_equal(function(Tensor(X)).data, forward(name, X))
        np.testing.assert_array_equal(layer(Tensor(X)).data, forward(name, X))
    assert activations.Softmax(0)(zeros(2, 3)).data.tolist() == [[0.5] * 3] * 2
    np.testing.assert_allclose(activations.LogSoftmax(0)(zeros(2, 3)).data, math.log(0.5), rtol=1e-6)
