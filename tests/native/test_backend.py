"""Which kernel backend a fresh process uses, and how it explains the choice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tinytorch.base.errors import SettingError
from tinytorch.native import backend as kernel_backend
from tinytorch.native import library

ROOT = Path(__file__).parents[2]

WITHOUT_ONEDNN = """
import importlib.metadata as metadata
found = metadata.distribution

def hidden(name):
    if "onednn" in name:
        raise metadata.PackageNotFoundError(name)
    return found(name)

metadata.distribution = hidden
"""

PRINT_CHOICE = """
from tinytorch.native import backend as kernels
from tinytorch.base.errors import SettingError
try:
    print(kernels.backend(), kernels.why(), sep="\\n")
except SettingError as error:
    print(f"refused\\n{error}")
"""


def lines_of(program: str, **variables: str) -> list[str]:
    """Run a program in a fresh process and return the lines it prints."""
    environment = {key: value for key, value in os.environ.items() if key != kernel_backend.VARIABLE}
    environment |= {"PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_environment_variable_forces_a_backend(backend: str) -> None:
    chosen, why = lines_of(PRINT_CHOICE, TINYTORCH_BACKEND=backend)
    assert chosen == backend
    assert why == "NumPy (TINYTORCH_BACKEND=numpy)" if backend == "numpy" else why.startswith("oneDNN 3.")


def test_unknown_backend_error_names_the_available_ones() -> None:
    refused, why = lines_of(PRINT_CHOICE, TINYTORCH_BACKEND="cuda")
    assert refused == "refused"
    assert "'cuda'" in why
    assert "numpy, onednn" in why
    with pytest.raises(SettingError, match="backend 'mkl': expected one of numpy, onednn"):
        kernel_backend.use_backend("mkl")


def on(system: str, machine: str) -> str:
    """Return code that makes a program report this system and machine as its own."""
    return f"import platform, sys; sys.platform = {system.lower()!r}; platform.machine = lambda: {machine!r}\n"


LINUX = on("Linux", "x86_64")


def test_without_the_package_numpy_is_used_and_the_package_recommended() -> None:
    chosen, why = lines_of(WITHOUT_ONEDNN + LINUX + PRINT_CHOICE)
    assert chosen == "numpy"
    assert why == f"NumPy ({library.NOT_INSTALLED})"


def test_no_package_is_recommended_where_none_exists() -> None:
    assert lines_of(WITHOUT_ONEDNN + on("Linux", "aarch64") + PRINT_CHOICE)[1].endswith(" aarch64)")
    assert "pip install" not in lines_of(WITHOUT_ONEDNN + on("Linux", "aarch64") + PRINT_CHOICE)[1]


def test_forced_backend_that_is_not_installed_is_rejected_in_one_line() -> None:
    printed = lines_of(WITHOUT_ONEDNN + LINUX + PRINT_CHOICE, TINYTORCH_BACKEND="onednn")
    assert printed == ["refused", f"backend 'onednn': {library.NOT_INSTALLED}"]


def test_package_without_a_library_for_this_system_is_reported(tmp_path: Path) -> None:
    folder = tmp_path / "onednn_cpu_gomp-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: onednn-cpu-gomp\nVersion: 1\n")
    (folder / "RECORD").write_text("../../libdnnl.so.3,,\n")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r})" + PRINT_CHOICE
    chosen, why = lines_of(program)
    assert chosen == "numpy"
    assert why.startswith("NumPy (oneDNN cannot be loaded (")


@pytest.mark.skipif(bool(library.why_not()), reason=library.why_not())
def test_process_that_used_onednn_exits_silently() -> None:
    use = "import numpy as np; from tinytorch.native.products import pack; kept = pack(np.eye(3, dtype=np.float32));"
    assert lines_of(use + "print(kept.product(np.ones((2, 3))).sum())", TINYTORCH_BACKEND="onednn") == ["6.0"]
