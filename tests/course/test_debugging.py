"""pytest with the debugger: which tests it gets. tests/cli/test_module.py runs it."""

from __future__ import annotations

from pathlib import Path

from tito.course.debugging import tests_of
from tito.course.exercise import Exercise, Step
from tito.course.modules import find_module

tests_of.__test__ = False  # type: ignore[attr-defined]  # not a test of pytest's


def test_tests_are_spelled_with_their_files(tmp_path: Path):
    (tmp_path / "test_one.py").write_text("def test_a(): ...\n\ndef test_ab(): ...\n")
    (tmp_path / "test_two.py").write_text("class TestB:\n    def test_b(self): ...\n")
    step = Step(title="t", names=("n",), hint="h", tests=("test_a",))
    exercise = Exercise(find_module("2"), tmp_path / "exercise.toml", tmp_path / "tensor.py", (step,))
    found = tests_of(exercise, ["test_a", "TestB::test_b", "test_one.py::test_ab[1]"])
    assert found == [
        f"{tmp_path}/test_one.py::test_a",
        f"{tmp_path}/test_two.py::TestB::test_b",
        f"{tmp_path}/test_one.py::test_ab[1]",
    ]
