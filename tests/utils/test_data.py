"""Loaders, data sets, and samplers in PyTorch's style."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    random_split,
)


class Squares(Dataset):
    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> Any:
        if i == 97:
            raise ValueError("sample 97 is broken")
        return np.full(2, i, np.float32), i * i


class Stream(IterableDataset):
    def __iter__(self) -> Any:
        return iter(range(7))


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize(("size", "drop_last"), [(4, False), (4, True), (3, False)])
def test_batches_are_complete_and_in_order(workers: int, size: int, drop_last: bool) -> None:
    loader = DataLoader(Squares(10), batch_size=size, num_workers=workers, drop_last=drop_last)
    batches = list(loader)
    assert len(batches) == len(loader)
    found = [int(y) for _, ys in batches for y in ys.tolist()]
    assert found == [i * i for i in range(len(found))]
    assert all(x.shape == (len(ys), 2) for x, ys in batches)
    assert len(found) == (8 if drop_last else 10)


def test_error_in_a_worker_reaches_the_loop() -> None:
    with pytest.raises(ValueError, match="sample 97 is broken"):
        list(DataLoader(Squares(100), batch_size=5, num_workers=2))


def test_loop_may_end_early() -> None:
    loader = DataLoader(Squares(50), batch_size=2, num_workers=2)
    for i, _ in enumerate(loader):
        if i == 2:
            break
    assert len(list(loader)) == 25


def test_order_is_random_complete_and_reproducible() -> None:
    def order(seed: int) -> list[Any]:
        loader = DataLoader(Squares(20), batch_size=6, shuffle=True, generator=tt.Generator().manual_seed(seed))
        return [y for _, ys in loader for y in ys.tolist()]

    assert order(1) == order(1) != order(2)
    assert sorted(order(1)) == [i * i for i in range(20)]


def test_tensor_data_set_gathers_whole_batches() -> None:
    x, y = tt.randn(9, 2), tt.arange(9)
    data = TensorDataset(x, y)
    assert data[3][1].item() == 3
    for data_set in (data, Subset(data, range(9))):
        batches = list(DataLoader(data_set, batch_size=4))
        assert [len(b) for b, _ in batches] == [4, 4, 1]
        assert tt.equal(tt.cat([b for b, _ in batches]), x)
    seen = []
    list(DataLoader(data, batch_size=4, collate_fn=lambda samples: seen.append(samples)))
    assert seen[0][2][1].item() == 2
    with pytest.raises(ShapeError, match="lengths"):
        TensorDataset(x, tt.arange(8))


def test_iterable_data_set() -> None:
    assert [b.tolist() for b in DataLoader(Stream(), batch_size=3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(DataLoader(Stream(), batch_size=None)) == list(range(7))
    with pytest.raises(SettingError, match="its own order"):
        DataLoader(Stream(), shuffle=True)


def test_single_samples_without_batches() -> None:
    assert [y for _, y in DataLoader(Squares(3), batch_size=None)] == [0, 1, 4]


def test_collate_keeps_structure_and_dtype() -> None:
    Point = namedtuple("Point", ["x", "name"])
    samples = [{"a": tt.ones(2), "b": (1, 2.0, True), "p": Point(np.float32(1), "n")} for _ in range(3)]
    batch = default_collate(samples)
    assert batch["a"].shape == (3, 2)
    assert [t.dtype.name for t in batch["b"]] == ["int64", "float64", "bool"]
    assert batch["p"].name == ("n",) * 3  # a tuple, as in PyTorch
    assert default_collate(["a", "b"]) == ["a", "b"]
    assert batch["p"].x.dtype == np.float32
    with pytest.raises(ShapeError, match=r"samples of shapes .* pass a collate_fn"):
        default_collate([tt.ones(1), tt.ones(2)])
    with pytest.raises(ShapeError, match="different lengths"):
        default_collate([[1], [1, 2]])
    with pytest.raises(SettingError, match="samples of type NoneType"):
        default_collate([None])


def test_splits_and_unions() -> None:
    a, b = random_split(Squares(10), [0.75, 0.25])
    assert (len(a), len(b)) == (8, 2)
    assert sorted([*a.indices, *b.indices]) == list(range(10))
    both = ConcatDataset([Squares(3), Squares(4)])
    assert [both[i][1] for i in range(7)] == [0, 1, 4, 0, 1, 4, 9]
    assert both[-1][1] == 9
    assert len(Squares(2) + Squares(3)) == 5
    with pytest.raises(SettingError, match="expected lengths that add up to 10"):
        random_split(Squares(10), [3, 3])


def test_samplers() -> None:
    data = list("abcde")
    assert list(SequentialSampler(data)) == [0, 1, 2, 3, 4]
    assert sorted(RandomSampler(data)) == [0, 1, 2, 3, 4]
    assert len(list(RandomSampler(data, num_samples=12))) == 12
    assert len(list(RandomSampler(data, replacement=True, num_samples=9))) == 9
    assert sorted(SubsetRandomSampler([7, 3, 5])) == [3, 5, 7]
    assert set(WeightedRandomSampler([0.0, 1.0, 0.0], 8)) == {1}
    assert list(BatchSampler(range(5), 2, drop_last=False)) == [[0, 1], [2, 3], [4]]
    assert len(BatchSampler(range(5), 2, drop_last=True)) == 2
    loader = DataLoader(Squares(5), sampler=[4, 0], batch_size=1)
    assert [y.item() for _, y in loader] == [16, 0]
    with pytest.raises(SettingError, match="shuffle or a sampler"):
        DataLoader(Squares(5), sampler=[1], shuffle=True)
    with pytest.raises(SettingError, match="batch_size 0"):
        DataLoader(Squares(5), batch_size=0)


def test_text_shows_sizes() -> None:
    text = repr(DataLoader(Squares(10), batch_size=4, shuffle=True))
    assert text.startswith("DataLoader(Squares, batch_size=4, shuffle=True")
    assert text.endswith("# 10 samples, 3 batches")
