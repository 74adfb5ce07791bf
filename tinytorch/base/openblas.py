"""The OpenBLAS that NumPy's wheels include: where its files are, and how to call its functions."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def bundled() -> list[Path]:
    """Return the library's files, next to the package (Linux, Windows) or inside it (macOS); [] for another BLAS."""
    package = Path(np.__file__).parent
    folders = (package.parent / "numpy.libs", package / ".dylibs")
    return [path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*openblas*"))]


def functions(*names: str) -> tuple[Callable[..., Any], ...] | None:
    """Return the functions `scipy_openblas_NAME`, or None if NumPy includes no OpenBLAS that has all of them.

    >>> (functions("get_num_threads") is None) == (not bundled())
    True
    """
    for path in bundled():
        try:
            library = ctypes.CDLL(str(path))  # NumPy has already loaded it: this is another handle to the same library
        except OSError:
            continue
        for suffix in ("64_", ""):  # built with 64-bit or with 32-bit integers
            try:
                return tuple(library[f"scipy_openblas_{name}{suffix}"] for name in names)
            except AttributeError:
                continue
    return None
