"""Data sets by index, as PyTorch's: one sample for one index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.ops.creation import Generator, numpy_generator
from tinytorch.tensor import Tensor


class Dataset:
    """Base class: `__getitem__(i)` returns sample i, and `__len__` says how many there are."""

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__()")

    def __len__(self) -> int:
        raise TypeError(f"{type(self).__name__} must define __len__()")  # list() asks, and accepts this error

    def __add__(self, other: Dataset) -> ConcatDataset:
        return ConcatDataset([self, other])

    def __class_getitem__(cls, _: Any) -> Any:
        return cls  # Dataset[T], as type hints write it


class IterableDataset(Dataset):
    """Base class of data sets that are read in order: `__iter__` yields the samples."""

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__} must define __iter__()")


class TensorDataset(Dataset):
    """A data set of tensors of the same length: sample i is a tuple of their entries i.

    Raises:
        ShapeError: there are none, or their lengths differ.
    """

    def __init__(self, *tensors: Any) -> None:
        self.tensors = tuple(t if isinstance(t, Tensor) else Tensor(t) for t in tensors)
        lengths = [len(t) for t in self.tensors]
        if not lengths or min(lengths) != max(lengths):
            raise ShapeError(f"TensorDataset: tensors of lengths {lengths}: expected at least one, of equal length")

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(t[index] for t in self.tensors)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return the samples at several indices at once, already collated."""
        rows = np.asarray(indices)
        return Batch([Tensor(t.data[rows]) for t in self.tensors])

    def __len__(self) -> int:
        return len(self.tensors[0])


class Batch(list[Any]):
    """A batch that needs no collating: what a fast `__getitems__` returns."""


class Subset(Dataset):
    """Some samples of another data set."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, indices

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: Sequence[int]) -> Any:
        """Return the samples at several indices at once."""
        places = [self.indices[i] for i in indices]
        if hasattr(self.dataset, "__getitems__"):
            return self.dataset.__getitems__(places)
        return [self.dataset[i] for i in places]

    def __len__(self) -> int:
        return len(self.indices)


class ConcatDataset(Dataset):
    """Several data sets, one after the other."""

    def __init__(self, datasets: Sequence[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise SettingError("ConcatDataset: no data sets: expected at least one")
        self.cumulative_sizes = list(accumulate(len(d) for d in self.datasets))

    def __getitem__(self, index: int) -> Any:
        n = len(self)
        if not -n <= index < n:
            raise IndexError(f"index {index} of {n} samples")
        index %= n
        i = int(np.searchsorted(self.cumulative_sizes, index, "right"))
        return self.datasets[i][index - (self.cumulative_sizes[i - 1] if i else 0)]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


def random_split(dataset: Any, lengths: Sequence[float], generator: Generator | None = None) -> list[Subset]:
    """Split a data set at random into parts of the given lengths, or of fractions that add up to 1.

    Raises:
        SettingError: the lengths do not add up to that of the data set.
    """
    n = len(dataset)
    sizes = [int(length) for length in lengths]
    if any(isinstance(length, float) for length in lengths) and abs(sum(lengths) - 1) < 1e-9:
        sizes = [int(n * length) for length in lengths]
        for i in range(n - sum(sizes)):
            sizes[i % len(sizes)] += 1
    if sum(sizes) != n or min(sizes, default=0) < 0:
        raise SettingError(
            f"random_split: lengths {list(lengths)}: expected lengths that add up to {n}, or fractions to 1"
        )
    order = numpy_generator(generator).permutation(n).tolist()
    ends = list(accumulate(sizes))
    return [Subset(dataset, order[end - size : end]) for end, size in zip(ends, sizes, strict=True)]
