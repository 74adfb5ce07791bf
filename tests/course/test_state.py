"""tito.course.state: a state is valid only for the files that it was written for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.course.sample import ACTIVATIONS, TENSOR, exercise
from tito.course.state import State, hashes, is_stale, load_state, save_state
from tito.course.workspace import Workspace
from tito.errors import CourseError
from tito.project import Project


def saved(course: Project, workspace: Workspace) -> State:
    """Save a state of module 03, which uses 02."""
    for module in (TENSOR, ACTIVATIONS):
        workspace.start(exercise(course, module))
    file, earlier, tests = hashes(course, workspace, ACTIVATIONS)
    state = State(file, earlier, tests, ("ReLU",), 2, False)
    save_state(workspace, ACTIVATIONS, state)
    return state


def test_state_is_read_as_it_was_written(course: Project, workspace: Workspace) -> None:
    state = saved(course, workspace)
    assert load_state(workspace, ACTIVATIONS) == state
    assert list(state.earlier) == ["tensor"]
    assert not is_stale(course, workspace, ACTIVATIONS, state)
    assert not list(workspace.private.glob("*.part"))


@pytest.mark.parametrize(
    "place", ["workspace/03_activations.py", "workspace/02_tensor.py", "modules/03_activations/test_activations.py"]
)
def test_changed_file_makes_the_state_stale(course: Project, workspace: Workspace, place: str) -> None:
    state = saved(course, workspace)
    path = course.root / place
    path.write_text(path.read_text() + "\n")
    assert is_stale(course, workspace, ACTIVATIONS, state)


def test_state_of_a_newer_version_is_kept(course: Project, workspace: Workspace) -> None:
    saved(course, workspace)
    path = workspace.state_file(ACTIVATIONS)
    path.write_text(json.dumps({"format": 2, "new": True}))
    with pytest.raises(CourseError, match="format 2, written by a newer tito: expected 1"):
        load_state(workspace, ACTIVATIONS)
    assert json.loads(path.read_text()) == {"format": 2, "new": True}


@pytest.mark.parametrize(
    "change",
    [{"passed": "ReLU"}, {"passed": [1]}, {"total": "2"}, {"complete": 1}, {"earlier": []}, {"file": 3}, {"more": 1}],
)
def test_state_of_another_shape_is_rebuilt(course: Project, workspace: Workspace, change: dict[str, object]) -> None:
    saved(course, workspace)
    path: Path = workspace.state_file(ACTIVATIONS)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert load_state(workspace, ACTIVATIONS) is None
