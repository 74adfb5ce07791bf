"""NumPy's own OpenBLAS: where NumPy's wheels put it, and how its functions are called."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def bundled() -> list[Path]:
    """The library's files: next to the package (Linux, Windows) or inside it (macOS); none with another BLAS."""
    package = Path(np.__file__).parent
    folders = (package.parent / "numpy.libs", package / ".dylibs")
    return [path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*openblas*"))]


def functions(*names: str) -> tuple[Callable[..., Any], ...] | None:
    """The functions `scipy_openblas_NAME`, or None where NumPy has brought no OpenBLAS that has them all.

    >>> (functions("get_num_threads") is None) == (not bundled())
    True
    """
    for path in bundled():
        try:
            library = ctypes.CDLL(str(path))  # NumPy has loaded it already: this is one more handle to the same library
        except OSError:
            continue
        for suffix in ("64_", ""):  # built with 64-bit integers, or with 32-bit ones
            try:
                return tuple(library[f"scipy_openblas_{name}{suffix}"] for name in names)
            except AttributeError:
                continue
    return None
