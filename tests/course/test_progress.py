"""tito.course.progress: what a learner has done is read off the files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.course.sample import ACTIVATIONS, TENSOR, exercise, solve
from tito.course.grading import grade
from tito.course.journey import make_journey
from tito.course.progress import ModuleProgress, count_steps, progress
from tito.course.workspace import Workspace
from tito.project import Project


def of(course: Project, workspace: Workspace, number: int) -> ModuleProgress:
    return progress(course, workspace).modules[number - 1]


def test_everything_after_the_first_module_is_locked_at_first(course: Project, workspace: Workspace) -> None:
    found = progress(course, workspace)
    assert [one.state for one in found.modules] == ["open", *["locked"] * 19]
    assert found.complete == frozenset()
    assert found.current is not None
    assert found.current.module.number == 1


def test_module_passes_through_its_states(course: Project, workspace: Workspace) -> None:
    workspace.start(exercise(course))
    assert of(course, workspace, 2) == ModuleProgress(TENSOR, "started", 0, 2, True)
    solve(course, workspace, TENSOR, "stack")
    grade(course, workspace, TENSOR)
    assert of(course, workspace, 2) == ModuleProgress(TENSOR, "started", 1, 2, False)
    solve(course, workspace, TENSOR)
    assert of(course, workspace, 2).stale
    grade(course, workspace, TENSOR)
    assert of(course, workspace, 2) == ModuleProgress(TENSOR, "complete", 2, 2, False)
    workspace.file(TENSOR).unlink()
    lost = of(course, workspace, 2)
    assert lost == ModuleProgress(TENSOR, "started", 0, 2, True, missing=True)
    assert lost.remark == "file missing"
    assert make_journey(progress(course, workspace)).command in ("tito module start 01", "tito module start 02")


def test_change_of_an_earlier_file_makes_a_complete_module_stale(course: Project, workspace: Workspace) -> None:
    for module in (TENSOR, ACTIVATIONS):
        solve(course, workspace, module)
        grade(course, workspace, module)
    assert progress(course, workspace).complete == {2, 3}
    with workspace.file(TENSOR).open("a") as file:
        file.write("# changed\n")
    assert progress(course, workspace).complete == frozenset()
    assert of(course, workspace, 3) == ModuleProgress(ACTIVATIONS, "started", 2, 2, True)


def test_exercise_that_cannot_be_read_has_no_steps(tmp_path: Path) -> None:
    path = tmp_path / "exercise.toml"
    assert count_steps(path) == 0
    for text in ("[[step", "step = 1", ""):
        path.write_text(text)
        assert count_steps(path) == 0


def test_reading_progress_imports_nothing_slow() -> None:
    code = "import sys, tito.course.progress; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"numpy", "pydantic", "pytest", "hypothesis", "tinytorch", "psutil"} & set(loaded.split())
