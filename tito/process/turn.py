"""One measurement at a time on a host: whoever measures holds a lock, and others wait and say for whom.

    with turn("tito verify alice/int8", waiting=print): ...

The lock is `flock` on a file on local disk. The kernel releases it when its holder ends, however it ends, so no lock is
ever stale. The file also says who holds it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tito.errors import TitoError, printable
from tito.files import user_path

VARIABLE = "TITO_TURN"
WAIT = 0.2  # seconds between attempts
MOST_BYTES = 4096  # of the holder's description


@contextlib.contextmanager
def turn(what: str, waiting: Callable[[str], None], path: Path | None = None) -> Iterator[None]:
    """Wait until no other process of this user measures on this host, then hold the turn while the context is active.

    Args:
        what: what is measured, for those who wait.
        waiting: called with the holder's description, once for each holder that is waited for.
        path: the lock file; by default `turn_file()`.

    Raises:
        TitoError: the lock file cannot be opened.
    """
    path = turn_file() if path is None else path
    try:
        _own_folder(path.parent)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise TitoError(f"{path}: cannot be opened, so measurements cannot take turns: {error.strerror}") from None
    try:
        _wait(handle, waiting)
        _describe(handle, what)
        yield
    finally:
        os.close(handle)  # releases the lock


def turn_file() -> Path:
    """Return the lock file of this user on this host: the one that TITO_TURN names, or one below /tmp.

    Not in a folder that environment variables such as TMPDIR and XDG_RUNTIME_DIR move: a login and a batch job would
    then take turns in two places.
    """
    named = os.environ.get(VARIABLE)
    return user_path(named) if named else Path(f"/tmp/tinytorch-{os.getuid()}") / "measuring.lock"


def _own_folder(folder: Path) -> None:
    """Make the folder if needed; raise OSError if it is a link or another user's, since anybody may write to /tmp."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(errno.EPERM, "its folder is a link or another user's")


def _wait(handle: int, waiting: Callable[[str], None]) -> None:
    told = ""
    while not _taken(handle):
        holder = _holder(handle)
        if holder != told:
            waiting(holder)
            told = holder
        time.sleep(WAIT)


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _describe(handle: int, what: str) -> None:
    text = json.dumps({"pid": os.getpid(), "what": what[:1000], "since": time.time()}).encode()
    os.ftruncate(handle, 0)
    os.pwrite(handle, text, 0)


def _holder(handle: int) -> str:
    """Return who holds the turn, in one line; the description may not be written yet."""
    try:
        found = json.loads(os.pread(handle, MOST_BYTES, 0))
        since = time.strftime("%H:%M", time.localtime(float(found["since"])))
        return f"{printable(str(found['what']))} (process {int(found['pid'])}, since {since})"
    except (ValueError, TypeError, KeyError, OverflowError):
        return "another measurement"
