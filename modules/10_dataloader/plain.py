"""The plain answer to module 10, for the course's own proof."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from tinytorch.base.errors import ShapeError
from tinytorch.dataloader import AUGMENTATION, ORDER, Batch, Transform
from tinytorch.tensor import Array


class TensorDataset:
    def __init__(self, *arrays: Array) -> None:
        lengths = [len(array) for array in arrays]
        if not lengths or min(lengths) != max(lengths):
            raise ShapeError(f"TensorDataset: arrays of lengths {lengths}: expected at least one, of equal length")
        self.arrays = arrays

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: int) -> Batch:
        sample = [array[index] for array in self.arrays]
        return tuple(sample)

    def batch_at(self, indices: Array) -> Batch:
        batch = []
        for array in self.arrays:
            batch.append(array[indices])
        return tuple(batch)


class DataLoader:
    def __len__(self) -> int:
        n = len(self.dataset)
        if self.drop_last or n % self.batch_size == 0:
            return n // self.batch_size
        return n // self.batch_size + 1

    def __iter__(self) -> Iterator[Batch]:
        self.epoch += 1
        return self.batches(self.epoch - 1)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        n = len(self.dataset)
        if self.shuffle:
            order = np.random.default_rng((self.seed, ORDER, epoch)).permutation(n)
        else:
            order = np.arange(n)
        number = start
        while number < len(self):
            first = number * self.batch_size
            last = min(first + self.batch_size, n)
            batch = self._batch(order[first:last])
            if self.transform is not None:
                rng = np.random.default_rng((self.seed, AUGMENTATION, epoch, number))
                batch = self.transform(batch, rng)
            yield batch
            number += 1


def random_shift(pixels: int, mode: Literal["constant", "reflect"] = "constant") -> Transform:
    def shift(batch: Batch, rng: np.random.Generator) -> Batch:
        images = batch[0]
        height, width = images.shape[-2], images.shape[-1]
        shifted = np.empty_like(images)
        for i, image in enumerate(images):
            borders = [(0, 0)] * (image.ndim - 2) + [(pixels, pixels), (pixels, pixels)]
            padded = np.pad(image, borders, mode=mode)
            y = rng.integers(0, 2 * pixels + 1)
            x = rng.integers(0, 2 * pixels + 1)
            shifted[i] = padded[..., y : y + height, x : x + width]
        return (shifted, *batch[1:])

    return shift


def random_flip(batch: Batch, rng: np.random.Generator) -> Batch:
    images = batch[0]
    out = np.empty_like(images)
    for i in range(len(images)):
        if rng.random() < 0.5:
            out[i] = images[i][..., ::-1]
        else:
            out[i] = images[i]
    return (out, *batch[1:])
