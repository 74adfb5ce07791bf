"""Reading files that anybody may have put there, paths that a user typed, and folders that a killed run left behind."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tito.errors import TitoError

MOST_BYTES = 10_000_000  # of a file that people write
LARGE_BYTES = 1_000_000_000  # of a model, or of what was measured
_LEFT = re.compile(r"tito-[a-z]+-(?P<pid>\d+)-(?P<started>\d+)-.*")


def read_plain(path: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """Return the content of a regular file, or of a link to one.

    A pipe would block, and a device may never end, so neither is opened for reading.

    Raises:
        OSError: it cannot be opened, is no regular file, or has more than `most_bytes`; `strerror` says which.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(0, "not a regular file", str(path))
        content = file.read(most_bytes + 1)
        if len(content) > most_bytes:
            raise OSError(0, f"larger than {most_bytes / 1e6:g} MB", str(path))
        return content


def user_path(text: str | Path) -> Path:
    """Return a path that a user typed, with `~` and `~user` replaced.

    Raises:
        TitoError: there is no such user.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise TitoError(f"{text}: no such user; write ./{text} for a file of this name") from None


@contextmanager
def scratch(what: str) -> Iterator[Path]:
    """A private temporary folder, removed when the context ends; those that killed processes left are removed first.

    Args:
        what: a word for the folder's name.
    """
    _remove_left_over(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=scratch_prefix(what), ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def scratch_prefix(what: str) -> str:
    """Return how the name of a temporary folder begins: with the process that it belongs to."""
    import psutil  # here: most commands make no such folder, and it would slow their start

    own = psutil.Process()
    return f"tito-{what}-{own.pid}-{round(own.create_time())}-"


def _remove_left_over(parent: Path) -> None:
    """Remove this user's folders of `scratch` whose process is gone."""
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            found = _LEFT.fullmatch(entry.name)
            if found and _is_own_folder(entry) and not _runs(int(found["pid"]), int(found["started"])):
                shutil.rmtree(entry.path, ignore_errors=True)


def _is_own_folder(entry: os.DirEntry[str]) -> bool:
    """Whether this user owns the entry, and it is a folder; not if it has gone in the meantime."""
    try:
        return entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_uid == os.getuid()
    except OSError:
        return False


def _runs(pid: int, started: int) -> bool:
    """Whether the process is still the one that started then; its number may have been given to another one."""
    import psutil

    try:
        return abs(psutil.Process(pid).create_time() - started) < 2
    except psutil.Error:
        return False
