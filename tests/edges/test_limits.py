"""Infinities, NaN, and zeros: PyTorch's values and gradients.

The recorded values are those of PyTorch 2.13; `tests/parity/test_edges_parity.py` compares with PyTorch itself.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.arrays.masks import masked
from tinytorch.tensor import Array, Tensor

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")

X = [0.0, -0.0, 1.0, -1.0, inf, -inf, nan, 1e13, -1e13]


def power(exponent: float) -> Callable[[Tensor], Tensor]:
    return lambda x: x**exponent


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    **{f"power {e}": power(e) for e in (0, 1, 2, 3, -1, -2, 0.5, 1.5, -0.5)},
    "relu": tt.relu,
    "sigmoid": tt.sigmoid,
    "tanh": tt.tanh,
    "gelu": tt.gelu,
    "abs": lambda x: x.abs(),
    "exp": lambda x: x.exp(),
    "log": lambda x: x.log(),
    "sqrt": lambda x: x.sqrt(),
    "where": lambda x: tt.where(x > 0, x, 0.0),
}

# f(X), and X.grad after f(X).backward(g) with g = 1 and g = inf; gelu with approximate="tanh"
PYTORCH: dict[str, tuple[list[float], ...]] = {
    "power 0": (
        [1, 1, 1, 1, 1, 1, 1, 1, 1],
        [0, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 0],
    ),
    "power 1": (
        [0, -0, 1, -1, inf, -inf, nan, 1e13, -1e13],
        [1, 1, 1, 1, 1, 1, 1, 1, 1],
        [inf, inf, inf, inf, inf, inf, inf, inf, inf],
    ),
    "power 2": (
        [0, 0, 1, 1, inf, inf, nan, 9.999999e25, 9.999999e25],
        [0, -0, 2, -2, inf, -inf, nan, 2e13, -2e13],
        [nan, nan, inf, -inf, inf, -inf, nan, inf, -inf],
    ),
    "power 3": (
        [0, -0, 1, -1, inf, -inf, nan, inf, -inf],
        [0, 0, 3, 3, inf, inf, nan, 3e26, 3e26],
        [nan, nan, inf, inf, inf, inf, nan, inf, inf],
    ),
    "power -1": (
        [inf, -inf, 1, -1, 0, -0, nan, 1e-13, -1e-13],
        [-inf, -inf, -1, -1, -0, -0, nan, -1e-26, -1e-26],
        [-inf, -inf, -inf, -inf, nan, nan, nan, -inf, -inf],
    ),
    "power -2": (
        [inf, inf, 1, 1, 0, 0, nan, 1e-26, 1e-26],
        [-inf, inf, -2, 2, -0, 0, nan, -2e-39, 2e-39],
        [-inf, inf, -inf, inf, nan, nan, nan, -inf, inf],
    ),
    "power 0.5": (
        [0, -0, 1, nan, inf, nan, nan, 3162278, nan],
        [inf, -inf, 0.5, nan, 0, nan, nan, 1.581139e-07, nan],
        [inf, -inf, inf, nan, nan, nan, nan, inf, nan],
    ),
    "power 1.5": (
        [0, 0, 1, nan, inf, inf, nan, 3.162278e19, nan],
        [0, -0, 1.5, nan, inf, nan, nan, 4743416, nan],
        [nan, nan, inf, nan, inf, nan, nan, inf, nan],
    ),
    "power -0.5": (
        [inf, -inf, 1, nan, 0, nan, nan, 3.162278e-07, nan],
        [-inf, -inf, -0.5, nan, -0, -0, nan, -1.581139e-20, nan],
        [-inf, -inf, -inf, nan, nan, nan, nan, -inf, nan],
    ),
    "relu": (
        [0, -0, 1, 0, inf, 0, nan, 1e13, 0],
        [0, 0, 1, 0, 1, 0, 1, 1, 0],
        [0, 0, inf, 0, inf, 0, inf, inf, 0],
    ),
    "sigmoid": (
        [0.5, 0.5, 0.7310586, 0.2689414, 1, 0, nan, 1, 0],
        [0.25, 0.25, 0.1966119, 0.1966119, 0, 0, nan, 0, 0],
        [inf, inf, inf, inf, nan, nan, nan, nan, nan],
    ),
    "tanh": (
        [0, -0, 0.7615942, -0.7615942, 1, -1, nan, 1, -1],
        [1, 1, 0.4199743, 0.4199743, 0, 0, nan, 0, 0],
        [inf, inf, inf, inf, nan, nan, nan, nan, nan],
    ),
    "gelu": (
        [0, -0, 0.841192, -0.158808, inf, nan, nan, 1e13, -0],
        [0.5, 0.5, 1.082964, -0.08296409, nan, nan, nan, 1, 0],
        [inf, inf, inf, -inf, nan, nan, nan, inf, nan],
    ),
    "abs": (
        [0, 0, 1, 1, inf, inf, nan, 1e13, 1e13],
        [0, 0, 1, -1, 1, -1, 0, 1, -1],
        [nan, nan, inf, -inf, inf, -inf, nan, inf, -inf],
    ),
    "exp": (
        [1, 1, 2.718282, 0.3678795, inf, 0, nan, inf, 0],
        [1, 1, 2.718282, 0.3678795, inf, 0, nan, inf, 0],
        [inf, inf, inf, inf, inf, nan, nan, inf, nan],
    ),
    "log": (
        [-inf, -inf, 0, nan, inf, nan, nan, 29.93361, nan],
        [inf, -inf, 1, -1, 0, -0, nan, 1e-13, -1e-13],
        [inf, -inf, inf, -inf, nan, nan, nan, inf, -inf],
    ),
    "sqrt": (
        [0, -0, 1, nan, inf, nan, nan, 3162278, nan],
        [inf, -inf, 0.5, nan, 0, nan, nan, 1.581139e-07, nan],
        [inf, -inf, inf, nan, nan, nan, nan, inf, nan],
    ),
    "where": (
        [0, 0, 1, 0, inf, 0, 0, 1e13, 0],
        [0, 0, 1, 0, 1, 0, 0, 1, 0],
        [0, 0, inf, 0, inf, 0, 0, inf, 0],
    ),
}


def gradients(f: Callable[..., Tensor], g: float, *arrays: Any) -> tuple[Array, list[Array]]:
    inputs = [Tensor(np.array(a, np.float32), requires_grad=True) for a in arrays]
    y = f(*inputs)
    y.backward(np.full(y.shape, g, np.float32))
    return y.data, [x.grad.data for x in inputs if x.grad is not None]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients_at_the_limits_are_those_of_pytorch(name: str) -> None:
    for g, expected in ((1.0, PYTORCH[name][1]), (inf, PYTORCH[name][2])):
        y, (dx,) = gradients(FUNCTIONS[name], g, X)
        np.testing.assert_allclose(y, PYTORCH[name][0], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(dx, expected, rtol=1e-5, atol=1e-7)


A = [1.0, 2.0, 2.0, inf, inf, -inf, nan, 1.0, nan]
B = [2.0, 1.0, 2.0, inf, 1.0, -inf, 1.0, nan, nan]


def test_maximum_shares_the_gradient_of_equal_infinities_and_passes_it_to_nan() -> None:
    """torch.maximum(a, b).backward(g)"""
    y, (da, db) = gradients(lambda a, b: a.maximum(b), 1.0, A, B)
    np.testing.assert_array_equal(y, [2, 2, 2, inf, inf, -inf, nan, nan, nan])
    np.testing.assert_array_equal(da, [0, 1, 0.5, 0.5, 1, 0.5, 1, 1, 1])
    np.testing.assert_array_equal(db, [1, 0, 0.5, 0.5, 0, 0.5, 1, 1, 1])
    _, (da, db) = gradients(lambda a, b: a.maximum(b), inf, A, B)
    np.testing.assert_array_equal(da, [0, inf, inf, inf, inf, inf, inf, inf, inf])
    np.testing.assert_array_equal(db, [inf, 0, inf, inf, 0, inf, inf, inf, inf])


EXTREMES: dict[
    tuple[float, ...], tuple[list[float], ...]
] = {  # x: (the gradient of x.max(), the gradient of x.max(0).values), for g = 1
    (1.0, 3.0, 3.0): ([0, 0.5, 0.5], [0, 1, 0]),
    (1.0, inf, inf): ([0, 0.5, 0.5], [0, 1, 0]),
    (1.0, nan, 2.0): ([0, 1, 0], [0, 1, 0]),
    (-inf, -inf): ([0.5, 0.5], [1, 0]),
    (nan, nan, 1.0): ([0.5, 0.5, 0], [1, 0, 0]),
}


@pytest.mark.parametrize("x", EXTREMES)
@pytest.mark.parametrize("g", [1.0, inf])
def test_max_and_min_send_the_gradient_to_the_elements_that_they_return(x: tuple[float, ...], g: float) -> None:
    for sign in (1, -1):
        values = sign * np.array(x, np.float32)
        all_of_it = gradients(Tensor.max if sign == 1 else Tensor.min, g, values)[1][0]
        one = gradients((lambda t: t.max(0).values) if sign == 1 else (lambda t: t.min(0).values), g, values)[1][0]
        for got, shares in zip((all_of_it, one), EXTREMES[x], strict=True):
            np.testing.assert_array_equal(got, [g * share if share else 0 for share in shares])


POOLS: list[
    tuple[list[list[float]], list[list[int]]]
] = [  # one window of F.max_pool2d(x, 2), and where the gradient goes
    ([[1, 2], [3, 4]], [[0, 0], [0, 1]]),
    ([[nan, 2], [3, 4]], [[1, 0], [0, 0]]),
    ([[1, nan], [3, 4]], [[0, 1], [0, 0]]),
    ([[1, nan], [nan, 4]], [[0, 0], [1, 0]]),
    ([[nan, nan], [nan, nan]], [[0, 0], [0, 1]]),
    ([[2, 2], [2, 2]], [[1, 0], [0, 0]]),
    ([[inf, 1], [inf, -inf]], [[1, 0], [0, 0]]),
    ([[-inf, -inf], [-inf, -inf]], [[1, 0], [0, 0]]),
]


@pytest.mark.parametrize("g", [1.0, -2.0, inf, -inf])
@pytest.mark.parametrize("stride", [2, 1])  # two algorithms: windows side by side, and any others
@pytest.mark.parametrize(("x", "place"), POOLS)
def test_max_pool_keeps_nan_and_sends_any_gradient_to_one_place(
    x: list[list[float]], place: list[list[int]], stride: int, g: float
) -> None:
    images = np.zeros((2, 3, 2, 2), np.float32)
    images[1, 2] = x
    y, (dx,) = gradients(lambda t: tt.max_pool2d(t, 2, stride), g, images)
    assert y[1, 2, 0, 0] == np.max(x) or (np.isnan(y[1, 2, 0, 0]) and np.isnan(x).any())
    np.testing.assert_array_equal(dx[1, 2], [[g if here else 0 for here in row] for row in place])
    np.testing.assert_array_equal(dx[0, 0], [[g, 0], [0, 0]])  # other windows keep their gradient


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_masked_returns_the_values_bit_for_bit_or_zero(dtype: type) -> None:
    g: Array = np.array([[1.5, -2.5, inf, -inf, nan, -0.0, 5e-324]], dtype)
    keep = np.array([[True] * 7, [False] * 7])
    out = masked(np.broadcast_to(g, (2, 7)), keep)
    assert out[0].tobytes() == g.tobytes()
    assert not out[1].any()
    assert not np.signbit(out[1]).any()


def test_pooling_to_a_size_keeps_an_infinite_pixel_in_its_window() -> None:
    for size, out in ((4, 2), (5, 2), (5, 3), (7, 7)):
        x = np.zeros((1, 1, size, size), np.float32)
        x[0, 0, 0, 0] = inf
        y, (dx,) = gradients(lambda t, out=out: tt.adaptive_avg_pool2d(t, out), 1.0, x)
        assert y[0, 0, 0, 0] == inf
        assert not y.reshape(-1)[1:].any()
        assert dx.sum() == pytest.approx(out * out)


@pytest.mark.parametrize("vocabulary", [3, 300])
def test_infinite_gradient_of_one_token_stays_in_its_row(vocabulary: int) -> None:
    table = tt.Embedding(vocabulary, 2)
    table(np.array([0, 1])).backward(np.array([[inf, 1], [1, 1]]))
    assert table.weight.grad is not None
    np.testing.assert_array_equal(table.weight.grad.data[:3], [[inf, 1], [1, 1], [0, 0]])


def test_variance_of_too_few_values_is_not_negative() -> None:
    """torch.tensor([1.]).var(), torch.tensor([1., 2.]).var(correction=3)"""
    assert np.isnan(Tensor([1.0]).var().item())
    assert Tensor([1.0, 2.0]).var(correction=3).item() == inf


def test_dropout_zeroes_infinite_values_and_gradients() -> None:
    tt.manual_seed(0)
    y, (dx,) = gradients(tt.Dropout(0.5), inf, [inf, -inf, nan, 1.0] * 50)
    dropped = y == 0
    assert 60 < dropped.sum() < 140
    np.testing.assert_array_equal(dx, np.where(dropped, 0, inf))


def test_gelu_of_huge_finite_values_has_the_gradient_of_its_limit() -> None:
    """F.gelu(x, approximate="tanh"): 1 and 0 at 1e14, where x^3 overflows."""
    _, (dx,) = gradients(tt.gelu, 2.0, [1e14, -1e14, 1e18, 0.0])
    np.testing.assert_array_equal(dx, [2, 0, 2, 1])


def test_binary_cross_entropy_of_an_infinite_logit() -> None:
    """F.binary_cross_entropy_with_logits(x, t) in PyTorch; where it is NaN, for (-inf, 0), the limit is 0."""
    for x, t, value, gradient in ((inf, 0, inf, 1), (-inf, 0, 0, 0), (1e20, 1, 0, 0), (1e20, 0, 1e20, 1)):
        logit = Tensor(np.array(x, np.float32), requires_grad=True)
        loss = tt.binary_cross_entropy_with_logits(logit, np.array(t))
        loss.backward()
        assert loss.item() == pytest.approx(value)
        assert logit.grad is not None
        assert logit.grad.item() == gradient
