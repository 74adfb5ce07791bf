"""tito.process.provenance: where a record comes from, and nothing that is not known."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tinytorch.environment
from tito.process import provenance as module
from tito.process.backend import BackendChoice
from tito.process.blas import BlasChoice
from tito.process.provenance import git_state, provenance, scheduling

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(folder: Path, *arguments: str) -> str:
    settings = ["-c", "user.name=A", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *settings, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    """A repository with a tracked package and an ignored environment that holds an installed one."""
    for package in ("tinytorch", "venv/tinytorch"):
        (tmp_path / package).mkdir(parents=True)
        (tmp_path / package / "__init__.py").write_text("")
    (tmp_path / ".gitignore").write_text("venv\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    return tmp_path


@needs_git
def test_a_clean_checkout_then_a_changed_one(checkout):
    head = git(checkout, "rev-parse", "HEAD")
    assert git_state(checkout / "tinytorch") == (head, False)
    (checkout / "tinytorch" / "__init__.py").write_text("changed = True\n")
    assert git_state(checkout / "tinytorch") == (head, True)


@needs_git
def test_an_installed_package_does_not_take_the_commit_of_the_repository_around_it(checkout):
    assert git_state(checkout / "venv" / "tinytorch") == (None, None)


def test_without_git_nothing_is_claimed(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(Path(module.__file__).parent) == (None, None)


def test_provenance_holds_machine_environment_and_command():
    blas = BlasChoice(used="any", default="any", speedup=None, why="a test")
    pinned = {"OMP_NUM_THREADS": "2"}
    backend = BackendChoice(name="numpy", version=None, native=[], why="a test")
    made = provenance(suite_sha256="abc", blas=blas, backend=backend, pinned=pinned, command="tito suite run tiny")
    assert made.backend == backend
    assert made.machine.fingerprint == tinytorch.environment.machine().fingerprint
    assert made.environment["OMP_NUM_THREADS"] == "2"
    assert made.command == "tito suite run tiny"
    if "CPU_AFFINITY" in made.environment:
        cores = {int(core) for core in made.environment["CPU_AFFINITY"].split(",")}
        assert cores == os.sched_getaffinity(0)


def test_how_children_are_scheduled_is_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpriority", lambda kind, process: 7)
    assert scheduling()["NICE"] == "7"
    monkeypatch.setattr(os, "getpriority", lambda kind, process: 0)
    assert "NICE" not in scheduling()
    if sys.platform == "linux":
        monkeypatch.setattr(os, "sched_getscheduler", lambda process: os.SCHED_IDLE)
        assert scheduling()["SCHEDULER"] == "idle"
