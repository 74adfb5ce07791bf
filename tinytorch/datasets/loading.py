"""MNIST, CIFAR-10, and Shakespeare's plays as NumPy arrays and text.

    data = mnist()
    data.train_images.shape    # (60000, 28, 28), uint8

Each data set is fetched once into a cache folder (`root`, else the environment variable TINYTORCH_DATA, else the
system's cache folder). It is stored there in one form, whose SHA-256 is pinned in `catalogue` and checked at every
load: MNIST as its four IDX files, CIFAR-10 as the six batches of its binary version, and Shakespeare as one text file.
`catalogue` lists the files and their sources; `downloads` fetches them.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field

import numpy as np

from tinytorch.base.errors import DataError
from tinytorch.datasets.catalogue import CATALOGUE
from tinytorch.datasets.downloads import Report, contents


@dataclass(frozen=True, eq=False)
class MNIST:
    """70,000 handwritten digits, white on black (LeCun, Cortes, and Burges, 1998)."""

    train_images: np.ndarray = field(repr=False)  # uint8 (60000, 28, 28)
    train_labels: np.ndarray = field(repr=False)  # int64 (60000,)
    test_images: np.ndarray = field(repr=False)  # uint8 (10000, 28, 28)
    test_labels: np.ndarray = field(repr=False)  # int64 (10000,)
    classes: tuple[str, ...] = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")


@dataclass(frozen=True, eq=False)
class CIFAR10:
    """60,000 small color photographs of ten classes (Krizhevsky, 2009)."""

    train_images: np.ndarray = field(repr=False)  # uint8 (50000, 3, 32, 32): (N, C, H, W), RGB
    train_labels: np.ndarray = field(repr=False)  # int64 (50000,)
    test_images: np.ndarray = field(repr=False)  # uint8 (10000, 3, 32, 32)
    test_labels: np.ndarray = field(repr=False)  # int64 (10000,)
    classes: tuple[str, ...] = (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    )


@dataclass(frozen=True)
class Shakespeare:
    """38 plays by Shakespeare as one text, in the format that `plain_text` documents.

    The first 90% of the characters are for training and the rest for validation, the same split as in nanoGPT.
    """

    text: str = field(repr=False)

    @property
    def train(self) -> str:
        return self.text[: len(self.text) * 9 // 10]

    @property
    def validation(self) -> str:
        return self.text[len(self.text) * 9 // 10 :]


def mnist(root: str | os.PathLike[str] | None = None, *, download: bool = True, report: Report | None = None) -> MNIST:
    """Load MNIST: 60,000 training and 10,000 test images of 28 x 28.

    Args:
        root: the folder of all data sets; by default, the cache folder.
        download: False to use only files that are already in the folder.
        report: called with each line of progress; by default, the lines are logged.

    Raises:
        DataError: all sources failed (the message states what was tried and where to put the files manually),
            or the folder cannot be written.
    """
    names = CATALOGUE["mnist"].files
    arrays = [
        _idx(content, name)
        for name, content in zip(names, contents(CATALOGUE["mnist"], root, download, report), strict=True)
    ]
    return MNIST(arrays[0], arrays[1].astype(np.int64), arrays[2], arrays[3].astype(np.int64))


# Per channel, of the training images' pixels (0 to 255): (3, 1, 1), for use on (N, 3, 32, 32)
CIFAR10_MEAN = np.array([125.3, 123.0, 113.9], np.float32)[:, None, None]
CIFAR10_STD = np.array([63.0, 62.1, 66.7], np.float32)[:, None, None]


def cifar10(
    root: str | os.PathLike[str] | None = None, *, download: bool = True, report: Report | None = None
) -> CIFAR10:
    """Load CIFAR-10: 50,000 training and 10,000 test images of 3 x 32 x 32.

    Arguments and errors are as in `mnist`.
    """
    images = np.empty((60_000, 3, 32, 32), np.uint8)
    labels = np.empty(60_000, np.int64)
    for at, content in enumerate(contents(CATALOGUE["cifar10"], root, download, report)):
        records = content.reshape(10_000, 1 + 3072)  # a label and the three color planes of an image
        batch = slice(at * 10_000, (at + 1) * 10_000)
        labels[batch], images[batch] = records[:, 0], records[:, 1:].reshape(-1, 3, 32, 32)
    return CIFAR10(images[:50_000], labels[:50_000], images[50_000:], labels[50_000:])


def shakespeare(
    root: str | os.PathLike[str] | None = None, *, download: bool = True, report: Report | None = None
) -> Shakespeare:
    """Load Shakespeare's plays as one text. Arguments and errors are as in `mnist`."""
    (content,) = contents(CATALOGUE["shakespeare"], root, download, report)
    return Shakespeare(content.tobytes().decode("utf-8"))


def _idx(content: np.ndarray, name: str) -> np.ndarray:
    """Return the uint8 array in an IDX file. Its header: two zeros, type 8, the number of axes, and their lengths."""
    if content.size < 4 or content[:3].tolist() != [0, 0, 8]:
        raise DataError(f"{name}: not an IDX file of unsigned bytes")
    start = 4 + 4 * int(content[3])
    shape = tuple(int.from_bytes(content[at : at + 4].tobytes(), "big") for at in range(4, start, 4))
    values = content[start:]
    if content.size < start or values.size != math.prod(shape):
        raise DataError(f"{name}: {values.size} values, but its header says {shape}")
    return values.reshape(shape)
