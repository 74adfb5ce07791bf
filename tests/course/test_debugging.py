"""pytest with the debugger: which tests it gets. tests/cli/test_module.py runs it."""

from __future__ import annotations

from pathlib import Path

from tito.course import debugging  # not its names: pytest would collect tests_of
from tito.course.exercise import Exercise, Step
from tito.course.modules import find_module


def test_tests_are_spelled_with_their_files(tmp_path: Path):
    (tmp_path / "test_one.py").write_text("def test_a(): ...\n\ndef test_ab(): ...\n")
    (tmp_path / "test_two.py").write_text("class TestB:\n    def test_b(self): ...\n")
    step = Step(title="t", names=("n",), hint="h", tests=("test_a",))
    exercise = Exercise(find_module("2"), tmp_path / "exercise.toml", tmp_path / "tensor.py", (step,))
    found = debugging.tests_of(exercise, ["test_a", "TestB::test_b", "test_one.py::test_ab[1]"])
    assert found == [
        f"{tmp_path}/test_one.py::test_a",
        f"{tmp_path}/test_two.py::TestB::test_b",
        f"{tmp_path}/test_one.py::test_ab[1]",
    ]
