"""Which kernels compute the matrix products. There are two backends, and one is chosen by what is installed:

    numpy    always available
    onednn   an optional extra, with the CPU's own instructions for int8 and bfloat16

`products`, modules 15 and 17 ask `native(dtype)`; module 16 measures how far each is from three nested loops.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from tinytorch.base.errors import SettingError
from tinytorch.native import library

BACKENDS = ("numpy", "onednn")
VARIABLE = "TINYTORCH_BACKEND"

_chosen: str | None = None


def backend() -> str:
    """The backend in use, "numpy" or "onednn".

    The environment variable TINYTORCH_BACKEND forces one; else it is oneDNN where it can be loaded.

    Raises:
        SettingError: the one that is forced is unknown or not there.
    """
    if _chosen is None:
        forced = os.environ.get(VARIABLE, "")
        use_backend(forced or ("numpy" if library.why_not() else "onednn"))
    assert _chosen is not None
    return _chosen


def use_backend(name: str) -> None:
    """From now on, use this one. What was packed before stays with the backend that packed it.

    Raises:
        SettingError: there is no such backend, or it cannot be loaded.
    """
    global _chosen
    if name not in BACKENDS:
        raise SettingError(f"backend {name!r}: expected one of {', '.join(BACKENDS)} ({VARIABLE} may name it)")
    if name == "onednn" and (problem := library.why_not()):
        raise SettingError(f"backend 'onednn': {problem}")
    _chosen = name


def native(dtype: Any) -> bool:
    """Whether products in this dtype have a kernel of their own here, and not only float32's.

    Raises:
        SettingError: it is no dtype.
    """
    try:
        name = "bfloat16" if dtype == "bfloat16" else np.dtype(dtype).name  # NumPy may not know it yet
    except TypeError:
        raise SettingError(f"native: {dtype!r} is no dtype") from None
    return backend() == "onednn" and name in library.native_dtypes()


def why() -> str:
    """One line: the backend, and what it can or why it is no better one."""
    if backend() == "onednn":
        return f"oneDNN {library.version()} (native: {', '.join(sorted(library.native_dtypes()))})"
    return f"NumPy ({reason()})"


def reason() -> str:
    """Why it is this backend."""
    if os.environ.get(VARIABLE) == backend():
        return f"{VARIABLE}={backend()}"
    if backend() == "onednn":
        return "it is installed"
    return library.why_not() or "chosen by the program"
