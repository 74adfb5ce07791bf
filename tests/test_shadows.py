"""tito.shadows: a file that hides a library is named, in one line, wherever the import fails."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.running import HOME, environment, make_root
from tito.shadows import hidden_library

STANDARD = ["random", "typing", "signal", "enum"]
PACKAGES = ["numpy", "rich", "typer", "yaml", "pydantic", "psutil", "tinytorch"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path / "root")


def run(root: Path, folder: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command that imports all of these, in a process whose PYTHONPATH begins with a folder."""
    env = environment(root) | {"PYTHONPATH": os.pathsep.join(map(str, (folder, HOME)))}
    command = [sys.executable, "-m", "tito", "suite", "run", "tiny", "--quick"]
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("content", ["x = 1", "x = ", "raise ImportError('no')"], ids=["other", "broken", "raises"])
@pytest.mark.parametrize("name", ["random", "numpy"])
def test_a_library_that_is_hidden_on_the_path_is_named(root: Path, tmp_path: Path, name: str, content: str) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / f"{name}.py").write_text(content)
    check(run(root, folder, root), folder / f"{name}.py", name)


@pytest.mark.parametrize("name", [*STANDARD[1:], *PACKAGES[1:]])
def test_so_is_every_other_one(root: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / f"{name}.py").write_text("x = 1")
    check(run(root, folder, root), folder / f"{name}.py", name)


@pytest.mark.parametrize("name", ["random", "numpy"])
def test_a_library_that_is_hidden_in_the_working_directory_is_named(root: Path, name: str) -> None:
    (root / f"{name}.py").write_text("x = 1")
    check(run(root, HOME, root), root / f"{name}.py", name)


def test_a_package_hides_one_as_well(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "numpy"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    check(run(root, folder.parent, root), folder / "__init__.py", "numpy")


def check(done: subprocess.CompletedProcess[str], file: Path, name: str) -> None:
    assert done.returncode == 1
    kind = "the package" if name in PACKAGES else "Python's module"
    assert done.stderr.splitlines()[-1].startswith(f"tito: {file} hides {kind} {name}: rename it, or ")
    assert "Traceback" not in done.stderr
    assert "a bug" not in done.stderr


def test_other_errors_name_no_file() -> None:
    assert hidden_library(ValueError("random.py")) is None
    with pytest.raises(ImportError) as caught:
        importlib.import_module("tito.nothing")
    assert hidden_library(caught.value) is None
