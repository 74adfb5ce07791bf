"""The cache of data files: where it is, whether each file is complete, and fetching what is missing.

It handles names, sizes and SHA-256 of files; what is in them is the business of `loading`.

What counts is the content. Each file's SHA-256 is pinned in the source and checked when it is fetched and
again at each load, so it does not matter who sent it. Sources are tried in order, and one that fails costs
one line. Files are written whole or not at all, so two processes that fetch at once do no harm: both write
the same bytes, and the last rename wins.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from tinytorch.base.errors import DataError
from tinytorch.base.files import atomic_write
from tinytorch.datasets.sources import DataFiles, FileFact, Source, SourceFailed, one_line

Report = Callable[[str], None]
State = Literal["ok", "missing", "corrupt"]


def cache_folder(root: str | os.PathLike[str] | None = None) -> Path:
    """The folder of all data sets: `root`, else TINYTORCH_DATA, else the system's cache folder."""
    chosen = root or os.environ.get("TINYTORCH_DATA")
    if chosen:
        return Path(chosen).expanduser()
    try:
        from platformdirs import user_cache_dir
    except ImportError:
        return Path.home() / ".cache" / "tinytorch" / "data"
    return Path(user_cache_dir("tinytorch", appauthor=False)) / "data"


def file_state(path: Path, fact: FileFact) -> State:
    """Whether the file at `path` is there and has the pinned content (its SHA-256 is computed).

    Raises:
        DataError: it is there and may not be read.
    """
    content, problem = _read(path, fact)
    return "ok" if content is not None else "missing" if problem == "missing" else "corrupt"


def contents(
    data: DataFiles, root: str | os.PathLike[str] | None, download: bool, report: Report | None
) -> Iterator[np.ndarray]:
    """The bytes of each file of a data set, in order, as writable uint8 arrays; fetched if need be.

    Raises:
        DataError: no source is left, or the cache cannot be written.
    """
    folder = cache_folder(root) / data.name
    for file, fact in data.files.items():
        content, _ = _read(folder / file, fact)
        if content is None:
            fetch(data, root, download=download, report=report)
            content, problem = _read(folder / file, fact)
            if content is None:
                raise DataError(
                    f"{folder / file}: {problem} right after it was fetched; does something else change it?"
                )
        yield content


def fetch(
    data: DataFiles,
    root: str | os.PathLike[str] | None = None,
    *,
    download: bool = True,
    report: Report | None = None,
) -> Path:
    """See to it that every file of a data set is in its folder, whole; returns the folder.

    First come archives that the user put there, then (with `download`) the sources in order. Progress goes
    to `report`, a line at a time.

    Raises:
        DataError: no source is left (the message lists each with its reason, and where to put the files by
            hand), or the folder cannot be written.
    """
    # A download can take a minute, so a person is told even if nobody set up logging.
    tell = report or logging.getLogger(__name__).warning
    task = _Fetch(data, cache_folder(root) / data.name, tell)
    task.look()
    for source in data.sources:
        task.take_what_is_there(source)
    if task.wanted and download:
        task.make_folder()  # a folder that cannot be written is better known before the download
        for source in data.sources:
            task.download(source)
    if task.wanted and not download:
        task.tried.append("downloads were not allowed (download=False)")
    if task.wanted:
        raise DataError(task.nothing_left())
    return task.folder


class _Fetch:
    """One fetch under way: the files still wanted, and what was tried for them."""

    def __init__(self, data: DataFiles, folder: Path, tell: Report) -> None:
        self.data, self.folder = data, folder
        self.wanted: set[str] = set()
        self.tried: list[str] = []
        self._tell = tell

    def look(self) -> None:
        """Find what is missing or corrupt in the cache."""
        for file, fact in self.data.files.items():
            content, problem = _read(self.folder / file, fact)
            if content is None:
                self.wanted.add(file)
                self.tried.append(f"{file} in the cache: {problem}")
                if problem != "missing":
                    self.tell(f"{self.tried[-1]}; it is refused and fetched again")

    def take_what_is_there(self, source: Source) -> None:
        """Use the archives of a source that the user put into the folder."""
        for archive in source.provides:
            if self._wanted_of(source, archive) and (self.folder / archive).is_file():
                try:
                    self._take(source, self.folder / archive)
                except SourceFailed as reason:
                    self._failed(f"{archive} in the cache", reason)

    def download(self, source: Source) -> None:
        """Download the archives of a source that hold wanted files, up to the first that fails."""
        archives = [archive for archive in source.provides if self._wanted_of(source, archive)]
        if not archives:
            return
        self.tell(f"trying {source.name}")
        try:
            with tempfile.TemporaryDirectory(prefix="tinytorch-") as temporary:
                for archive in archives:
                    self._take(source, source.obtain(archive, Path(temporary)))
        except (SourceFailed, OSError) as reason:  # OSError: no room for a temporary folder
            self._failed(source.name, reason)

    def tell(self, line: str) -> None:
        self._tell(f"{self.data.title}: {line}")

    def nothing_left(self) -> str:
        """What was tried, and where to put the files by hand."""
        lines = [
            f"{self.data.title} cannot be had. Tried:",
            *(f"  {line}" for line in self.tried),
            f"To put it there by hand, copy into {self.folder}",
            f"  {', '.join(file for file in self.data.files if file in self.wanted)}",
            "or, as they come,",
            *(f"  {', '.join(source.provides)}  (from: {source.name})" for source in self.data.sources),
        ]
        return "\n".join(lines)

    def _wanted_of(self, source: Source, archive: str) -> set[str]:
        return self.wanted & set(source.provides[archive])

    def _failed(self, label: str, reason: Exception) -> None:
        self.tried.append(f"{label}: {reason}")
        self.tell(self.tried[-1])

    def _take(self, source: Source, path: Path) -> None:
        """Check and store the wanted files of an archive."""
        expected = self._wanted_of(source, path.name)
        for file, content in _unpacked(source, path):
            fact = self.data.files.get(file)
            if fact is None or file not in expected:
                continue
            if len(content) != fact.size or hashlib.sha256(content).hexdigest() != fact.sha256:
                raise SourceFailed(f"the content of {file} is not the pinned one (its SHA-256 differs)")
            self._store(file, content)
            expected.discard(file)
            self.tell(f"{file} from {path.name}, SHA-256 as pinned")
        if expected:
            raise SourceFailed(f"{path.name} holds no {', '.join(sorted(expected))}")

    def _store(self, file: str, content: bytes) -> None:
        try:
            atomic_write(self.folder / file, content)
        except OSError as error:
            raise self._cannot_write(file, error) from None
        self.wanted.discard(file)

    def make_folder(self) -> None:
        """Make the data set's folder, if it is not there."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._cannot_write("into it", error) from None

    def _cannot_write(self, what: str, error: OSError) -> DataError:
        megabytes = sum(fact.size for fact in self.data.files.values()) / 1e6
        return DataError(
            f"{self.folder}: cannot write {what} ({error.strerror or error}). {self.data.title} needs "
            f"{megabytes:.0f} MB there: make room or give yourself the right to write, or name another "
            "folder in the environment variable TINYTORCH_DATA"
        )


def _unpacked(source: Source, path: Path) -> Iterator[tuple[str, bytes]]:
    """What an archive holds; whatever is wrong with it becomes one line."""
    import tarfile  # here and below: not part of what `import tinytorch` costs
    import zipfile

    broken = (
        OSError,
        EOFError,
        ValueError,
        LookupError,
        zlib.error,
        tarfile.TarError,
        zipfile.BadZipFile,
        DataError,
    )
    try:
        yield from source.unpack(path)
    except broken as error:
        raise SourceFailed(f"{path.name} is cut, damaged or not what it should be ({one_line(error)})") from None


def _read(path: Path, fact: FileFact) -> tuple[np.ndarray | None, str]:
    """A file's bytes if they are the pinned ones, else None and what is wrong."""
    try:
        size = path.stat().st_size
        if size != fact.size:
            return None, f"corrupt ({size:,} bytes instead of {fact.size:,})"
        content = np.fromfile(path, np.uint8)
    except (FileNotFoundError, NotADirectoryError):
        return None, "missing"
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    if hashlib.sha256(content.data).hexdigest() != fact.sha256:
        return None, "corrupt (its SHA-256 differs)"
    return content, ""
