"""Checkpoint 11: can I create embeddings? Words that occur in the same sentences get similar vectors."""

from __future__ import annotations

import numpy as np

from tinytorch.autograd import no_grad
from tinytorch.base.random import manual_seed
from tinytorch.embeddings import Embedding, LearnedPositions, SinusoidalPositions, sinusoids
from tinytorch.layers import Linear, Sequential
from tinytorch.losses import CrossEntropyLoss
from tinytorch.optimizers import Adam
from tinytorch.tensor import Tensor

DAYS, COLORS = range(4), range(4, 8)
CONTEXTS = 6  # words around them: the first three occur with days, the others with colors


def sentences(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Words, and a word that occurs next to each."""
    rng = np.random.default_rng(1)
    words = rng.integers(0, 8, count)
    return words, np.where(words < 4, 0, 3) + rng.integers(0, 3, count)


def test_words_with_the_same_neighbors_get_similar_vectors() -> None:
    manual_seed(0)
    table = Embedding(8, 6)
    model = Sequential(table, Linear(6, CONTEXTS))
    words, neighbors = sentences(256)
    optimizer = Adam(model.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        CrossEntropyLoss()(model(words), neighbors).backward()
        optimizer.step()
    vectors = table.weight.numpy()
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similar = vectors @ vectors.T
    within = [similar[i, j] for group in (DAYS, COLORS) for i in group for j in group if i < j]
    between = [similar[i, j] for i in DAYS for j in COLORS]
    assert np.mean(within) > np.mean(between) + 0.5


def test_a_token_gathers_the_gradient_of_each_place_where_it_occurs() -> None:
    table = Embedding(5, 2)
    (table(np.array([[1, 3, 1], [1, 0, 3]])) * 2.0).sum().backward()
    assert table.weight.grad is not None
    np.testing.assert_array_equal(table.weight.grad.numpy()[:, 0], [2, 6, 0, 4, 0])


def test_sinusoids_turn_by_the_same_angle_for_the_same_distance() -> None:
    waves = sinusoids(40, 8)
    assert waves.shape == (40, 8)
    np.testing.assert_allclose(waves[0], [0, 1] * 4, atol=1e-7)
    products = waves @ waves.T
    for distance in (1, 5, 20):
        np.testing.assert_allclose(np.diagonal(products, distance), products[0, distance], atol=1e-4)


def test_positions_tell_the_same_words_in_another_order_apart() -> None:
    table = Embedding(5, 6)
    words, swapped = np.array([[1, 2, 3]]), np.array([[3, 2, 1]])
    with no_grad():
        for positions in (LearnedPositions(8, 6), SinusoidalPositions(8, 6)):
            np.testing.assert_allclose(table(words).sum(dim=1).numpy(), table(swapped).sum(dim=1).numpy(), rtol=1e-5)
            one, other = positions(table(words)).numpy(), positions(table(swapped)).numpy()
            assert not np.allclose(one[0], other[0, ::-1])
            np.testing.assert_allclose(one[0], table(words).numpy()[0] + positions.weight.numpy()[:3], rtol=1e-6)
    learned = LearnedPositions(8, 6)
    learned(Tensor(np.zeros((2, 3, 6), np.float32))).sum().backward()
    assert learned.weight.grad is not None
    np.testing.assert_array_equal(learned.weight.grad.numpy()[:, 0], [2, 2, 2, 0, 0, 0, 0, 0])
