"""The choice of the kernels that compute matrix products. There are two; oneDNN is preferred:

    numpy    always available
    onednn   an optional extra that uses the CPU's instructions for int8 and bfloat16

`products` and modules 15 and 17 call `native(dtype)`. Module 16 compares the speed of each backend with that of three
nested loops.
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
    """Return the backend in use, "numpy" or "onednn".

    The environment variable TINYTORCH_BACKEND selects a backend. By default it is oneDNN if it can be loaded.

    Raises:
        SettingError: the selected backend is unknown or cannot be loaded.
    """
    if _chosen is None:
        forced = os.environ.get(VARIABLE, "")
        use_backend(forced or ("numpy" if library.why_not() else "onednn"))
    assert _chosen is not None
    return _chosen


def use_backend(name: str) -> None:
    """Use this backend from now on. Weights that are already packed stay with the backend that packed them.

    Raises:
        SettingError: the backend is unknown or cannot be loaded.
    """
    global _chosen
    if name not in BACKENDS:
        raise SettingError(f"backend {name!r}: expected one of {', '.join(BACKENDS)} ({VARIABLE} sets it)")
    if name == "onednn" and (problem := library.why_not()):
        raise SettingError(f"backend 'onednn': {problem}")
    _chosen = name


def native(dtype: Any) -> bool:
    """Return whether the backend has kernels for this dtype, so that products need no conversion to float32.

    Raises:
        SettingError: the argument is not a dtype.
    """
    try:
        # np.dtype accepts "bfloat16" only once ml_dtypes is imported.
        name = "bfloat16" if dtype == "bfloat16" else np.dtype(dtype).name
    except TypeError:
        raise SettingError(f"native: {dtype!r}: expected a dtype") from None
    return backend() == "onednn" and name in library.native_dtypes()


def why() -> str:
    """Return one line: the backend, and its native dtypes or the reason why no faster one is used."""
    if backend() == "onednn":
        return f"oneDNN {library.version()} (native: {', '.join(sorted(library.native_dtypes()))})"
    return f"NumPy ({reason()})"


def reason() -> str:
    """Return the reason for the choice of the backend in use."""
    if os.environ.get(VARIABLE) == backend():
        return f"{VARIABLE}={backend()}"
    if backend() == "onednn":
        return "it is installed"
    return library.why_not() or "chosen by the program"
