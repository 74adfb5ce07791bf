"""The cache of data files: its location, the state of each file, and fetching missing files.

This file handles names, sizes, and SHA-256 of files; `loading` handles their content.

Each file's SHA-256 is pinned in the source code and checked when the file is fetched and again at each load, so it does
not matter which source it came from. Sources are tried in order, and each one that fails is reported in one line. Files
are written atomically, so two processes can fetch at the same time: both write the same bytes, and the last rename
wins.
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
    """Return the folder of all data sets: `root`, else TINYTORCH_DATA, else the system's cache folder."""
    chosen = root or os.environ.get("TINYTORCH_DATA")
    if chosen:
        try:
            return Path(chosen).expanduser()
        except RuntimeError:
            raise DataError(f"TINYTORCH_DATA={chosen}: no such user") from None
    try:
        from platformdirs import user_cache_dir
    except ImportError:
        return Path.home() / ".cache" / "tinytorch" / "data"
    return Path(user_cache_dir("tinytorch", appauthor=False)) / "data"


def file_state(path: Path, fact: FileFact) -> State:
    """Return whether the file at `path` exists and has the pinned content; its SHA-256 is computed.

    Raises:
        DataError: the file exists but cannot be read.
    """
    content, problem = _read(path, fact)
    return "ok" if content is not None else "missing" if problem == "missing" else "corrupt"


def contents(
    data: DataFiles, root: str | os.PathLike[str] | None, download: bool, report: Report | None
) -> Iterator[np.ndarray]:
    """Yield the bytes of each file of a data set, in order, as writable uint8 arrays; missing files are fetched.

    Raises:
        DataError: all sources failed, or the cache cannot be written.
    """
    folder = cache_folder(root) / data.name
    for file, fact in data.files.items():
        content, _ = _read(folder / file, fact)
        if content is None:
            fetch(data, root, download=download, report=report)
            content, problem = _read(folder / file, fact)
            if content is None:
                raise DataError(
                    f"{folder / file}: {problem} right after it was fetched; is another program changing it?"
                )
        yield content


def fetch(
    data: DataFiles,
    root: str | os.PathLike[str] | None = None,
    *,
    download: bool = True,
    report: Report | None = None,
) -> Path:
    """Ensure that every file of a data set is in its folder and complete; return the folder.

    Archives that the user put into the folder are used first, then (with `download`) the sources, in order. `report` is
    called with each line of progress.

    Raises:
        DataError: all sources failed (the message lists each with its reason, and where to put the files manually),
            or the folder cannot be written.
    """
    # A download can take a minute, so it is reported even if logging is not configured.
    task = _Fetch(data, cache_folder(root) / data.name, report or logging.getLogger(__name__).warning)
    task.check_cache()
    for source in data.sources:
        task.use_archives(source)
    if task.wanted and download:
        task.make_folder()  # a folder that cannot be written should fail before the download
        for source in data.sources:
            task.download(source)
    if task.wanted and not download:
        task.tried.append("downloads are disabled (download=False)")
    if task.wanted:
        raise DataError(task.failure_message())
    return task.folder


class _Fetch:
    """The state of one fetch: the files that are still missing, and what was tried to get them."""

    def __init__(self, data: DataFiles, folder: Path, report: Report) -> None:
        self.data, self.folder = data, folder
        self.wanted: set[str] = set()
        self.tried: list[str] = []
        self._report = report

    def check_cache(self) -> None:
        """Find the files that are missing or corrupt in the cache."""
        for file, fact in self.data.files.items():
            content, problem = _read(self.folder / file, fact)
            if content is None:
                self.wanted.add(file)
                self.tried.append(f"{file} in the cache: {problem}")
                if problem != "missing":
                    self.report(f"{self.tried[-1]}; fetching it again")

    def use_archives(self, source: Source) -> None:
        """Use a source's archives that the user put into the folder."""
        for archive in source.provides:
            if self._wanted_of(source, archive) and (self.folder / archive).is_file():
                try:
                    self._extract(source, self.folder / archive)
                except SourceFailed as reason:
                    self._failed(f"{archive} in the cache", reason)

    def download(self, source: Source) -> None:
        """Download a source's archives that contain wanted files; stop at the first one that fails."""
        archives = [archive for archive in source.provides if self._wanted_of(source, archive)]
        if not archives:
            return
        self.report(f"trying {source.name}")
        try:
            with tempfile.TemporaryDirectory(prefix="tinytorch-") as temporary:
                for archive in archives:
                    self._extract(source, source.obtain(archive, Path(temporary)))
        except (SourceFailed, OSError) as reason:  # OSError: no space for a temporary folder
            self._failed(source.name, reason)

    def report(self, line: str) -> None:
        self._report(f"{self.data.title}: {line}")

    def failure_message(self) -> str:
        """Return the error message: what was tried, and where to put the files manually."""
        lines = [
            f"{self.data.title} is not available. Tried:",
            *(f"  {line}" for line in self.tried),
            f"To add it manually, copy into {self.folder}",
            f"  {', '.join(file for file in self.data.files if file in self.wanted)}",
            "or the original archives,",
            *(
                f"  {', '.join(source.provides)}  (from: {source.address or source.name})"
                for source in self.data.sources
            ),
        ]
        return "\n".join(lines)

    def _wanted_of(self, source: Source, archive: str) -> set[str]:
        return self.wanted & set(source.provides[archive])

    def _failed(self, label: str, reason: Exception) -> None:
        self.tried.append(f"{label}: {reason}")
        self.report(self.tried[-1])

    def _extract(self, source: Source, path: Path) -> None:
        """Check the wanted files of an archive and store them."""
        expected = self._wanted_of(source, path.name)
        for file, content in _unpacked(source, path):
            fact = self.data.files.get(file)
            if fact is None or file not in expected:
                continue
            if len(content) != fact.size or hashlib.sha256(content).hexdigest() != fact.sha256:
                raise SourceFailed(f"{file} does not have the pinned content (its SHA-256 differs)")
            self._store(file, content)
            expected.discard(file)
            self.report(f"{file} from {path.name}, SHA-256 verified")
        if expected:
            raise SourceFailed(f"{path.name} does not contain {', '.join(sorted(expected))}")

    def _store(self, file: str, content: bytes) -> None:
        try:
            atomic_write(self.folder / file, content)
        except OSError as error:
            raise self._cannot_write(file, error) from None
        self.wanted.discard(file)

    def make_folder(self) -> None:
        """Create the data set's folder if it does not exist."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._cannot_write("into it", error) from None

    def _cannot_write(self, what: str, error: OSError) -> DataError:
        megabytes = sum(fact.size for fact in self.data.files.values()) / 1e6
        return DataError(
            f"{self.folder}: cannot write {what} ({error.strerror or error}). {self.data.title} needs "
            f"{megabytes:.0f} MB there: free some space, get write permission, or set the environment variable "
            "TINYTORCH_DATA to another folder"
        )


def _unpacked(source: Source, path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the files in an archive; turn every error into one line."""
    import tarfile  # imported here to keep `import tinytorch` fast
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
        raise SourceFailed(
            f"{path.name} is truncated, corrupt, or not the expected archive ({one_line(error)})"
        ) from None


def _read(path: Path, fact: FileFact) -> tuple[np.ndarray | None, str]:
    """Return (bytes, "") if the file has the pinned content, else (None, the problem)."""
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
