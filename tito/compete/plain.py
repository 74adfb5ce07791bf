"""Folders that strangers can write to: plain files only, never through a link, never more than a limit.

Each step is relative to an open folder, not to a path: a folder that is replaced by a link in the meantime leads
nowhere else. Works on POSIX systems.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tito.compete.problems import Problem, RefusedError

MOST_NAMES = 200_000  # in one folder
ABANDONED_SECONDS = 3600  # no write takes that long
PART = ".part"  # the end of the name of a file or folder that is being written
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a folder",
    stat.S_IFREG: "a file",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True)
class Folder:
    """An open folder. `name` is what problems call it."""

    handle: int
    name: str

    def status(self, name: str) -> os.stat_result | None:
        """Return the status of what has this name, not that of a link's target; None if there is nothing."""
        try:
            return os.stat(name, dir_fd=self.handle, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def names(self, most: int = MOST_NAMES) -> list[str]:
        """List the folder, in alphabetical order.

        Raises:
            RefusedError: it contains more than `most` names.
        """
        found: list[str] = []
        with os.scandir(self.handle) as entries:
            for entry in entries:
                found.append(entry.name)
                if len(found) > most:
                    raise RefusedError([Problem("files", self.name, "", f"more than {most} names", "fewer")])
        return sorted(found)

    def read(self, name: str, limit: int) -> bytes:
        """Read a plain file that has no other name.

        Raises:
            RefusedError: it is missing, not plain, too large, not readable, or was changed in the meantime.
        """
        status = self.status(name)
        if status is None:
            raise RefusedError([Problem("files", name, "", "nothing", "a file")])
        if problem := _not_plain(name, status) or _too_large(name, status, limit):
            raise RefusedError([problem])
        try:
            handle = os.open(name, _READ, dir_fd=self.handle)
        except OSError as error:
            raise RefusedError([_unreadable(name, error)]) from None
        with os.fdopen(handle, "rb", buffering=0) as file:
            if not os.path.samestat(status, os.fstat(handle)):
                raise RefusedError([_changed(name)])
            try:
                content = _read(file.fileno(), status.st_size + 1)
            except OSError as error:
                raise RefusedError([_unreadable(name, error)]) from None
            after = os.fstat(handle)
        if len(content) != status.st_size or after.st_mtime_ns != status.st_mtime_ns:
            raise RefusedError([_changed(name)])
        return content

    def write(self, name: str, content: bytes, mode: int = 0o666) -> None:
        """Write a new file and sync it to the disk."""
        handle = os.open(name, _NEW, mode, dir_fd=self.handle)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(handle)

    def sync(self) -> None:
        """Make new names in the folder durable, where the file system supports it."""
        with suppress(OSError):  # some network file systems refuse; a rename is atomic all the same
            os.fsync(self.handle)

    def rename(self, old: str, new: str) -> None:
        """Rename within the folder."""
        os.rename(old, new, src_dir_fd=self.handle, dst_dir_fd=self.handle)

    def remove(self, name: str) -> None:
        """Remove a file or a whole folder, without following links. What cannot be removed stays."""
        with suppress(OSError):
            status = self.status(name)
            if status is not None and stat.S_ISDIR(status.st_mode):
                shutil.rmtree(name, ignore_errors=True, dir_fd=self.handle)
            elif status is not None:
                os.unlink(name, dir_fd=self.handle)

    def remove_abandoned(self) -> None:
        """Remove what writers that were killed left behind, once it is an hour old."""
        for name in self.names():
            if name.startswith(".") and name.endswith(PART):
                status = self.status(name)
                if status is not None and time.time() - status.st_mtime > ABANDONED_SECONDS:
                    self.remove(name)


def part_name(name: str) -> str:
    """Return a new hidden name beside `name`, for what is being written."""
    return f".{name}.{secrets.token_hex(8)}{PART}"


@contextmanager
def opened(path: Path, *names: str) -> Iterator[Folder]:
    """Open a folder whose path is trusted, and from there one folder after the other, none of them a link.

    Raises:
        RefusedError: one of `names` is missing or is not a folder.
        OSError: the trusted path cannot be opened.
    """
    handle = os.open(path, _FOLDER)
    try:
        folder = Folder(handle, path.name)
        for name in names:
            inner = _step(folder, name)
            os.close(handle)
            handle, folder = inner, Folder(inner, name)
        yield folder
    finally:
        os.close(handle)


@contextmanager
def made(outer: Folder, name: str) -> Iterator[Folder]:
    """Open a folder inside another one; make it first if there is none.

    Raises:
        RefusedError: there is something else of that name, for example a link.
    """
    with suppress(FileExistsError):
        os.mkdir(name, dir_fd=outer.handle)
        outer.sync()
    handle = _step(outer, name)
    try:
        yield Folder(handle, name)
    finally:
        os.close(handle)


def survey(folder: Folder, limits: dict[str, int]) -> tuple[dict[str, bytes], list[Problem]]:
    """Read exactly the files of `limits` (name -> most bytes), and report all that is wrong with them or too much."""
    found: dict[str, bytes] = {}
    problems: list[Problem] = []
    try:
        names: Sequence[str] = folder.names(most=100)
    except RefusedError as error:
        names, problems = list(limits), list(error.problems)
    for name in limits:
        try:
            found[name] = folder.read(name, limits[name])
        except RefusedError as error:
            problems += error.problems
    for name in [name for name in names if name not in limits][:10]:
        status = folder.status(name)
        kind = "something" if status is None else KINDS.get(stat.S_IFMT(status.st_mode), "something")
        hidden = " that is hidden" if name.startswith(".") else ""
        problems.append(Problem("files", name, "", f"{kind}{hidden}", f"only {', '.join(limits)}"))
    return found, problems


def not_a_folder(name: str, status: os.stat_result | None) -> Problem | None:
    """Return the problem of what should be a folder; None if it is one."""
    if status is None:
        return Problem("files", name, "", "nothing", "a folder")
    if stat.S_ISDIR(status.st_mode):
        return None
    kind = KINDS.get(stat.S_IFMT(status.st_mode), "something else")
    return Problem("not-plain", name, "", kind, "a folder")


def _step(folder: Folder, name: str) -> int:
    if problem := not_a_folder(name, folder.status(name)):
        raise RefusedError([problem])
    try:
        return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder.handle)
    except OSError as error:
        replaced = error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENOENT)
        raise RefusedError([_changed(name) if replaced else _unreadable(name, error)]) from None


def _not_plain(name: str, status: os.stat_result) -> Problem | None:
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        return Problem("not-plain", name, "", KINDS.get(kind, "something else"), "a plain file")
    if status.st_nlink != 1:
        return Problem("not-plain", name, "", f"a hard link, one of {status.st_nlink}", "a file with one name")
    return None


def _too_large(name: str, status: os.stat_result, limit: int) -> Problem | None:
    if status.st_size > limit:
        return Problem("too-large", name, "", f"{status.st_size} bytes", f"at most {limit}")
    return None


def _read(handle: int, most: int) -> bytes:
    parts: list[bytes] = []
    left = most
    while left and (part := os.read(handle, min(left, 1 << 24))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _changed(name: str) -> Problem:
    return Problem("changed", name, "", "another content or file than a moment before", "an entry that never changes")


def _unreadable(name: str, error: OSError) -> Problem:
    return Problem("files", name, "", error.strerror or str(error), "a file that can be read")
