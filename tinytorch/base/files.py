"""Atomic file writes, and arrays in safetensors files.

This file is independent of models: `layers` and `training` decide what is saved.
"""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tinytorch.base.dtypes import bfloat16
from tinytorch.base.errors import StateError

ABANDONED_SECONDS = 3600  # no write takes this long


def atomic_write(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write `content` to `path` so that a reader sees either the old file or the complete new one.

    The bytes are written to a temporary file in the same folder, synced to disk, and renamed. If the process is killed
    or the disk is full, an existing file stays intact. A link at `path` is replaced: its target does not change.

    Raises:
        StateError: the path is that of a folder.
        OSError: as raised by the system (no space, no permission); the temporary file is removed.
    """
    path = Path(path)
    if path.is_dir():
        raise StateError(f"{path}: a folder: expected the name of a file")
    path = path.parent.resolve() / path.name
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{time.monotonic_ns()}.part")
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
    _sync_folder(path.parent)
    return path


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
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
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
