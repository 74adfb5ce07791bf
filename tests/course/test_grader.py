"""Grading one student: only regular files count, and one line says what is wrong first."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.course import SIGMOID, file_of, make_course, solve
from tests.cli.running import tito
from tito.course.exercise import load_exercise
from tito.course.grader import LARGEST, copy_files, equal_share, grade_student, one_line
from tito.course.modules import find_module
from tito.project import Project


def test_only_numbered_regular_files_are_copied(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (source / "02_tensor.py").write_text("a = 1\n")
    (source / "random.py").write_text("")
    (source / "03_activations.py").symlink_to("/etc/passwd")
    (source / "04_layers.py").mkdir()
    (source / "05_losses.py").write_bytes(b" " * (LARGEST + 1))
    refused = copy_files(source, target)
    assert [path.name for path in target.iterdir()] == ["02_tensor.py"]
    assert refused == {
        3: "03_activations.py: not a regular file",
        4: "04_layers.py: not a regular file",
        5: f"05_losses.py: {LARGEST + 1} bytes: expected at most {LARGEST}",
    }


def test_a_message_is_one_short_line():
    assert one_line("/x/02_tensor.py:1: a\n  b\x1b[2J", "/x") == "02_tensor.py:1: a b\\x1b[2J"
    assert len(one_line("long " * 1000, "/x")) == 300


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = make_course(tmp_path)
    tito(root, "module", "start", "3")
    return root


def project_of(root: Path) -> Project:
    return Project(root, root / "suites", root / "reports", root / "submissions")


def test_equal_bodies_are_counted_without_layout_comments_and_docstring(root):
    exercise = load_exercise(project_of(root), find_module("3"))
    assert equal_share(exercise, file_of(root)) == 0
    solve(root, "_sigmoid", SIGMOID.replace("    e =", "    # mine\n    e   ="))
    assert equal_share(exercise, file_of(root)) == 0.5
    file_of(root).write_text("def (")
    assert equal_share(exercise, file_of(root)) is None
    file_of(root).write_bytes(b"\xff")
    assert equal_share(exercise, file_of(root)) is None
    file_of(root).unlink()
    file_of(root).write_text("")
    assert equal_share(exercise, file_of(root)) == 0


def test_a_student_gets_a_line_for_each_module(root):
    solve(root, "_sigmoid", SIGMOID)
    lines = list(grade_student(project_of(root), root / "workspace", [find_module("2"), find_module("3")]))
    assert [(line["module"], line["steps"], line["equal"]) for line in lines] == [
        ("02", [], None),
        ("03", [False, True], 0.5),
    ]
    assert lines[0]["message"] == "not started"
    assert "03 _relu: yours to write" in lines[1]["message"]
    assert not list((root / "workspace" / ".tito").glob("03.json")), "a teacher writes nothing into a workspace"
