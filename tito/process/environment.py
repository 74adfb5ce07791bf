"""The environment of a child process: what is pinned before NumPy is imported, and what is kept out."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path

from tinytorch.environment import tuned_environment, usable_cores
from tito import overlay

SETTINGS_OF_LIBRARIES = (
    *("OPENBLAS_", "GOTO_", "OMP_", "GOMP_", "KMP_", "MKL_", "MALLOC_", "VECLIB_", "ONEDNN_", "DNNL_"),
    *("GLIBC_", "NPY_", "LD_BIND_", "LD_DEBUG", "LD_PROFILE"),
    *("NVPL_", "BLIS_", "ATLAS_", "NUMEXPR_", "TBB_", "TCMALLOC_", "MIMALLOC_", "_RJEM_", "TORCH", "PYTORCH_", "ATEN_"),
    *("COVERAGE_", "COV_CORE_", "PYDEVD_", "DEBUGPY_"),  # they start a tracer in each child
)
# Of Python's own variables, those that say where its files are. Others, such as PYTHONTRACEMALLOC and PYTHONMALLOC,
# change its speed.
SETTINGS_OF_PYTHON_KEPT = ("PYTHONPATH", "PYTHONHOME", "PYTHONPYCACHEPREFIX", "PYTHONUSERBASE", "PYTHONUTF8")
# They can change what is measured, but removing them could keep a library from loading: a record states them.
RECORDED = ("LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT")
# Variables of a login, a terminal, or a continuous-integration service, which no library that computes reads. A record
# names all others that reach a child, without their values, which may be secret.
OF_THE_SESSION = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|SHLVL|PWD|OLDPWD|_|HOSTNAME|MAIL|TERM|TERM_\w+|COLORTERM|COLUMNS|LINES|EDITOR|VISUAL"
    r"|PAGER|LESS\w*|LS_COLORS|PS\d|NO_COLOR|FORCE_COLOR|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR|TMP|TEMP|DISPLAY|XAUTHORITY"
    r"|(XDG|WAYLAND|DBUS|SSH|GPG|GIT|CONDA|NOX|GITHUB|RUNNER|VSCODE|TITO|TINYTORCH|PYTEST|GNOME|KDE|GTK|QT|SYSTEMD)_\w+"
    r"|VIRTUAL_ENV\w*|CI|HIST\w+|DESKTOP_SESSION|WINDOWID|INVOCATION_ID|JOURNAL_STREAM|DEBIAN_FRONTEND|container"
    r"|\w+_(PROXY|proxy)|\w*_CA_BUNDLE|\w*_CERTS?\w*|SSL_\w+|GRPC_DEFAULT_SSL_\w+"
    r"|_?(PIP|PYENV|UV|POETRY|NPM|NODE|CARGO|RUST|RUSTUP|AWS|GOOGLE|CLOUDSDK|AZURE|TF)_\w+"
)


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


def inherited_names() -> list[str]:
    """Return the names of the other variables that children inherit, apart from those of the session."""
    known = (*RECORDED, *SETTINGS_OF_PYTHON_KEPT)
    return sorted(key for key in os.environ if _kept(key) and key not in known and not OF_THE_SESSION.fullmatch(key))


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
