"""Module 12: tokens to vectors, and positions."""

from __future__ import annotations

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.autograd import check_grads
from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.embeddings import Embedding, LearnedPositions, SinusoidalPositions, embedding, sinusoids
from tinytorch.layers import Parameter
from tinytorch.tensor import Tensor, apply

random = np.random.default_rng(0)


def test_each_token_gets_its_row() -> None:
    layer = Embedding(5, 3)
    tokens = np.array([[4, 0, 4], [1, 2, 3]])
    y = layer(tokens)
    assert y.shape == (2, 3, 3)
    np.testing.assert_array_equal(y.data, layer.weight.data[tokens])
    np.testing.assert_array_equal(layer(Tensor(tokens)).data, y.data)


def test_table_is_drawn_from_a_standard_normal_distribution() -> None:
    for make in (Embedding, LearnedPositions):
        tt.manual_seed(1)
        layer = make(100, 64)
        assert isinstance(layer.weight, Parameter)
        assert layer.weight.dtype == np.float32
        assert layer.weight.shape == (100, 64)
        np.testing.assert_allclose([layer.weight.data.mean(), layer.weight.data.std()], [0, 1], atol=0.05)
        tt.manual_seed(1)
        np.testing.assert_array_equal(make(100, 64).weight.data, layer.weight.data)
        assert (make(100, 64).weight.data != layer.weight.data).any()


@pytest.mark.parametrize("vocabulary", [1, 7, 300])  # large vocabularies use another method for the gradient
def test_gradient_sums_over_all_positions_of_a_token(vocabulary: int) -> None:
    tokens = random.integers(0, min(vocabulary, 5), (2, 4))
    check_grads(lambda w: apply(embedding, w, tokens), random.standard_normal((vocabulary, 2)))


@pytest.mark.parametrize("vocabulary", [50, 500])
def test_gradient_matches_scatter_add(vocabulary: int) -> None:
    layer = Embedding(vocabulary, 8)
    tokens = random.integers(0, vocabulary, (4, 100))
    g = random.standard_normal((4, 100, 8)).astype(np.float32)
    layer(tokens).backward(g)
    expected = np.zeros((vocabulary, 8))
    np.add.at(expected, tokens, g)
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == np.float32
    np.testing.assert_allclose(layer.weight.grad.data, expected, atol=1e-5)


def test_projection_multiplies_by_the_same_table() -> None:
    layer = Embedding(5, 3)
    x = random.standard_normal((2, 4, 3)).astype(np.float32)
    y = layer.project(Tensor(x))
    assert y.shape == (2, 4, 5)
    np.testing.assert_allclose(y.data, x @ layer.weight.data.T, rtol=1e-5, atol=1e-6)


def test_tied_table_gets_the_gradients_of_both_uses() -> None:
    layer, tokens = Embedding(5, 3), np.array([[1, 4, 1]])
    layer.project(layer(tokens)).sum().backward()
    assert layer.weight.grad is not None
    expected = np.tile(layer.weight.data[tokens].sum((0, 1)), (5, 1))  # of the projection: the sum of its inputs
    np.add.at(expected, tokens, layer.weight.data.sum(axis=0))  # of the table
    np.testing.assert_allclose(layer.weight.grad.data, expected, rtol=1e-5, atol=1e-5)


def test_unknown_tokens_are_named_with_their_position() -> None:
    layer = Embedding(5, 3)
    with pytest.raises(SettingError, match=r"token 5 at \(1, 0\): expected 0 to 4"):
        layer(np.array([[0, 1], [5, 2]]))
    with pytest.raises(SettingError, match=r"token -1 at \(0\)"):
        layer(np.array([-1]))
    with pytest.raises(SettingError, match="float32: expected integers"):
        layer(tt.zeros(2))


def test_empty_input_returns_no_vectors() -> None:
    assert Embedding(5, 3)(np.empty((2, 0), np.int64)).shape == (2, 0, 3)


def test_learned_positions_add_the_first_rows() -> None:
    layer = LearnedPositions(6, 4)
    x = random.standard_normal((2, 3, 4)).astype(np.float32)
    y = layer(Tensor(x))
    np.testing.assert_array_equal(y.data, x + layer.weight.data[:3])
    y.backward(np.ones(y.shape))
    assert layer.weight.grad is not None
    np.testing.assert_array_equal(layer.weight.grad.data[:, 0], [2, 2, 2, 0, 0, 0])
    assert list(layer.state_dict()) == ["weight"]


@pytest.mark.parametrize("kind", [LearnedPositions, SinusoidalPositions])
def test_sequence_longer_than_the_table_is_rejected(kind: type[LearnedPositions] | type[SinusoidalPositions]) -> None:
    with pytest.raises(ShapeError, match=r"\(1, 7, 4\): expected .* T up to 6"):
        kind(6, 4)(tt.zeros(1, 7, 4))


def test_sinusoids_follow_the_formula() -> None:
    table = sinusoids(50, 6)
    assert table.dtype == np.float32
    assert table.shape == (50, 6)
    for t in (0, 1, 49):
        for i in range(3):
            angle = t / 10_000 ** (2 * i / 6)
            np.testing.assert_allclose(table[t, 2 * i : 2 * i + 2], [np.sin(angle), np.cos(angle)], atol=1e-6)


def test_shift_is_the_same_rotation_everywhere() -> None:
    table = sinusoids(40, 8).astype(np.float64)
    products = table @ table.T  # depends on the distance only
    for distance in (0, 1, 7):
        np.testing.assert_allclose(np.diagonal(products, distance), products[0, distance], atol=1e-5)


def test_sinusoidal_positions_train_nothing_and_keep_the_dtype() -> None:
    layer = SinusoidalPositions(6, 4)
    x = random.standard_normal((2, 3, 4))
    y = layer(Tensor(x))
    assert y.dtype == np.float64
    np.testing.assert_allclose(y.data, x + sinusoids(6, 4)[:3])
    assert layer.parameters() == []
    assert layer.state_dict() == {}


def test_invalid_table_sizes_are_rejected() -> None:
    for make in (lambda: Embedding(0, 3), lambda: LearnedPositions(3, 0), lambda: sinusoids(3, 5)):
        with pytest.raises(SettingError, match="expected at least 1"):
            make()
