"""Which modules are the learner's own, and the environment in which they are."""

from __future__ import annotations

import json
from pathlib import Path

from tito import overlay
from tito.course.modules import find_module
from tito.course.own import own_environment, own_plan
from tito.course.workspace import Workspace
from tito.project import Project


def test_every_file_of_the_workspace_is_used_except_the_borrowed_ones(tmp_path):
    project, workspace = Project(tmp_path, tmp_path, tmp_path, tmp_path), Workspace(tmp_path / "workspace")
    workspace.path.mkdir()
    for text in ("2", "9", "20"):
        workspace.file(find_module(text)).write_text("")
    (workspace.path / "random.py").write_text("")
    plan = own_plan(project, workspace, [find_module("9")])
    assert overlay.describe(plan) == "tinytorch: yours: 02 tensor, 20 benchmarking; reference: the rest"
    assert plan.hide_after is None
    variables = own_environment(plan, workspace)
    stand_in = Path(variables["PYTHONPATH"].split(":")[0])
    assert stand_in == (workspace.private / "stand-in").resolve()
    assert json.loads(variables[overlay.VARIABLE])["modules"] == dict(plan.modules)


def test_a_workspace_that_cannot_be_written_gets_a_temporary_stand_in(tmp_path):
    project, workspace = Project(tmp_path, tmp_path, tmp_path, tmp_path), Workspace(tmp_path / "workspace")
    workspace.path.mkdir()
    (workspace.path / ".tito").write_text("a file")
    variables = own_environment(own_plan(project, workspace), workspace)
    stand_in = Path(variables["PYTHONPATH"].split(":")[0])
    assert (stand_in / "tinytorch" / "__init__.py").is_file()
    assert not stand_in.is_relative_to(tmp_path / "workspace")
