"""tito.course.walk: what a learner could not complete is named."""

from __future__ import annotations

import pytest

from tests.course.sample import TENSOR
from tests.course.test_proof import PLAIN
from tito.course import walk as walking
from tito.course.modules import Checkpoint
from tito.course.walk import walk
from tito.course.workspace import Workspace
from tito.project import Project

CHECK = "import tinytorch as tt\n\n\ndef test_it():\n    assert tt.stack([tt.zeros(2)]).shape == (1, 2)\n"


def test_walk_completes_modules_and_checkpoints(
    course: Project, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    (course.root / "modules" / "02_tensor" / "plain.py").write_text(PLAIN)
    checks = course.root / "modules" / "checkpoints"
    checks.mkdir()
    (checks / "test_01_foundation.py").write_text(CHECK)
    monkeypatch.setattr(walking, "MODULES", (TENSOR,))
    monkeypatch.setattr(walking, "CHECKPOINTS", (Checkpoint(1, "Foundation", "?", (2,)),))
    lines: list[str] = []
    assert walk(course, workspace, lines.append) == []
    assert [line.partition(",")[0] for line in lines] == ["module 02 tensor", "checkpoint 01 Foundation"]


def test_module_that_cannot_be_completed_is_named(
    course: Project, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walking, "MODULES", (TENSOR,))
    monkeypatch.setattr(walking, "CHECKPOINTS", ())
    (problem,) = walk(course, workspace, lambda line: None)
    assert problem.endswith("plain.py is missing")
    (course.root / "modules" / "02_tensor" / "plain.py").write_text(PLAIN.replace("dim=dim", "dim=0"))
    (problem,) = walk(course, Workspace(course.root / "other"), lambda line: None)
    assert "test_tensor.py::test_stack[1] assert " in problem
