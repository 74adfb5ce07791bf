"""Checkpoint 07: can I train models? A network learns to separate two spirals, which no straight line can."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tinytorch.activations import tanh
from tinytorch.base.random import manual_seed
from tinytorch.layers import Linear, Module, Sequential
from tinytorch.losses import CrossEntropyLoss
from tinytorch.optimizers import Adam
from tinytorch.training import Trainer, accuracy

Batch = tuple[np.ndarray, ...]


class Batches:
    """The same samples in a new order in each epoch."""

    def __init__(self, x: np.ndarray, y: np.ndarray, size: int) -> None:
        self.x, self.y, self.size = x, y, size

    def __len__(self) -> int:
        return -(-len(self.x) // self.size)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        order = np.random.default_rng(epoch).permutation(len(self.x))
        for i in range(start, len(self)):
            chosen = order[i * self.size : (i + 1) * self.size]
            yield self.x[chosen], self.y[chosen]


def spirals(count: int, seed: int) -> Batches:
    """Two spirals of one and a half turns, with a little noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    t = np.sqrt(rng.random(count))
    angle = 3 * np.pi * t + np.pi * labels
    points = t[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1) + rng.normal(0, 0.01, (count, 2))
    return Batches(points.astype(np.float32), labels, 50)


def trainer(model: Module, **settings: object) -> Trainer:
    measures = {"accuracy": accuracy}
    return Trainer(model, Adam(model.parameters(), lr=0.01), CrossEntropyLoss(), metrics=measures, **settings)  # type: ignore[arg-type]


def network() -> Sequential:
    manual_seed(0)
    return Sequential(Linear(2, 32), tanh, Linear(32, 32), tanh, Linear(32, 2))


def test_a_network_separates_the_spirals_and_a_line_does_not() -> None:
    train, held_out = spirals(400, seed=1), spirals(200, seed=2)
    history = trainer(network()).fit(train, 150, validation=held_out)
    assert len(history) == 150
    assert history[-1]["train_loss"] < history[0]["train_loss"] / 4
    assert history[-1]["accuracy"] >= 0.95, "points that it has never seen"
    manual_seed(0)
    line = trainer(Linear(2, 2))
    line.fit(train, 30)
    assert line.evaluate(held_out)["accuracy"] < 0.8


def test_training_stops_when_it_no_longer_helps() -> None:
    rng = np.random.default_rng(3)
    noise = Batches(rng.standard_normal((60, 2)).astype(np.float32), rng.integers(0, 2, 60), 60)
    history = trainer(network(), patience=3).fit(noise, 200, validation=spirals(100, seed=4))
    assert 4 <= len(history) < 200
    best = min(range(len(history)), key=lambda i: history[i]["val_loss"])
    assert len(history) == best + 4


def test_training_that_was_interrupted_ends_with_the_same_weights(tmp_path: Path) -> None:
    train, file = spirals(100, seed=1), tmp_path / "state.safetensors"
    whole = network()
    trainer(whole).fit(train, 4)
    trainer(network(), checkpoint=file).fit(train, 2)
    again = network()
    second = trainer(again, checkpoint=file)
    assert second.resume()
    second.fit(train, 4)
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
