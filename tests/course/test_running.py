"""tito.course.running: each run has its own files, limits, and result, whatever the run before it did."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.course.sample import TENSOR, exercise
from tito.course.running import Outcome, Run, run
from tito.project import Project

COUNT = 6  # tests of the sample that grade


def runs(course: Project, tmp_path: Path, *additions: str, seconds: float = 60.0, **options: object) -> list[Outcome]:
    """Run the reference with each of these additions, in one child process."""
    text = (course.root / "tinytorch" / "tensor.py").read_text()
    chosen = []
    for index, addition in enumerate(additions):
        path = tmp_path / f"{index}" / TENSOR.file
        path.parent.mkdir()
        path.write_text(f"{text}\n{addition}\n")
        chosen.append(Run({"tensor": path}, 2, **options))  # type: ignore[arg-type]
    return run(course, exercise(course).test_files, chosen, seconds)


def test_runs_of_one_process_do_not_disturb_each_other(course: Project, tmp_path: Path, endless: float) -> None:
    additions = (
        "",
        "import os; os._exit(3)",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "while True:\n    pass",
        "import sys; sys.modules['numpy'] = None",
        "stack = None",
        "",
    )
    found = runs(course, tmp_path, *additions, seconds=endless)
    assert [outcome.clean for outcome in found] == [True, False, False, False, found[4].clean, False, True]
    assert [len(outcome.passed) for outcome in (found[0], found[-1])] == [COUNT, COUNT]
    whys = [outcome.problem.why for outcome in found[1:4] if outcome.problem]
    assert whys == [
        "the process ended: exited with code 3 while the file was imported",
        "the process ended: signal 9 while the file was imported",
        f"still running after {endless:g} s: an endless loop? while the file was imported",
    ]
    assert {name.rpartition("::")[2] for name in found[5].failures} == {"test_stack[0]", "test_stack[1]", "test_of_one"}


def test_chosen_tests_run_in_the_chosen_order(course: Project, tmp_path: Path) -> None:
    (found,) = runs(course, tmp_path, "", tests=("test_stack[1]", "test_flatten"))
    assert found.collected == ("test_tensor.py::test_stack[1]", "test_tensor.py::test_flatten")
    (tmp_path / "again").mkdir()
    (found,) = runs(course, tmp_path / "again", "", tests=("TestStack::test_of_one", "*"))
    assert found.collected[0] == "test_tensor.py::TestStack::test_of_one"
    assert len(found.collected) == COUNT


def test_first_failure_ends_a_run_that_stops(course: Project, tmp_path: Path) -> None:
    (found,) = runs(course, tmp_path, "stack = None", stop=True)
    assert list(found.failures) == ["test_tensor.py::test_stack[0]"]


def test_tests_that_do_not_grade_run_only_on_request(course: Project, tmp_path: Path) -> None:
    (found,) = runs(course, tmp_path, "", beyond=True)
    assert list(found.failures) == ["test_tensor.py::test_beyond"]


def test_reference_in_place_of_the_learners_file_is_a_problem(course: Project, tmp_path: Path) -> None:
    code = "import sys, types; sys.modules[__name__].__file__ = '/somewhere/else.py'"
    (found,) = runs(course, tmp_path, code)
    assert found.problem is not None
    assert found.problem.why == "the tests used tensor from /somewhere/else.py instead of the learner's file"


def test_test_file_that_cannot_be_collected_is_a_problem(course: Project, tmp_path: Path) -> None:
    path = course.root / "modules" / "02_tensor" / "test_tensor.py"
    path.write_text(path.read_text() + "\n1 / 0\n")
    (found,) = runs(course, tmp_path, "")
    assert found.problem is not None
    assert found.problem.why == "ZeroDivisionError: division by zero"
    assert not found.clean


@pytest.mark.parametrize("megabytes", [10, 5000])
def test_memory_is_limited(course: Project, tmp_path: Path, megabytes: int) -> None:
    (found,) = runs(course, tmp_path, f"held = bytearray({megabytes} * 2**20)")
    assert found.clean == (megabytes == 10)
    if found.problem:
        assert found.problem.why == "MemoryError"
