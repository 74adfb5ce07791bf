"""Module 16: whoever multiplies, the products are the same: exact for integers, within a bound for floats."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinytorch.base.dtypes import bfloat16, to_bfloat16, to_float32
from tinytorch.base.errors import SettingError
from tinytorch.native import backend, library

ROOT = Path(__file__).parents[2]


BFLOAT16 = bfloat16()


BACKENDS = [
    "numpy",
    pytest.param("onednn", marks=pytest.mark.skipif(bool(library.why_not()), reason=library.why_not())),
]


quick = settings(deadline=None, max_examples=60)


each_backend = pytest.mark.parametrize("name", BACKENDS)


@pytest.fixture(autouse=True, scope="module")
def _leave_the_backend_as_it_was() -> Iterator[None]:
    before = backend.backend()
    yield
    backend.use_backend(before)


def integers(rng: np.random.Generator, shape: tuple[int, int], dtype: Any) -> np.ndarray:
    """Draw from the dtype's whole range, its ends more often than the rest."""
    ends = np.iinfo(dtype)
    values = rng.integers(ends.min, ends.max + 1, shape)
    return np.where(rng.random(shape) < 0.3, rng.choice([ends.min, ends.max], shape), values).astype(dtype)


def rounded_by_hand(bits: np.ndarray) -> np.ndarray:
    """Round float32 bits to bfloat16 bits: add just less than half, or half if the last bit kept is odd."""
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=200))
@quick
def test_bfloat16_rounds_to_nearest_and_ties_to_even(numbers: list[int]) -> None:
    bits = np.array(numbers, np.uint32)
    x = bits.view(np.float32)
    finite = ~np.isnan(x)
    rounded = to_bfloat16(x)
    np.testing.assert_array_equal(rounded.view(np.uint16)[finite], rounded_by_hand(bits[finite].astype(np.uint64)))
    assert np.isnan(to_float32(rounded)[~finite]).all()


def test_bfloat16_at_the_ends_of_its_range() -> None:
    half, least = 2.0**-8, 2.0**-133  # half of the step above 1; the smallest subnormal bfloat16 number
    x = np.array([1 + half, 1 + 3 * half, -1 - half, np.inf, -np.inf, 3.4028235e38, least, least / 2, -0.0], np.float32)
    y = np.array([1, 1 + 4 * half, -1, np.inf, -np.inf, np.inf, least, 0, -0.0], np.float32)
    rounded = to_float32(to_bfloat16(x))
    np.testing.assert_array_equal(rounded, y)
    np.testing.assert_array_equal(np.signbit(rounded), np.signbit(y))
    # The set fraction bits of this NaN are cut off: only its sign and its being NaN remain.
    assert np.isnan(to_float32(to_bfloat16(np.array([0x7F800001], np.uint32).view(np.float32)))).all()


def test_every_bfloat16_survives_conversion_to_float32() -> None:
    every = np.arange(2**16).astype(np.uint16).view(BFLOAT16)
    back = to_bfloat16(to_float32(every))
    numbers = ~np.isnan(to_float32(every))
    np.testing.assert_array_equal(back.view(np.uint16)[numbers], every.view(np.uint16)[numbers])


WITHOUT_ONEDNN = """
import importlib.metadata as metadata
found = metadata.distribution

def hidden(name):
    if "onednn" in name:
        raise metadata.PackageNotFoundError(name)
    return found(name)

metadata.distribution = hidden
"""


TELL = """
from tinytorch.native import backend as kernels
from tinytorch.base.errors import SettingError
try:
    print(kernels.backend(), kernels.why(), sep="\\n")
except SettingError as error:
    print(f"refused\\n{error}")
"""


def tell(program: str, **variables: str) -> list[str]:
    """Return the choice of a fresh process: the backend and why, or "refused" and why."""
    environment = {key: value for key, value in os.environ.items() if key != backend.VARIABLE}
    environment |= {"PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stderr == ""
    return done.stdout.splitlines()


@each_backend
def test_environment_variable_forces_a_backend(name: str) -> None:
    told, why = tell(TELL, TINYTORCH_BACKEND=name)
    assert told == name
    assert why == "NumPy (TINYTORCH_BACKEND=numpy)" if name == "numpy" else why.startswith("oneDNN 3.")


def test_unknown_backend_error_names_the_available_ones() -> None:
    refused, why = tell(TELL, TINYTORCH_BACKEND="cuda")
    assert refused == "refused"
    assert "'cuda'" in why
    assert "numpy, onednn" in why
    with pytest.raises(SettingError, match="backend 'mkl': expected one of numpy, onednn"):
        backend.use_backend("mkl")


def on(system: str, machine: str) -> str:
    """Return code that makes a program believe that it runs on this system."""
    return f"import platform, sys; sys.platform = {system.lower()!r}; platform.machine = lambda: {machine!r}\n"


LINUX = on("Linux", "x86_64")


def test_without_the_package_numpy_is_used_and_the_package_recommended() -> None:
    told, why = tell(WITHOUT_ONEDNN + LINUX + TELL)
    assert told == "numpy"
    assert why == f"NumPy ({library.NOT_INSTALLED})"


def test_no_package_is_recommended_where_none_exists() -> None:
    assert tell(WITHOUT_ONEDNN + on("Linux", "aarch64") + TELL)[1].endswith(" aarch64)")
    assert "pip install" not in tell(WITHOUT_ONEDNN + on("Linux", "aarch64") + TELL)[1]


def test_forced_backend_that_is_not_installed_is_rejected_in_one_line() -> None:
    told = tell(WITHOUT_ONEDNN + LINUX + TELL, TINYTORCH_BACKEND="onednn")
    assert told == ["refused", f"backend 'onednn': {library.NOT_INSTALLED}"]


def test_package_without_a_library_for_this_system_is_reported(tmp_path: Path) -> None:
    folder = tmp_path / "onednn_cpu_gomp-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: onednn-cpu-gomp\nVersion: 1\n")
    (folder / "RECORD").write_text("../../libdnnl.so.3,,\n")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r})" + TELL
    told, why = tell(program)
    assert told == "numpy"
    assert why.startswith("NumPy (oneDNN cannot be loaded (")


@pytest.mark.skipif(bool(library.why_not()), reason=library.why_not())
def test_process_that_used_onednn_exits_silently() -> None:
    use = "import numpy as np; from tinytorch.native.products import pack; kept = pack(np.eye(3, dtype=np.float32));"
    assert tell(use + "print(kept.product(np.ones((2, 3))).sum())", TINYTORCH_BACKEND="onednn") == ["6.0"]
