"""What the commands of the course print."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.course.progressing import made_progress
from tests.terminal.sample import printed
from tito.course.checkpoints import CheckpointResult
from tito.course.classroom import ModuleGrade, Row
from tito.course.exercise import Step
from tito.course.grading import Result, StepResult
from tito.course.journey import make_journey
from tito.course.modules import CHECKPOINTS, MODULES
from tito.course.running import Failure
from tito.terminal.grading import (
    list_checkpoints,
    list_class,
    list_milestones,
    list_modules,
    show_checkpoint,
    show_failure,
    show_hint,
    show_result,
    show_standing,
)

WRONG = Failure("test_tensor.py::test_add", "[1, 2]", "[1, 3]", "assert a == b", "/elsewhere/02_tensor.py", 131)
BLANK = Failure("test_tensor.py::test_sum", None, "NotImplementedError: 02 Tensor.sum: yours to write",
                "NotImplementedError: 02 Tensor.sum: yours to write", "/elsewhere/02_tensor.py", 140)  # fmt: skip


def step(index: int, title: str, passed: bool = True, failed: Failure | None = None, run: bool = True) -> StepResult:
    made = Step(title=title, names=("n",), hint="h", tests=("t",))
    return StepResult(index, made, passed, 3, 3 if passed else 1, failed, run)


def lines(content: object, width: int = 100) -> list[str]:
    return [line.rstrip() for line in printed(content, width).splitlines()]  # type: ignore[arg-type]


def test_steps_are_a_line_each_and_the_first_failure_is_explained():
    steps = (
        step(0, "Data"),
        step(1, "Sums", False, WRONG),
        step(2, "Means", False, BLANK),
        step(3, "More", False, run=False),
    )
    found = lines(show_result(Result(MODULES[1], steps, "tinytorch: yours: 02 tensor; reference: the rest")))
    assert found == [
        "tinytorch: yours: 02 tensor; reference: the rest",
        "",
        "  ✓  1  Data   3 tests",
        "  ✗  2  Sums   1 of 3 tests",
        "  ·  3  Means  to write",
        "  ·  4  More   not run",
        "",
        "  test_tensor.py::test_add",
        "    expected   [1, 2]",
        "    got        [1, 3]",
        "    why        assert a == b",
        "    at         /elsewhere/02_tensor.py:131",
    ]


def test_blame_and_tests_that_do_not_grade_are_named():
    result = Result(MODULES[2], (step(0, "Data", False, WRONG),), "first", blamed=(MODULES[1],), beyond=(BLANK,))
    text = "\n".join(lines(show_result(result)))
    assert "it passes with the reference's 02 tensor: look there first" in text
    assert "does not grade   test_tensor.py::test_sum" in text


def test_a_failure_says_the_same_only_once_and_paths_below_here_are_short(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    failure = Failure("", None, "x", "x", str(Path.cwd() / "workspace" / "02_tensor.py"), None)
    assert lines(show_failure(failure)) == [
        "  the tests could not be run",
        "    why   x",
        "    at    workspace/02_tensor.py",
    ]


@pytest.mark.parametrize("width", [60, 120])
def test_modules_and_milestones_and_checkpoints_are_listed(width):
    progress = made_progress(6, stale=True)
    journey = make_journey(progress, {0: "passed", 1: "changed"})
    text = printed(list_modules(progress), width)
    assert "test again" in text
    assert text.count("later") == 13
    text = printed(list_checkpoints(journey), width)
    assert "Can I set up my environment?" in text
    assert "test again" in text
    assert len(text.splitlines()) == 17, "a line each"
    text = printed(list_milestones(journey, {"xor": "Two points"}), width)
    assert "Two points" in text
    assert text.count("unlocked") == 2
    assert "after 08" in text


def test_a_checkpoint_is_answered():
    assert "yes  3 of 3 tests" in printed(show_checkpoint(CheckpointResult(CHECKPOINTS[1], 3, 3, None), "first"))
    text = printed(show_checkpoint(CheckpointResult(CHECKPOINTS[1], 2, 3, WRONG), "first"))
    assert "not yet  2 of 3 tests" in text
    assert "02_tensor.py:131" in text


def test_a_hint_names_the_step_and_what_to_write():
    text = printed(show_hint("Sums", 2, 5, ["Tensor.sum"], "Look at\n  the axis."))
    assert "step 2 of 5: Sums" in text
    assert "you write: Tensor.sum" in text
    assert "Look at the axis." in text


def test_the_standing_lists_what_is_begun_and_what_is_next():
    text = printed(show_standing(made_progress(1), "tito module test 02"))
    assert "Activations" not in text
    assert "next: tito module test 02" in text
    assert "no module is started yet" in printed(show_standing(made_progress(0, started=None), "x"))
    assert "all modules are complete" in printed(show_standing(made_progress(20), None))


def test_a_class_is_a_line_a_student_with_its_first_message():
    grades = {"02": ModuleGrade((True, None), "why " * 100), "03": ModuleGrade((), "not started")}
    text = printed(list_class([Row("anna", "f", grades)], MODULES[1:3]), 160)
    assert "1/2" in text
    assert "03" not in text
    assert "…" in text
