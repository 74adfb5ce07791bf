"""Fixtures of the course's tests."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.course.sample import make_course
from tito.course.workspace import Workspace
from tito.project import Project


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a checkout with the sample course, in a folder with a space and an umlaut in its name."""
    monkeypatch.delenv("TITO_ROOT", raising=False)
    monkeypatch.delenv("TITO_WORKSPACE", raising=False)
    return make_course(tmp_path.resolve() / "my cöurse")


@pytest.fixture
def workspace(course: Project) -> Workspace:
    """Return the empty workspace of the sample course."""
    return Workspace.find(course)


@pytest.fixture(scope="session")
def endless() -> float:
    """The time limit in seconds for files that never end: far above what a start takes on this machine now."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import hypothesis, pytest, tinytorch.tensor"], check=True)
    return round(max(6.0, 8 * (time.monotonic() - began)), 1)
