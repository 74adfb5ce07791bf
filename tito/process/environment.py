"""The environment of a child process: what is pinned before NumPy is imported, and what is kept out."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

from tinytorch.environment import tuned_environment, usable_cores
from tito import overlay

SETTINGS_OF_LIBRARIES = (
    *("OPENBLAS_", "GOTO_", "OMP_", "GOMP_", "KMP_", "MKL_", "MALLOC_", "VECLIB_", "ONEDNN_", "DNNL_"),
    *("GLIBC_", "NPY_", "LD_BIND_", "LD_DEBUG", "LD_PROFILE"),
    *("COVERAGE_", "COV_CORE_", "PYDEVD_", "DEBUGPY_"),  # they start a tracer in each child
)
# Of Python's own variables, those that say where its files are. Others, such as PYTHONTRACEMALLOC and PYTHONMALLOC,
# change its speed.
SETTINGS_OF_PYTHON_KEPT = ("PYTHONPATH", "PYTHONHOME", "PYTHONPYCACHEPREFIX", "PYTHONUSERBASE", "PYTHONUTF8")
# They can change what is measured, but removing them could keep a library from loading: a record states them.
RECORDED = ("LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT")


def pinned_environment(chosen: Mapping[str, str]) -> dict[str, str]:
    """Return what every child has set before NumPy is imported.

    Args:
        chosen: the variables that choose OpenBLAS's kernel and tinytorch's backend.
    """
    return tuned_environment(usable_cores()) | {"PYTHONHASHSEED": "0"} | dict(chosen)


def child_environment(pinned: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with the pinned settings, without inherited settings of those libraries."""
    inherited = {key: value for key, value in os.environ.items() if _kept(key)}
    home = str(Path(__file__).parents[2])  # the folder that holds tito and tinytorch, installed or not
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    return inherited | dict(pinned) | {"PYTHONPATH": os.pathsep.join(paths)}


def recorded_environment() -> dict[str, str]:
    """Return the variables that children inherit although they can change what is measured."""
    return {key: os.environ[key] for key in RECORDED if os.environ.get(key)}


def _kept(key: str) -> bool:
    if key == overlay.VARIABLE:
        return False  # a job says whose modules it runs; what measures the reference never sees a learner's
    if key.startswith("PYTHON"):
        return key in SETTINGS_OF_PYTHON_KEPT
    return not key.startswith(SETTINGS_OF_LIBRARIES)


def signal_name(number: int) -> str:
    """Return a signal's name in words; real-time signals only have a number.

    >>> signal_name(11)
    'Segmentation fault'
    """
    return signal.strsignal(number) or f"signal {number}"
