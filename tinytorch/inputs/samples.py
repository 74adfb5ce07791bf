"""The samples of a data set, stacked to a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinytorch.base.errors import InputTypeError, ShapeError
from tinytorch.tensor import Array, Tensor


def collate(samples: Sequence[Any]) -> Any:
    """Stack samples of one kind along a new first dimension, as PyTorch's `default_collate` does.

        arrays -> an array, Tensors -> a Tensor, integers -> int64, floats -> float32, texts -> a list,
        tuples or lists -> a tuple of batches, dicts -> a dict of batches

    Raises:
        ShapeError: the samples have different shapes, lengths, or keys.
        InputTypeError: a sample is of another type.

    >>> collate([(np.ones(2), 3), (np.zeros(2), 4)])
    (array([[1., 1.],
           [0., 0.]]), array([3, 4]))
    """
    first = samples[0]
    if isinstance(first, Tensor):
        return Tensor(_stacked([np.asarray(sample) for sample in samples]))
    if isinstance(first, (np.ndarray, np.generic)):
        return _stacked([np.asarray(sample) for sample in samples])
    if isinstance(first, (bool, int, float)):
        numbers = np.array(samples)
        return numbers.astype(np.float32) if numbers.dtype == np.float64 else numbers
    if isinstance(first, (str, bytes)):
        return list(samples)
    if isinstance(first, Mapping):
        if any(sample.keys() != first.keys() for sample in samples):
            raise ShapeError(f"DataLoader: samples with different keys: expected {list(first)} in each")
        return {key: collate([sample[key] for sample in samples]) for key in first}
    if isinstance(first, (tuple, list)):
        if any(len(sample) != len(first) for sample in samples):
            raise ShapeError(f"DataLoader: samples of different lengths: expected {len(first)} parts in each")
        parts = [collate(column) for column in zip(*samples, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)
    raise InputTypeError(f"DataLoader: a sample of type {type(first).__name__}: expected arrays, Tensors, numbers, "
                         f"texts, or a tuple or dict of these, or a collate_fn")  # fmt: skip


def _stacked(arrays: list[Array]) -> Array:
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        raise ShapeError(f"DataLoader: samples of shapes {' and '.join(map(str, sorted(shapes)))} in one batch: "
                         f"expected one shape, or a collate_fn that pads them")  # fmt: skip
    return np.stack(arrays)
