"""Atomic file writes, and arrays in safetensors files.

This file is independent of models: `layers` and `training` decide what is saved.
"""

from __future__ import annotations

import errno
import glob
import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tinytorch.base.dtypes import bfloat16
from tinytorch.base.errors import InputTypeError, PathError, StateError
from tinytorch.base.words import described

ABANDONED_SECONDS = 3600  # no write takes this long
LONGEST_STEM = 50  # characters of a file's name in that of its temporary file: systems allow 255 bytes


class WriteError(PathError):
    """A path that the system refuses. `errno` and `strerror` are the system's; the message names the path."""

    def __str__(self) -> str:
        return str(self.args[0])


def writable_path(path: str | os.PathLike[str]) -> Path:
    """Return a path after checking, without writing, that a file can be written there or replaced.

    Raises:
        InputTypeError: the path is not a text.
        PathError: it is not the name of a file, or that of a folder, a device, or a pipe; or the system refuses it
            (a part is not a folder, a name is too long, no permission).
    """
    text = path if isinstance(path, str) else os.fspath(path) if isinstance(path, os.PathLike) else None
    if not isinstance(text, str):
        raise InputTypeError(f"path is {described(path)}: expected a str or a Path")
    try:
        unknown = b"\0" in os.fsencode(text)
    except UnicodeEncodeError:
        unknown = True
    if unknown:
        raise PathError(f"path is {text!r}: expected a name without characters that the system cannot encode")
    found, last = Path(text), os.path.basename(text)  # noqa: PTH119 (a Path drops a slash at the end)
    try:
        if found.is_dir():
            raise PathError(f"{_shown(text)}: a folder: expected the name of a file")
        if last in ("", os.curdir, os.pardir):
            raise PathError(f"{_shown(text)}: the name of a folder: expected the name of a file")
        if not _is_free(found):
            raise PathError(f"{_shown(text)}: not a regular file: choose another name")
        _check_folder(found)
    except PathError:
        raise
    except OSError as error:
        raise _refused(text, error) from None
    return found


def _is_free(path: Path) -> bool:
    """Return whether there is a regular file, nothing, or a link that leads nowhere."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        if path.is_symlink():
            return True
        raise


def _check_folder(path: Path) -> None:
    """Raise an OSError if the path's folder is none, or if nothing can be created in the lowest one that exists."""
    lowest = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
    if not lowest.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{_shown(lowest)} is not a folder")
    if not os.access(lowest, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _refused(path: str | os.PathLike[str], error: OSError) -> WriteError:
    made = WriteError(f"{_shown(path)}: {error.strerror or error}")
    made.errno, made.strerror = error.errno, error.strerror
    return made


def _shown(path: str | os.PathLike[str]) -> str:
    """Return a path as text that can be printed, also if its bytes are not UTF-8."""
    text = os.fspath(path)
    return text if text and text.isprintable() else repr(text)


def atomic_write(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write `content` to `path` so that a reader sees either the old file or the complete new one.

    The bytes are written to a temporary file in the same folder, synced to disk, and renamed. If the process is killed
    or the disk is full, an existing file stays intact. A link at `path` is replaced: its target does not change.

    Raises:
        InputTypeError: the path is not a text.
        PathError: as in `writable_path`; or, with the system's `errno` and `strerror`, the system refuses the write (no
            space, no permission), and the temporary file is removed. It is an OSError, too.
    """
    given = writable_path(path)
    try:
        path = given.parent.resolve() / given.name
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        _replace(path, content)
    except OSError as error:
        raise _refused(given, error) from None
    _sync_folder(path.parent)
    return path


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{_stem(path)}{os.getpid()}-{time.monotonic_ns()}.part")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if path.exists() and not path.is_symlink():
            temporary.chmod(path.stat().st_mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _stem(path: Path) -> str:
    """Return how the names of a file's temporary files begin."""
    return f".{path.name[:LONGEST_STEM]}."


def save_arrays(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> Path:
    """Save named arrays atomically as one safetensors file (https://github.com/huggingface/safetensors)."""
    from safetensors.numpy import save

    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    return atomic_write(path, save(contiguous, dict(metadata) if metadata else None))


def load_arrays(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays and the metadata of a safetensors file.

    Raises:
        StateError: the file is missing, truncated, or not a safetensors file; the message names it.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            if any(file.get_slice(name).get_dtype() == "BF16" for name in names):
                bfloat16()  # NumPy accepts the dtype's name only after ml_dtypes is imported
            return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})
    except FileNotFoundError:
        raise StateError(f"{path}: no such file") from None
    except (SafetensorError, OSError) as error:
        raise StateError(f"{path}: not a complete safetensors file ({error})") from None


def _remove_abandoned(path: Path) -> None:
    """Remove temporary files that are over an hour old, left by processes that were killed while writing this file."""
    for part in path.parent.glob(f"{glob.escape(_stem(path))}*.part"):
        try:
            if time.time() - part.stat().st_mtime > ABANDONED_SECONDS:
                part.unlink()
        except OSError:
            continue  # another process removed it first, or we lack the permission


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, if the system supports syncing a folder."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass  # some network file systems do not support it; the rename was still atomic
    finally:
        os.close(handle)
