"""tito.course.workspace: a learner's work is never lost, whatever the disk, the terminal, or an update does."""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path

import pytest

from tests.course.sample import ACTIVATIONS, TENSOR, exercise, make_course, solve
from tito.course import workspace as workspaces
from tito.course.blank import body_of, is_blank
from tito.course.grading import grade
from tito.course.workspace import Workspace, digest, read_source
from tito.errors import CourseError
from tito.project import Project


def test_workspace_is_in_the_checkout_or_where_the_variable_says(
    course: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert Workspace.find(course).path == course.root / "workspace"
    monkeypatch.setenv("TITO_WORKSPACE", str(tmp_path / "elsewhere"))
    assert Workspace.find(course).path == tmp_path / "elsewhere"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TITO_WORKSPACE", str(tmp_path / "file"))
    with pytest.raises(CourseError, match="a file: expected a folder"):
        Workspace.find(course)


def test_start_creates_the_blank_file_once(course: Project, workspace: Workspace) -> None:
    assert not workspace.started(TENSOR)
    assert workspace.start(exercise(course))
    path = workspace.file(TENSOR)
    assert path == course.root / "workspace" / "02_tensor.py"
    assert is_blank(path.read_text(), "stack")
    path.write_text("mine")
    assert not workspace.start(exercise(course))
    assert path.read_text() == "mine"
    assert workspace.files(ACTIVATIONS) == {"tensor": path}


def test_reset_keeps_every_previous_file(course: Project, workspace: Workspace) -> None:
    workspace.start(exercise(course))
    backups = []
    for text in ("first", "second", "third"):
        workspace.file(TENSOR).write_text(text)
        backup = workspace.reset(exercise(course)).backup
        assert backup is not None
        backups.append(backup)
    assert [backup.read_text() for backup in backups] == ["first", "second", "third"]
    assert is_blank(workspace.file(TENSOR).read_text(), "stack")


def test_deleted_file_can_be_started_again(course: Project, workspace: Workspace) -> None:
    workspace.start(exercise(course))
    workspace.file(TENSOR).unlink()
    with pytest.raises(CourseError, match="the file is missing"):
        workspace.require(TENSOR)
    assert workspace.start(exercise(course))


def change_exercise(course: Project, old: str, new: str) -> None:
    """Change the exercise, as a newer version of the checkout does."""
    path = course.root / "modules" / "02_tensor" / "exercise.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_update_puts_answers_additions_and_imports_into_the_newest_exercise(
    course: Project, workspace: Workspace
) -> None:
    solve(course, workspace, TENSOR, "stack", "Tensor.transpose")
    path = workspace.file(TENSOR)
    text = path.read_text().replace("import threading\n", "import threading\nimport itertools\n")
    path.write_text(text + "\n\ndef helper() -> int:\n    # mine\n    return 1\n")
    assert not workspace.outdated(exercise(course))
    change_exercise(course, '"Tensor.flatten", ', '"Tensor.flatten", "cat", ')
    assert workspace.outdated(exercise(course))
    done = workspace.update(exercise(course))
    new = path.read_text()
    assert done.kept == ("Tensor.transpose", "stack", "helper")
    assert done.dropped == ()
    assert is_blank(new, "cat")
    assert is_blank(new, "Tensor.flatten")
    assert body_of(new, "stack") == body_of(text, "stack")
    assert "import itertools\n" in new
    assert "# mine" in body_of(new, "helper")
    assert done.backup is not None
    assert "def helper" in done.backup.read_text()
    assert not workspace.outdated(exercise(course))


def test_update_names_changes_that_are_only_in_the_backup(course: Project, workspace: Workspace) -> None:
    solve(course, workspace, TENSOR)
    path = workspace.file(TENSOR)
    path.write_text(path.read_text().replace("return self.data.size", "return int(self.data.size)"))
    assert workspace.update(exercise(course)).dropped == ("Tensor.numel",)


def test_updated_answers_still_pass(course: Project, workspace: Workspace) -> None:
    solve(course, workspace, TENSOR)
    change_exercise(course, '"Tensor.flatten", ', "")
    workspace.update(exercise(course))
    assert grade(course, workspace, TENSOR).complete


def test_update_of_a_file_with_a_syntax_error_changes_nothing(course: Project, workspace: Workspace) -> None:
    workspace.start(exercise(course))
    workspace.file(TENSOR).write_text("def f(:\n")
    with pytest.raises(CourseError, match=r"02_tensor.py:1: invalid syntax"):
        workspace.update(exercise(course))
    assert workspace.file(TENSOR).read_text() == "def f(:\n"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc refuses new files even to root")
def test_read_only_workspace_is_one_error_that_names_the_file(course: Project) -> None:
    with pytest.raises(OSError, match="/proc/workspace") as caught:
        Workspace(Path("/proc/workspace")).start(exercise(course))
    assert caught.value.filename


def test_full_disk_leaves_the_file_as_it_was(
    course: Project, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.start(exercise(course))
    workspace.file(TENSOR).write_text("mine")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for change in (workspace.reset, workspace.update):
        with pytest.raises(OSError, match="No space left"):
            change(exercise(course))
        assert workspace.file(TENSOR).read_text() == "mine"


def hold(path: Path, ready: multiprocessing.synchronize.Event, done: multiprocessing.synchronize.Event) -> None:
    """Keep a workspace's lock, in another process."""
    with Workspace(path).lock():
        ready.set()
        done.wait(30)


def test_two_terminals_wait_for_each_other(
    course: Project, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=hold, args=(workspace.path, ready, done))
    other.start()
    assert ready.wait(30)
    monkeypatch.setattr(workspaces, "PATIENCE", 0.1)
    with pytest.raises(CourseError, match="another tito command is changing this workspace"):
        workspace.start(exercise(course))
    done.set()
    other.join()
    assert workspace.start(exercise(course))


def test_file_of_another_editor_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_bytes("\ufeffx = 'ö'\r\n".encode())
    assert read_source(path) == "x = 'ö'\n"


def test_digest_depends_on_names_and_contents(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("a")
    two.write_text("a")
    assert digest(one) != digest(two)
    assert digest(one) == digest(one)
    assert digest(tmp_path / "missing") != digest(one)


def test_workspace_of_another_checkout_is_graded_by_this_one(tmp_path: Path, course: Project) -> None:
    other = make_course(tmp_path / "other")
    solve(other, Workspace.find(other), TENSOR)
    assert grade(course, Workspace.find(other), TENSOR).complete
