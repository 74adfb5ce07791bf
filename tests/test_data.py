"""`tito data`: what is listed, fetched and verified."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest

from tinytorch.base.errors import DataError
from tinytorch.datasets import catalogue
from tinytorch.datasets.sources import FileFact, Source, SourceFailed
from tito import data
from tito.errors import TitoError

TEXT = b"HAL:\nNow.\n"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a Shakespeare of ten bytes whose only source is a local file."""

    def obtain(archive: str, folder: Path) -> Path:
        (folder / archive).write_bytes(TEXT)
        return folder / archive

    only = Source(
        "a local file",
        {"all.txt": ("shakespeare.txt",)},
        obtain,
        lambda path: iter([("shakespeare.txt", path.read_bytes())]),
    )
    fact = FileFact(len(TEXT), hashlib.sha256(TEXT).hexdigest())
    made = dataclasses.replace(catalogue.CATALOGUE["shakespeare"], files={"shakespeare.txt": fact}, sources=(only,))
    monkeypatch.setitem(catalogue.CATALOGUE, "shakespeare", made)
    monkeypatch.setenv("TINYTORCH_DATA", str(tmp_path))
    return tmp_path


def listed(name: str) -> data.DataState:
    return next(state for state in data.list_data() if state.name == name)


def states() -> dict[str, str]:
    return {found.file: found.state for found in data.verify()}


def test_an_empty_cache_lists_every_data_set_as_absent(cache: Path) -> None:
    assert [state.name for state in data.list_data()] == ["mnist", "cifar10", "shakespeare"]
    assert not any(state.present for state in data.list_data())
    assert {state.bytes for state in data.list_data()} == {0}
    assert listed("mnist").folder == cache / "mnist"
    assert set(states().values()) == {"missing"}
    assert list(cache.iterdir()) == []


def test_a_fetched_data_set_is_listed_and_verified(cache: Path) -> None:
    lines: list[str] = []
    assert data.fetch("shakespeare", lines.append) == cache / "shakespeare"
    assert "a local file" in lines[0]
    assert listed("shakespeare").present
    assert listed("shakespeare").bytes == len(TEXT)
    assert states()["shakespeare.txt"] == "ok"


def test_a_changed_file_is_found_by_verify_and_a_cut_one_by_list(cache: Path) -> None:
    path = data.fetch("shakespeare", lambda line: None) / "shakespeare.txt"
    path.write_bytes(TEXT.replace(b"Now", b"Not"))
    assert states()["shakespeare.txt"] == "corrupt"
    path.write_bytes(TEXT[:-1])
    assert not listed("shakespeare").present
    assert states()["shakespeare.txt"] == "corrupt"
    data.fetch("shakespeare", lambda line: None)
    assert states()["shakespeare.txt"] == "ok"


def test_an_unknown_name_is_refused_with_the_known_ones(cache: Path) -> None:
    with pytest.raises(TitoError, match="'imagenet'; available: mnist, cifar10, shakespeare"):
        data.fetch("imagenet", lambda line: None)


def test_a_fetch_without_any_source_left_is_an_error(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(archive: str, folder: Path) -> Path:
        raise SourceFailed("no answer")

    made = catalogue.CATALOGUE["shakespeare"]
    sources = tuple(dataclasses.replace(source, obtain=fail) for source in made.sources)
    monkeypatch.setitem(catalogue.CATALOGUE, "shakespeare", dataclasses.replace(made, sources=sources))
    with pytest.raises(DataError, match="a local file: no answer"):
        data.fetch("shakespeare", lambda line: None)
