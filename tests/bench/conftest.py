"""A tiny suite that needs NumPy only, copied and changed for each test."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tito.bench.record import Record
from tito.bench.runner import run_suite
from tito.bench.suite import LoadedSuite
from tito.bench.suites import load_suite
from tito.process.backend import BackendChoice
from tito.process.blas import BlasChoice, KernelChoice

TINY = Path(__file__).parent / "suites" / "2001_tiny"

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture
def suite_folder(tmp_path: Path) -> Callable[[Edit], Path]:
    """Writes a copy of the tiny suite whose document was edited; returns its folder."""

    def write(edit: Edit) -> Path:
        folder = tmp_path / "suites" / "2001_tiny"
        folder.mkdir(parents=True, exist_ok=True)
        document = yaml.safe_load((TINY / "suite.yaml").read_text())
        edit(document)
        (folder / "suite.yaml").write_text(yaml.safe_dump(document))
        shutil.copy(TINY / "workload.py", folder)
        return folder

    return write


@pytest.fixture
def misbehaving(suite_folder: Callable[[Edit], Path], tmp_path: Path) -> Callable[..., LoadedSuite]:
    """The tiny suite with a misdeed, and a file `place` in which it may leave a process id."""

    def load(behaviour: str, **limits: float) -> LoadedSuite:
        def edit(document: dict[str, Any]) -> None:
            wrong = {"behaviour": behaviour, "place": str(tmp_path / "place")}
            document["cases"][0]["parameters"] |= wrong
            document["limits"] |= limits

        return load_suite(suite_folder(edit))

    return load


def run(loaded: LoadedSuite, *, seeds: int | None = None, quick: bool = True, **more: Any) -> Record:
    """`run_suite` with OpenBLAS left as it is."""
    kernel = KernelChoice(BlasChoice(used="any", default="any", speedup=None, why="a test"), {})
    backend = BackendChoice(name="numpy", version=None, native=[], why="a test")
    arguments: dict[str, Any] = {"command": "tito suite run tiny", "blas": kernel, "backend": backend}
    arguments["report"] = lambda event: None
    return run_suite(loaded, seeds=seeds, quick=quick, **(arguments | more))


@pytest.fixture(scope="session")
def tiny_record() -> Record:
    """One real, full run of the tiny suite, shared by the tests that look at what is in it."""
    return run(load_suite(TINY), quick=False)


@pytest.fixture
def run_quick() -> Callable[..., Record]:
    """`run`, for tests: importlib mode has no `from conftest import`."""
    return run
