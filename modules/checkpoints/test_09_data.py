"""Checkpoint 09: can I load data efficiently? Batches cover the data, repeat with a seed, and teach a network more."""

from __future__ import annotations

import numpy as np

from tinytorch.activations import ReLU
from tinytorch.base.random import manual_seed
from tinytorch.dataloader import DataLoader, TensorDataset, random_flip, random_shift
from tinytorch.layers import Flatten, Linear, Sequential
from tinytorch.losses import CrossEntropyLoss
from tinytorch.optimizers import Adam
from tinytorch.training import Trainer, accuracy


def corners(count: int, seed: int, rows: range) -> TensorDataset:
    """Pictures (N, 8, 8) of a corner that opens up or down, at one of these rows."""
    rng = np.random.default_rng(seed)
    pictures, labels = rng.normal(0, 0.1, (count, 8, 8)).astype(np.float32), np.arange(count) % 2
    for picture, label in zip(pictures, labels, strict=True):
        row = rng.choice(rows)
        picture[row : row + 3, 2] += 1
        picture[row + 2 * label, 2:5] += 1
    return TensorDataset(pictures, labels)


def test_an_epoch_visits_each_sample_once_with_its_label() -> None:
    x = np.arange(10)
    loader = DataLoader(TensorDataset(x, x * x), batch_size=4, shuffle=True)
    batches = list(loader)
    assert [len(a) for a, _ in batches] == [4, 4, 2]
    assert len(loader) == 3
    assert sorted(np.concatenate([a for a, _ in batches])) == list(range(10))
    assert all((a * a == b).all() for a, b in batches)
    assert len(list(DataLoader(TensorDataset(x), batch_size=4, drop_last=True))) == 2


def test_the_order_depends_on_the_seed_and_the_epoch_alone() -> None:
    data = TensorDataset(np.arange(50))

    def order(epoch: int, seed: int = 7, start: int = 0) -> list[int]:
        loader = DataLoader(data, batch_size=8, shuffle=True, seed=seed)
        return [int(i) for (batch,) in loader.batches(epoch, start) for i in batch]

    assert order(0) == order(0)
    assert order(0) != order(1)
    assert order(0) != order(0, seed=8)
    assert order(1, start=3) == order(1)[24:], "a run that stopped after batch 3 continues with batch 4"


def test_augmentation_changes_pictures_and_keeps_labels() -> None:
    data = corners(40, seed=1, rows=range(5))
    for transform in (random_flip, random_shift(1)):
        loader = DataLoader(data, batch_size=40, transform=transform)
        (x, y), (other, _) = next(iter(loader)), next(iter(loader))
        np.testing.assert_array_equal(y, data.arrays[1])
        assert x.shape == data.arrays[0].shape
        assert not np.array_equal(x, other), "each epoch sees other pictures"
    flipped = random_flip(data.arrays, np.random.default_rng(0))[0]
    same = [np.array_equal(a, b) for a, b in zip(flipped, data.arrays[0], strict=True)]
    mirrored = [np.array_equal(a, b[:, ::-1]) for a, b in zip(flipped, data.arrays[0], strict=True)]
    assert [a or b for a, b in zip(same, mirrored, strict=True)] == [True] * 40
    assert 10 < sum(mirrored) < 30


def trained(transform: object) -> float:
    """Return the accuracy at five rows of a network that saw the corners at one row."""
    manual_seed(0)
    model = Sequential(Flatten(), Linear(64, 32), ReLU(), Linear(32, 2))
    loader = DataLoader(corners(64, 1, range(2, 3)), batch_size=16, shuffle=True, transform=transform)  # type: ignore[arg-type]
    trainer = Trainer(model, Adam(model.parameters(), lr=0.01), CrossEntropyLoss(), metrics={"accuracy": accuracy})
    trainer.fit(loader, 60)
    return trainer.evaluate(DataLoader(corners(100, 2, range(5)), batch_size=50))["accuracy"]


def test_shifted_pictures_teach_what_a_fixed_place_does_not() -> None:
    fixed, shifted = trained(None), trained(random_shift(2))
    assert shifted >= 0.95
    assert fixed < shifted
