"""The tests of checkpoints on a learner's files."""

from __future__ import annotations

import pytest

from tests.cli.course import RELU, file_of, make_course, solve
from tests.cli.running import tito
from tito.course import checkpoints  # not its names: pytest would collect test_checkpoint
from tito.course.modules import CHECKPOINTS, find_module
from tito.course.workspace import Workspace
from tito.errors import CourseError
from tito.project import Project


def project_of(root):
    return Project(root, root / "suites", root / "reports", root / "submissions")


def test_a_checkpoint_runs_on_the_learners_file_and_is_remembered(tmp_path):
    root = make_course(tmp_path)
    tito(root, "module", "start", "3")
    project, workspace = project_of(root), Workspace(root / "workspace")
    assert checkpoints.checkpoint_states(project, workspace) == {}
    solve(root, "_relu", "    return np.abs(x)\n")
    result = checkpoints.test_checkpoint(project, workspace, CHECKPOINTS[2])
    assert (result.ok, result.passed, result.total) == (False, 0, 1)
    assert result.failure is not None
    assert (result.failure.expected, result.failure.got) == ("[0.0, 2.0]", "[1.0, 2.0]")
    assert checkpoints.checkpoint_states(project, workspace) == {2: "failed"}
    file_of(root).write_text(file_of(root).read_text().replace("    return np.abs(x)\n", RELU))
    assert checkpoints.checkpoint_states(project, workspace) == {2: "changed"}
    assert checkpoints.test_checkpoint(project, workspace, CHECKPOINTS[2]).ok
    assert checkpoints.checkpoint_states(project, workspace) == {2: "passed"}
    test = checkpoints.test_file(project, CHECKPOINTS[2])
    test.write_text(test.read_text() + "\n")
    assert checkpoints.checkpoint_states(project, workspace) == {2: "changed"}


def test_a_checkpoint_needs_its_own_modules(tmp_path):
    workspace = Workspace(tmp_path)
    with pytest.raises(CourseError, match="module 03 activations is not started"):
        checkpoints.own_files(workspace, CHECKPOINTS[2])
    for number in (3, 16):
        workspace.file(find_module(str(number))).write_text("")
    assert list(checkpoints.own_files(workspace, CHECKPOINTS[2])) == ["activations"]
    with pytest.raises(CourseError, match="module 15 mixed_precision is not started"):
        checkpoints.own_files(workspace, CHECKPOINTS[14])


def test_a_checkout_without_the_test_is_an_error(tmp_path):
    with pytest.raises(CourseError, match="checkpoint 02 has no test in this checkout"):
        checkpoints.test_file(project_of(tmp_path), CHECKPOINTS[2])
