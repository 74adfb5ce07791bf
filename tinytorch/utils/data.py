"""`utils.data`: loaders in PyTorch's style, from single samples to batches of tensors.

The course's `DataLoader` (module 10) reads arrays in whole batches, and can resume within an epoch. This one takes any
data set by index, samplers, and a function that collates samples.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from tinytorch import tensor as T
from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.base.extension import LoaderExtension
from tinytorch.base.words import all_in_words, described
from tinytorch.ops.creation import Generator
from tinytorch.tensor import Tensor
from tinytorch.utils.datasets import Batch, ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset, random_split
from tinytorch.utils.samplers import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)


def default_collate(batch: Any) -> Any:
    """Return a batch from a list of samples: tensors, arrays, and numbers are stacked, tuples and dicts entry by entry.

    Raises:
        ShapeError: samples have different shapes or lengths.
        SettingError: samples are of a type that cannot be stacked.
    """
    if isinstance(batch, Batch):
        return list(batch)
    if not isinstance(batch, list | tuple) or not batch:
        raise SettingError(f"default_collate: {described(batch)}: expected a list of samples, at least one")
    first = batch[0]
    if isinstance(first, Tensor | np.ndarray | np.generic):
        shapes = {x.shape for x in batch}
        if len(shapes) > 1:
            raise ShapeError(
                f"default_collate: samples of shapes {sorted(shapes)}: expected one shape; pass a collate_fn"
            )
        if isinstance(first, Tensor):
            return T.stack(list(batch))
        return Tensor(np.stack(batch))
    if isinstance(first, bool | int):
        return Tensor(np.array(batch))
    if isinstance(first, float):
        return Tensor(np.array(batch, np.float64))
    if isinstance(first, str | bytes):
        return batch
    if isinstance(first, Mapping):
        return {key: default_collate([sample[key] for sample in batch]) for key in first}
    if isinstance(first, tuple | list):
        if len({len(sample) for sample in batch}) > 1:
            raise ShapeError("default_collate: samples of different lengths: expected one length; pass a collate_fn")
        parts = [default_collate(part) for part in zip(*batch, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else parts
    raise SettingError(f"default_collate: samples of type {type(first).__name__}: expected tensors, arrays, numbers, "
                       f"texts, or tuples and dicts of them; pass a collate_fn")  # fmt: skip


class DataLoader(LoaderExtension):
    """Iterates over a data set in batches.

    Args:
        dataset: samples by index, `__getitem__(i)` and `__len__`, or an IterableDataset.
        batch_size: samples per batch; None yields single samples.
        shuffle: use a new random order in each epoch, from `generator` or the default generator.
        sampler, batch_sampler: the order, instead of `shuffle`; the second one also makes the batches.
        num_workers: threads that prepare batches ahead of time. They gain what loading waits for (files, networks) or
            what NumPy computes outside of Python; Python code of a data set does not run in parallel.
        collate_fn: makes a batch from a list of samples; see `default_collate`.
        drop_last: drop the last batch if it is smaller.
        prefetch_factor: batches that each thread prepares ahead.
        pin_memory, persistent_workers, timeout: have no effect.

    Raises:
        SettingError: settings contradict one another.

    >>> loader = DataLoader(TensorDataset(np.arange(5)), batch_size=2)
    >>> [batch.tolist() for (batch,) in loader]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[int] | None = None,
        batch_sampler: Iterable[list[int]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], Any] | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        generator: Generator | None = None,
    ) -> None:
        self.iterable = isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__")
        _check(self.iterable, batch_size, bool(shuffle), sampler, batch_sampler, num_workers, drop_last)
        if not self.iterable and sampler is None and batch_sampler is None:
            if len(dataset) == 0 and shuffle:
                raise SettingError("DataLoader: the data set is empty")
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        if batch_sampler is None and batch_size is not None and sampler is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.dataset, self.batch_size, self.shuffle, self.drop_last = dataset, batch_size, bool(shuffle), drop_last
        self.sampler, self.batch_sampler, self.num_workers = sampler, batch_sampler, num_workers
        self.collate_fn, self.ahead = collate_fn, max(1, num_workers) * (prefetch_factor or 2)
        self.worker_init_fn = worker_init_fn

    def __len__(self) -> int:
        if self.iterable:
            n = len(self.dataset)
            size = self.batch_size or 1
            return n // size if self.drop_last else -(-n // size)
        return len(self.batch_sampler if self.batch_sampler is not None else self.sampler)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        """Return an iterator over the batches of an epoch."""
        if self.iterable:
            return self._from_iterable()
        if self.num_workers == 0:
            return map(self._fetch, self._places())
        return self._ahead()

    def _places(self) -> Iterator[Any]:
        return iter(self.batch_sampler if self.batch_sampler is not None else self.sampler)  # type: ignore[arg-type]

    def _fetch(self, places: Any) -> Any:
        """Return the batch at a list of indices, or the sample at one."""
        if self.batch_sampler is None:
            sample = self.dataset[places]
            return sample if self.collate_fn is None else self.collate_fn(sample)
        if hasattr(self.dataset, "__getitems__"):
            samples = self.dataset.__getitems__(places)
            if isinstance(samples, Batch) and self.collate_fn is not None:  # a function of yours gets single samples
                samples = [self.dataset[i] for i in places]
        else:
            samples = [self.dataset[i] for i in places]
        return (self.collate_fn or default_collate)(samples)

    def _from_iterable(self) -> Iterator[Any]:
        samples: list[Any] = []
        collate = self.collate_fn or default_collate
        for sample in self.dataset:
            if self.batch_size is None:
                yield sample if self.collate_fn is None else self.collate_fn(sample)
                continue
            samples.append(sample)
            if len(samples) == self.batch_size:
                yield collate(samples)
                samples = []
        if samples and not self.drop_last:
            yield collate(samples)

    def _ahead(self) -> Iterator[Any]:
        """Yield the batches in order; threads prepare the next ones meanwhile. Errors are raised at their batch."""
        with ThreadPoolExecutor(self.num_workers, "loader") as pool:
            for worker in range(self.num_workers if self.worker_init_fn is not None else 0):
                assert self.worker_init_fn is not None
                self.worker_init_fn(worker)
            waiting: deque[Any] = deque()
            try:
                for places in self._places():
                    waiting.append(pool.submit(self._fetch, places))
                    if len(waiting) > self.ahead:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()


def _check(
    iterable: bool,
    batch_size: int | None,
    shuffle: bool,
    sampler: Any,
    batch_sampler: Any,
    num_workers: int,
    drop_last: bool,
) -> None:
    if batch_size is not None and batch_size < 1:
        raise SettingError(f"DataLoader: batch_size {batch_size}: expected at least 1, or None")
    if num_workers < 0:
        raise SettingError(f"DataLoader: num_workers {num_workers}: expected at least 0")
    if iterable and (shuffle or sampler is not None or batch_sampler is not None):
        raise SettingError("DataLoader: an iterable data set has its own order: expected no shuffle and no sampler")
    if shuffle and (sampler is not None or batch_sampler is not None):
        raise SettingError("DataLoader: expected shuffle or a sampler, not both")
    if batch_sampler is not None and (batch_size not in (None, 1) or sampler is not None or drop_last):
        raise SettingError(
            "DataLoader: a batch_sampler makes the batches: expected no batch_size, sampler, or drop_last"
        )


__all__ = [
    "BatchSampler",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "IterableDataset",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "default_collate",
    "random_split",
]

all_in_words(globals(), "tinytorch.utils.data")
