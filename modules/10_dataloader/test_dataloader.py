"""Module 10: batches. (The data sets themselves are tested in tests/test_datasets.py.)"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytorch as tt
from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.dataloader import Batch


def numbers(n: int) -> tt.TensorDataset:
    return tt.TensorDataset(np.arange(n), np.arange(n) * 10)


def test_data_set_returns_one_sample() -> None:
    images, labels = np.arange(24.0).reshape(6, 2, 2), np.arange(6)
    sample = tt.TensorDataset(images, labels)[4]
    assert type(sample) is tuple
    np.testing.assert_array_equal(sample[0], images[4])
    assert sample[1] == 4


def test_data_set_returns_the_samples_at_an_array_of_indices() -> None:
    images, labels = np.arange(24.0).reshape(6, 2, 2), np.arange(6)
    dataset = tt.TensorDataset(images, labels)
    assert len(dataset) == 6
    some = np.array([4, 0, 4])
    batch = dataset.batch_at(some)
    assert type(batch) is tuple
    np.testing.assert_array_equal(batch[0], images[some])
    np.testing.assert_array_equal(batch[1], labels[some])


@pytest.mark.parametrize(
    ("n", "batch_size", "drop_last", "batches"),
    [(10, 4, False, 3), (10, 4, True, 2), (8, 4, False, 2), (8, 4, True, 2), (3, 4, False, 1), (3, 4, True, 0)],
)
def test_number_of_batches(n: int, batch_size: int, drop_last: bool, batches: int) -> None:
    assert len(tt.DataLoader(numbers(n), batch_size, drop_last=drop_last)) == batches


def test_batches_of_an_epoch_start_anywhere() -> None:
    loader = tt.DataLoader(numbers(10), 4)
    assert order(loader, 0) == order(loader, 7) == list(range(10))
    assert order(loader, 0, start=1) == [4, 5, 6, 7, 8, 9]
    assert order(loader, 0, start=3) == []
    assert order(tt.DataLoader(numbers(10), 4, drop_last=True), 0) == list(range(8))


@given(st.integers(1, 50), st.integers(1, 20), st.booleans(), st.booleans())
def test_epoch_contains_every_sample_once(n: int, batch_size: int, shuffle: bool, drop_last: bool) -> None:
    loader = tt.DataLoader(numbers(n), batch_size, shuffle, drop_last, seed=1)
    batches = list(loader)
    assert len(batches) == len(loader)
    seen = [int(i) for x, _ in batches for i in x]
    kept = n - n % batch_size if drop_last else n
    assert len(seen) == len(set(seen)) == kept
    assert shuffle or seen == list(range(kept))
    assert all((y == 10 * x).all() for x, y in batches)
    assert all(len(x) == batch_size for x, _ in batches[: n // batch_size])


def order(loader: tt.DataLoader, epoch: int, start: int = 0) -> list[int]:
    return [int(i) for x, *_ in loader.batches(epoch, start) for i in x]


def test_order_depends_only_on_seed_and_epoch() -> None:
    loader = tt.DataLoader(numbers(30), 4, shuffle=True, seed=1)
    assert order(loader, 0) == order(loader, 0) != order(loader, 1)
    assert order(loader, 0) != order(tt.DataLoader(numbers(30), 4, shuffle=True, seed=2), 0)


def test_each_iteration_is_the_next_epoch() -> None:
    loader = tt.DataLoader(numbers(30), 4, shuffle=True, seed=1)
    first, second = [int(i) for x, _ in loader for i in x], [int(i) for x, _ in loader for i in x]
    assert [first, second] == [order(loader, 0), order(loader, 1)]
    assert loader.epoch == 2
    iter(loader)  # advances at once, even if no batch is ever fetched
    assert loader.epoch == 3


def test_epoch_resumes_from_any_batch_with_the_same_augmentation() -> None:
    def noise(batch: Batch, rng: np.random.Generator) -> Batch:
        return (batch[0] + rng.integers(0, 1000, len(batch[0])),)

    loader = tt.DataLoader(tt.TensorDataset(np.arange(30)), 4, shuffle=True, transform=noise)
    assert order(loader, 2)[12:] == order(loader, 2, start=3)


def test_order_augmentation_and_weights_use_separate_random_streams() -> None:
    drawn = []

    def transform(batch: Batch, rng: np.random.Generator) -> Batch:
        drawn.append(rng.random())
        return batch

    list(tt.DataLoader(numbers(4), 2, shuffle=True, seed=1, transform=transform).batches(0))
    assert len(drawn) == 2
    drawn += [np.random.default_rng(seed).random() for seed in (1, (1, 1, 0))]
    assert len(set(drawn)) == 4


def test_batch_method_is_called_once_for_each_batch() -> None:
    class Counting:
        calls = 0

        def __len__(self) -> int:
            return 10

        def __getitem__(self, index: int) -> Batch:
            raise AssertionError

        def batch_at(self, indices: np.ndarray) -> Batch:
            self.calls += 1
            return (indices,)

    dataset = Counting()
    assert len(list(tt.DataLoader(dataset, 5))) == dataset.calls == 2


def test_mismatched_arguments_are_rejected() -> None:
    with pytest.raises(ShapeError, match=r"lengths \[3, 4\]"):
        tt.TensorDataset(np.zeros(3), np.zeros(4))
    with pytest.raises(ShapeError, match=r"lengths \[\]"):
        tt.TensorDataset()
    with pytest.raises(SettingError, match="batch_size 0"):
        tt.DataLoader(numbers(3), 0)
    with pytest.raises(SettingError, match="seed -1"):
        tt.DataLoader(numbers(3), seed=-1)
    with pytest.raises(SettingError, match="empty"):
        tt.DataLoader(numbers(0))


@pytest.mark.parametrize("shape", [(50, 5, 6), (50, 3, 5, 6)])
def test_random_shift_moves_each_image_and_fills_with_zeros(shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).uniform(1, 2, shape).astype(np.float32)
    out, labels = tt.random_shift(1)((images, np.arange(50)), np.random.default_rng(1))
    assert out.shape == shape
    np.testing.assert_array_equal(labels, np.arange(50))
    ways = set()
    for before, after in zip(images, out, strict=True):
        padded = np.pad(before, [(0, 0)] * (before.ndim - 2) + [(1, 1)] * 2)
        found = [(y, x) for y in range(3) for x in range(3) if np.array_equal(padded[..., y : y + 5, x : x + 6], after)]
        assert len(found) == 1
        ways.add(found[0])
    assert len(ways) > 5


def test_random_shift_can_reflect_the_image_at_its_edge() -> None:
    image = np.arange(1, 10.0).reshape(1, 3, 3)
    out, *_ = tt.random_shift(1, mode="reflect")((image.repeat(50, 0),), np.random.default_rng(1))
    mirrored = np.pad(image[0], 1, mode="reflect")
    places = {mirrored[y : y + 3, x : x + 3].tobytes() for y in range(3) for x in range(3)}
    assert {shifted.tobytes() for shifted in out} == places


def test_random_flip_mirrors_about_half_of_the_images() -> None:
    images = np.random.default_rng(0).random((200, 1, 2, 3))
    before = images.copy()
    (out,) = tt.random_flip((images,), np.random.default_rng(1))
    flipped = np.array([np.array_equal(a[..., ::-1], b) for a, b in zip(images, out, strict=True)])
    same = np.array([np.array_equal(a, b) for a, b in zip(images, out, strict=True)])
    assert (flipped | same).all()
    assert 70 < flipped.sum() < 130
    np.testing.assert_array_equal(images, before)
