"""Checkpoint 08: can I process images? A convolutional network learns which stroke a made picture shows, anywhere."""

from __future__ import annotations

import numpy as np

from tinytorch.activations import ReLU
from tinytorch.autograd import no_grad
from tinytorch.base.random import manual_seed
from tinytorch.layers import Flatten, Linear, Sequential
from tinytorch.losses import CrossEntropyLoss
from tinytorch.optimizers import Adam
from tinytorch.spatial import AdaptiveAvgPool2d, AvgPool2d, BasicBlock, BatchNorm2d, Conv2d, MaxPool2d
from tinytorch.tensor import Tensor
from tinytorch.training import accuracy


def strokes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (N, 1, 8, 8) with a short stroke: horizontal, vertical, or diagonal, at a random place."""
    rng = np.random.default_rng(seed)
    pictures = rng.normal(0, 0.1, (count, 1, 8, 8)).astype(np.float32)
    labels = np.arange(count) % 3
    directions = np.array([(0, 1), (1, 0), (1, 1)])
    for picture, label in zip(pictures, labels, strict=True):
        row, column = rng.integers(0, 5, 2)
        for i in range(4):
            down, right = directions[label] * i
            picture[0, row + down, column + right] += 1
    return pictures, labels


def network() -> Sequential:
    manual_seed(0)
    stem = Sequential(Conv2d(1, 8, 3, padding=1, bias=False), BatchNorm2d(8), ReLU(), MaxPool2d(2))
    return Sequential(stem, BasicBlock(8, 16, 2), AdaptiveAvgPool2d(1), Flatten(), Linear(16, 3))


def test_a_network_recognizes_strokes_at_places_it_has_not_seen() -> None:
    (x, y), (held_out, answers) = strokes(120, seed=1), strokes(60, seed=2)
    model = network()
    optimizer, loss = Adam(model.parameters(), lr=0.01), CrossEntropyLoss()
    for step in range(40):
        chosen = np.random.default_rng(step).permutation(len(x))[:60]
        optimizer.zero_grad()
        loss(model(Tensor(x[chosen])), y[chosen]).backward()
        optimizer.step()
    with no_grad():
        assert accuracy(model.eval()(Tensor(held_out)).numpy(), answers) >= 0.95


def test_a_shifted_picture_gives_a_shifted_map() -> None:
    manual_seed(1)
    layer = Conv2d(1, 4, 3, padding=1)
    x, _ = strokes(1, seed=3)
    shifted = np.zeros_like(x)
    shifted[..., 1:, 2:] = x[..., :-1, :-2]
    with no_grad():
        here, there = layer(Tensor(x)).numpy(), layer(Tensor(shifted)).numpy()
    np.testing.assert_allclose(there[..., 2:-1, 3:-1], here[..., 1:-2, 1:-3], rtol=1e-4, atol=1e-5)


def test_pooling_keeps_the_largest_or_the_mean() -> None:
    x = Tensor(np.arange(16, dtype=np.float64).reshape(1, 1, 4, 4), requires_grad=True)
    np.testing.assert_array_equal(MaxPool2d(2)(x).numpy()[0, 0], [[5, 7], [13, 15]])
    np.testing.assert_array_equal(AvgPool2d(2)(x).numpy()[0, 0], [[2.5, 4.5], [10.5, 12.5]])
    MaxPool2d(2)(x).sum().backward()
    assert x.grad is not None
    assert np.flatnonzero(x.grad.numpy()).tolist() == [5, 7, 13, 15]


def test_batch_norm_uses_the_batch_in_training_and_what_it_learnt_afterwards() -> None:
    x = np.random.default_rng(4).normal(5, 3, (32, 2, 4, 4)).astype(np.float32)
    norm = BatchNorm2d(2)
    y = norm(Tensor(x)).numpy()
    np.testing.assert_allclose(y.mean(axis=(0, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(y.std(axis=(0, 2, 3)), 1, atol=1e-3)
    for _ in range(100):
        norm(Tensor(x))
    one = norm.eval()(Tensor(x[:1])).numpy()
    np.testing.assert_allclose(one, y[:1], atol=0.02)
