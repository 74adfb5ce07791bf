"""The two files of a saved model: checked while they are read, and always replaced together.

This file handles names, bytes, and arrays, not models. The package's docstring describes what they mean.
"""

from __future__ import annotations

import glob
import os
import shutil
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from tinytorch.base.dtypes import numpy_dtype
from tinytorch.base.errors import StateError
from tinytorch.base.files import atomic_write, save_arrays
from tinytorch.tensor import Array

DESCRIPTION, TENSORS = "model.json", "model.safetensors"
MAX_BYTES = 100_000_000  # of all unpacked tensors together, and of model.safetensors without its header
MAX_HEADER = 4_000_000  # bytes in the header of model.safetensors, and in model.json
COMMAS = 12  # allowed for each tensor's entry in the header; one with four dimensions needs seven
ABANDONED_SECONDS = 3600  # no save takes that long
DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip

FolderLike = str | os.PathLike[str]
Stored = dict[str, dict[str, Any]]  # name -> {"dtype": ..., "shape": [...], "data": bytes}


def saved_bytes(folder: FolderLike) -> int:
    """Return the size of a saved model on disk, the total of its two files.

    Raises:
        StateError: a file is missing or is not a regular file.
    """
    return sum(_plain_file(Path(folder) / name).st_size for name in (DESCRIPTION, TENSORS))


def read_both(folder: Path) -> tuple[bytes, bytes]:
    """Return the contents of the two files, which must be regular files: a link could lead anywhere.

    Raises:
        StateError: a file is missing, a link, or too large, or the folder was changed between the two reads, so the
            files might belong to different models.
    """
    try:
        before = folder.stat()
        contents = _read(folder / DESCRIPTION, MAX_HEADER), _read(folder / TENSORS, MAX_BYTES + MAX_HEADER)
        after = folder.stat()
    except FileNotFoundError:
        raise StateError(f"{folder}: no such folder, or one that is being replaced") from None
    except StateError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise StateError(f"{folder}: cannot be read ({error})") from None
    if not os.path.samestat(before, after) or before.st_mtime_ns != after.st_mtime_ns:
        raise StateError(f"{folder}: was changed while it was read; load it again")
    return contents


def _plain_file(path: Path) -> os.stat_result:
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        raise StateError(f"{path}: no such file; expected a folder that save_model wrote") from None
    if not stat.S_ISREG(status.st_mode):
        raise StateError(f"{path}: a link, folder, or device; expected a regular file")
    return status


def _read(path: Path, limit: int) -> bytes:
    status = _plain_file(path)
    if status.st_size > limit:
        raise StateError(f"{path}: {status.st_size} bytes: expected at most {limit}")
    with path.open("rb") as file:
        if not os.path.samestat(status, os.fstat(file.fileno())):
            raise StateError(f"{path}: was changed while it was read; load it again")
        content = file.read(status.st_size + 1)
    if len(content) != status.st_size:
        raise StateError(f"{path}: was changed while it was read; load it again")
    return content


def stored_arrays(content: bytes, most: int) -> Stored:
    """Return the entries of a safetensors file, with NumPy's names of the dtypes.

    Args:
        most: the largest allowed number of entries. In memory an entry takes some hundred times its size in the file.

    Raises:
        StateError: the content is truncated or not safetensors, or its header is too long or has too many entries.
    """
    from safetensors import SafetensorError, deserialize

    _check_header(content, most)
    try:
        entries = dict(deserialize(content))
    except SafetensorError as error:
        raise StateError(f"not a complete safetensors file ({error})") from None
    return {name: {**entry, "dtype": DTYPES.get(entry["dtype"], entry["dtype"])} for name, entry in entries.items()}


def _check_header(content: bytes, most: int) -> None:
    """Raise before anything is unpacked. Entries and dimensions are counted by "{" and ",", without parsing them."""
    size = int.from_bytes(content[:8], "little")
    if size > MAX_HEADER:
        raise StateError(f"a header of {size} bytes: expected at most {MAX_HEADER}")
    header = content[8 : 8 + size]
    if header.count(b"{") > most + 1:
        raise StateError(f"a header of {header.count(b'{') - 1} entries or more: expected at most {most}")
    if header.count(b",") > COMMAS * most:
        raise StateError(f"a header of shapes with {header.count(b',')} dimensions or more: expected fewer")


def as_array(entry: Mapping[str, Any]) -> Array:
    """Return a copy of an entry's array; the dtype must be one of `DTYPES`."""
    return np.frombuffer(entry["data"], numpy_dtype(entry["dtype"])).reshape(entry["shape"]).copy()


def check_replaceable(folder: Path) -> None:
    """Check that replacing the folder deletes nothing but a saved model.

    Raises:
        StateError: the path is a file, or a folder that contains other files.
    """
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise StateError(f"{folder}: is a file; expected a folder, or a path that does not exist")
    others = sorted(path.name for path in folder.iterdir() if path.name not in (DESCRIPTION, TENSORS))
    if others:
        raise StateError(f"{folder}: contains {others[0]}; expected a new folder, or one with only a saved model")


def replace_folder(folder: Path, description: bytes, arrays: Mapping[str, Array]) -> None:
    """Write both files to a temporary folder next to `folder`, and rename it to `folder`."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    stem = folder.with_name(f".{folder.name}.{os.getpid()}-{time.monotonic_ns()}")
    new, old = stem.with_name(stem.name + ".part"), stem.with_name(stem.name + ".old")
    new.mkdir()
    try:
        atomic_write(new / DESCRIPTION, description)
        save_arrays(new / TENSORS, arrays)
        check_replaceable(folder)  # again: another program may have written to the folder
        if folder.exists():
            new.chmod(stat.S_IMODE(folder.stat().st_mode))
            folder.rename(old)
        try:
            new.rename(folder)
        except BaseException:
            with suppress(OSError):  # there was no folder before, or another save replaced it first
                old.rename(folder)
            raise
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)
    _remove_abandoned(folder)


def _remove_abandoned(folder: Path) -> None:
    """Remove the temporary folders of killed saves once they are an hour old."""
    for suffix in ("part", "old"):
        for path in folder.parent.glob(f".{glob.escape(folder.name)}.*.{suffix}"):
            with suppress(OSError):  # another process removed it first, or we lack the permission
                if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                    shutil.rmtree(path)
