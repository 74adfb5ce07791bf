"""`tito data list | fetch | verify`: the data sets in the cache, as values that the command line prints.

This module prints nothing itself. `tinytorch.datasets` defines the data sets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tinytorch.datasets.catalogue import CATALOGUE
from tinytorch.datasets.downloads import State, cache_folder, file_state
from tinytorch.datasets.downloads import fetch as fetch_files
from tito.errors import RequestError, did_you_mean


@dataclass(frozen=True)
class DataState:
    """A data set, and how much of it is in the cache."""

    name: str
    what: str
    folder: Path
    present: bool  # every file is there with its full size; `verify` also checks the content
    bytes: int


@dataclass(frozen=True)
class FileState:
    """A file of a data set, after its content was hashed."""

    name: str
    file: str
    path: Path
    state: State


def list_data() -> list[DataState]:
    """Return every available data set, without reading its files."""
    states = []
    for data in CATALOGUE.values():
        folder = cache_folder() / data.name
        sizes = {file: path.stat().st_size for file in data.files if (path := folder / file).is_file()}
        present = all(sizes.get(file) == fact.size for file, fact in data.files.items())
        states.append(DataState(data.name, data.what, folder, present, sum(sizes.values())))
    return states


def fetch(name: str, report: Callable[[str], None]) -> Path:
    """Fetch a data set into the cache, unless it is complete there, and return its folder.

    Raises:
        RequestError: there is no data set of that name.
        DataError: no source is left, or the folder cannot be written.
    """
    if name not in CATALOGUE:
        hint = did_you_mean(name, CATALOGUE)
        raise RequestError(f"no data set is named {name!r}; available: {', '.join(CATALOGUE)}{hint}")
    return fetch_files(CATALOGUE[name], report=report)


def verify() -> list[FileState]:
    """Hash every file of every data set in the cache and compare it with the pinned SHA-256.

    Raises:
        DataError: a file cannot be read.
    """
    return [
        FileState(data.name, file, path := cache_folder() / data.name / file, file_state(path, fact))
        for data in CATALOGUE.values()
        for file, fact in data.files.items()
    ]
