"""tito.course.grading: right answers complete a module, and every other file costs one clear line."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.course.sample import ACTIVATIONS, TENSOR, exercise, solve
from tito.course import running
from tito.course.grading import Result, grade, refresh, stale_modules
from tito.course.state import load_state
from tito.course.workspace import Workspace
from tito.errors import CourseError
from tito.project import Project


def graded(course: Project, workspace: Workspace, text: str, seconds: float = 60.0) -> Result:
    """Grade module 02 with this file."""
    workspace.start(exercise(course))
    workspace.file(TENSOR).write_text(text)
    return grade(course, workspace, TENSOR, seconds=seconds)


def reference(course: Project) -> str:
    return (course.root / "tinytorch" / "tensor.py").read_text()


def test_blank_file_fails_every_step_at_the_learners_line(course: Project, workspace: Workspace) -> None:
    workspace.start(exercise(course))
    result = grade(course, workspace, TENSOR)
    assert (result.passed, result.complete, result.problem) == (0, False, None)
    assert result.first_line == "tinytorch: yours: 02 tensor; reference: the rest"
    first = result.steps[0].failed
    assert first is not None
    assert first.test == "test_tensor.py::test_flatten"
    assert first.why == "NotImplementedError: 02 Tensor.flatten: yours to write"
    assert first.file == str(workspace.file(TENSOR))
    assert "02 Tensor.flatten" in workspace.file(TENSOR).read_text().splitlines()[(first.line or 0) - 1]
    assert [failure.test for failure in result.failures] == [
        "test_tensor.py::test_flatten",
        "test_tensor.py::test_transpose",
        "test_tensor.py::test_stack[0]",
        "test_tensor.py::TestStack::test_of_one",
        "test_tensor.py::test_stack[1]",
    ]


def test_reference_answers_complete_the_module(course: Project, workspace: Workspace) -> None:
    solve(course, workspace, TENSOR)
    result = grade(course, workspace, TENSOR)
    assert result.complete, result
    assert [(step.tests, step.green) for step in result.steps] == [(2, 2), (4 - 1 + 1, 4)]
    state = load_state(workspace, TENSOR)
    assert state is not None
    assert (state.passed, state.total, state.complete) == (("Shapes", "Joining"), 2, True)


def test_wrong_value_states_expected_and_got(course: Project, workspace: Workspace) -> None:
    solve(course, workspace, TENSOR, Tensor__flatten="        return self.reshape((-1,))\n")
    result = grade(course, workspace, TENSOR)
    first = result.steps[0].failed
    assert first is not None
    assert (first.expected, first.got) == ("(2, 12)", "(24,)")
    assert first.why == "assert tt.zeros(2, 3, 4).flatten(1).shape == (2, 12)"
    lines = workspace.file(TENSOR).read_text().splitlines()
    assert lines[(first.line or 0) - 1].startswith("    def flatten")
    assert result.steps[1].passed


def test_wrong_array_states_both_arrays(course: Project, workspace: Workspace) -> None:
    solve(course, workspace, TENSOR, Tensor__transpose="        return self\n")
    first = grade(course, workspace, TENSOR).steps[0].failed
    assert first is not None
    assert (first.expected, first.got) == ("array([[1.], [2.]])", "array([[1., 2.]], dtype=float32)")


def test_step_alone_runs_only_its_tests_and_keeps_the_others_state(course: Project, workspace: Workspace) -> None:
    solve(course, workspace, TENSOR, "stack")
    result = grade(course, workspace, TENSOR, step=1)
    assert [(step.run, step.passed, step.tests) for step in result.steps] == [(False, False, 0), (True, True, 2)]
    solve(course, workspace, TENSOR)
    grade(course, workspace, TENSOR)
    grade(course, workspace, TENSOR, step=1)
    state = load_state(workspace, TENSOR)
    assert state is not None
    assert state.complete


def test_tests_that_do_not_grade_are_reported_apart(course: Project, workspace: Workspace) -> None:
    solve(course, workspace, TENSOR)
    result = grade(course, workspace, TENSOR, all=True)
    assert result.complete
    assert [failure.why for failure in result.beyond] == ["does not grade"]


def test_smallest_failing_example_of_a_property_is_named(course: Project, workspace: Workspace) -> None:
    solve(course, workspace, ACTIVATIONS, _relu="    return x\n")
    first = grade(course, workspace, ACTIVATIONS).steps[0].failed
    assert first is not None
    assert (first.expected, first.got) == ("0", "-1.0")
    assert "number=-1" in first.why


def test_earlier_file_that_breaks_a_test_is_named(course: Project, workspace: Workspace) -> None:
    solve(course, workspace, TENSOR, Tensor__flatten="        return self.reshape((-1,))\n")
    solve(course, workspace, ACTIVATIONS)
    result = grade(course, workspace, ACTIVATIONS)
    assert result.blamed == (TENSOR,)
    assert result.steps[0].passed
    assert result.first_line == "tinytorch: yours: 02 tensor, 03 activations; reference: the rest"


def test_own_mistake_is_not_blamed_on_an_earlier_file(course: Project, workspace: Workspace) -> None:
    solve(course, workspace, TENSOR)
    solve(course, workspace, ACTIVATIONS, _relu="    return x\n")
    assert grade(course, workspace, ACTIVATIONS).blamed == ()


def test_later_module_cannot_be_used(course: Project, workspace: Workspace) -> None:
    solve(course, workspace, TENSOR, stack="    from tinytorch.spatial import Conv2d\n")
    result = grade(course, workspace, TENSOR)
    assert result.failures[0].why == "ImportError: module 09 spatial comes after 02"


def test_changed_file_is_stale_and_is_tested_again(course: Project, workspace: Workspace) -> None:
    solve(course, workspace, TENSOR)
    assert stale_modules(course, workspace) == [TENSOR]
    assert [result.complete for result in refresh(course, workspace)] == [True]
    assert stale_modules(course, workspace) == []
    with workspace.file(TENSOR).open("a") as file:
        file.write("\n# changed\n")
    assert stale_modules(course, workspace) == [TENSOR]


def test_teachers_grading_writes_no_state(course: Project, workspace: Workspace) -> None:
    solve(course, workspace, TENSOR)
    assert grade(course, workspace, TENSOR, save=False).complete
    assert not workspace.state_file(TENSOR).exists()


# Files that cannot be tested ----------------------------------------------------------------------------


def test_module_that_is_not_started_is_an_error(course: Project, workspace: Workspace) -> None:
    with pytest.raises(CourseError, match="module 02 tensor is not started: tito module start 02"):
        grade(course, workspace, TENSOR)


def test_deleted_file_is_an_error(course: Project, workspace: Workspace) -> None:
    workspace.start(exercise(course))
    workspace.file(TENSOR).unlink()
    with pytest.raises(CourseError, match=r"02_tensor.py: the file is missing: tito module start 02 creates it again"):
        grade(course, workspace, TENSOR)


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("", None, "the file is empty"),
        ("x = 1\ndef f(:\n", 2, "syntax error: invalid syntax"),
        ("def f():\nreturn 1\n", 2, "syntax error: expected an indented block after function definition on line 1"),
        ("x = '\0'\n", None, "syntax error: source code string cannot contain null bytes"),
    ],
)
def test_file_that_is_no_python_names_the_line(
    course: Project, workspace: Workspace, text: str, line: int | None, found: str
) -> None:
    (problem,) = graded(course, workspace, text).contract
    assert (problem.file, problem.line, problem.found) == (workspace.file(TENSOR), line, found)


def test_file_that_is_not_utf8_names_the_line(course: Project, workspace: Workspace) -> None:
    workspace.start(exercise(course))
    workspace.file(TENSOR).write_bytes(b"# one\n# caf\xe9\n")
    (problem,) = grade(course, workspace, TENSOR).contract
    assert (problem.line, problem.found) == (2, "not UTF-8 (byte 0xe9): save it as UTF-8")


@pytest.mark.parametrize(
    ("addition", "why"),
    [
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import tinytorch.attention", "ImportError: module 13 attention comes after 02"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("import os; os._exit(0)", "the process ended: exited with code 0 and no result while the file was imported"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
            "the process ended: killed by signal 11 (Segmentation fault) while the file was imported",
        ),
    ],
)
def test_error_while_the_file_is_imported_is_one_failure(
    course: Project, workspace: Workspace, addition: str, why: str
) -> None:
    result = graded(course, workspace, f"{reference(course)}\n{addition}\n")
    assert result.problem is not None
    assert result.problem.why == why
    assert result.problem.file == str(workspace.file(TENSOR))
    assert not result.complete
    assert [step.run for step in result.steps] == [False, False]


@pytest.mark.parametrize(
    "addition",
    [
        "print('noise'); import sys; print('more', file=sys.stderr)",
        "open('left-behind.txt', 'w').write('x')",
        "import os\nif os.fork() == 0:\n    import time; time.sleep(60)",
        "import os\nos.fork()",
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()",
        "import sys; sys.setrecursionlimit(10**6)",
    ],
)
def test_file_that_prints_writes_or_forks_is_graded_nevertheless(
    course: Project, workspace: Workspace, addition: str
) -> None:
    result = graded(course, workspace, f"{reference(course)}\n{addition}\n", seconds=30)
    assert result.complete, result
    assert not list(course.root.rglob("left-behind.txt"))


def test_endless_loop_names_its_line_and_keeps_what_passed(
    course: Project, workspace: Workspace, endless: float
) -> None:
    solve(course, workspace, TENSOR, stack="    while True:\n        dim = dim\n")
    result = grade(course, workspace, TENSOR, seconds=endless)
    assert result.steps[0].passed
    failure = result.steps[1].failed
    assert failure is not None
    assert failure.why == f"still running after {endless:g} s: an endless loop?"
    lines = workspace.file(TENSOR).read_text().splitlines()
    assert lines[(failure.line or 0) - 1] in ("    while True:", "        dim = dim")


def test_endless_loop_while_the_file_is_imported_names_its_line(
    course: Project, workspace: Workspace, endless: float
) -> None:
    text = f"{reference(course)}\nwhile True:\n    pass\n"
    result = graded(course, workspace, text, seconds=endless)
    assert result.problem is not None
    assert result.problem.why == f"still running after {endless:g} s: an endless loop? while the file was imported"
    assert result.problem.line in (len(text.splitlines()), len(text.splitlines()) - 1)


def test_endless_recursion_is_an_error_of_the_test(course: Project, workspace: Workspace) -> None:
    solve(course, workspace, TENSOR, stack="    return stack(tensors, dim)\n")
    failure = grade(course, workspace, TENSOR).steps[1].failed
    assert failure is not None
    assert failure.why.startswith("RecursionError: maximum recursion depth exceeded")
    assert failure.file == str(workspace.file(TENSOR))


def test_50_gigabytes_are_refused(course: Project, workspace: Workspace) -> None:
    solve(course, workspace, TENSOR, stack="    return Tensor(np.ones(50 * 2**30, np.uint8))\n")
    failure = grade(course, workspace, TENSOR).steps[1].failed
    assert failure is not None
    assert failure.why.startswith(("MemoryError", "numpy._core._exceptions._ArrayMemoryError", "_ArrayMemoryError"))


def test_runtime_warning_is_an_error(course: Project, workspace: Workspace) -> None:
    solve(course, workspace, TENSOR, stack="    return Tensor(np.zeros((1, 3)) / 0)\n")
    failure = grade(course, workspace, TENSOR).steps[1].failed
    assert failure is not None
    assert failure.why == "RuntimeWarning: invalid value encountered in divide"


def test_name_that_was_deleted_is_named_with_who_needs_it(course: Project, workspace: Workspace) -> None:
    text = reference(course).replace("def is_floating(", "def is_float(")
    (problem,) = graded(course, workspace, text).contract
    assert problem.name == "is_floating"
    assert problem.found == "this name is missing"
    assert problem.needed_by.split()[0] in ("05", "06", "09", "15", "17", "tinytorch/half")
    assert problem.text().startswith(f"{workspace.file(TENSOR)}: is_floating: this name is missing; expected def is_f")


@pytest.mark.parametrize("name", ["random.py", "numpy.py", "tinytorch.py", "pytest.py"])
def test_other_files_in_the_workspace_replace_nothing(course: Project, workspace: Workspace, name: str) -> None:
    solve(course, workspace, TENSOR)
    (workspace.path / name).write_text("raise SystemExit('the wrong file')\n")
    assert grade(course, workspace, TENSOR).complete


def test_corrupt_state_is_rebuilt(course: Project, workspace: Workspace) -> None:
    solve(course, workspace, TENSOR)
    grade(course, workspace, TENSOR)
    for content in (b"", b"{", b"[]", b'{"format": 1}', b"\xff"):
        workspace.state_file(TENSOR).write_bytes(content)
        assert load_state(workspace, TENSOR) is None
    assert [result.complete for result in refresh(course, workspace)] == [True]


def test_earlier_file_that_cannot_be_imported_is_named(course: Project, workspace: Workspace) -> None:
    workspace.start(exercise(course))
    workspace.file(TENSOR).write_text(f"{reference(course)}\n1 / 0\n")
    solve(course, workspace, ACTIVATIONS)
    result = grade(course, workspace, ACTIVATIONS)
    assert result.blamed == (TENSOR,)
    assert result.problem is not None
    assert result.problem.file == str(workspace.file(TENSOR))


@pytest.mark.parametrize("ending", ["1 / 0\n", "raise SystemExit\n", "while True:\n    pass\n"])
def test_own_file_that_cannot_be_imported_is_not_blamed_on_an_earlier_one(
    course: Project, workspace: Workspace, ending: str, endless: float
) -> None:
    solve(course, workspace, TENSOR)
    solve(course, workspace, ACTIVATIONS)
    file = workspace.file(ACTIVATIONS)
    file.write_text(f"{file.read_text()}\n{ending}")
    result = grade(course, workspace, ACTIVATIONS, seconds=endless)
    assert result.blamed == ()
    assert result.problem is not None
    assert result.problem.file == str(file)


def test_earlier_file_with_a_syntax_error_is_named(course: Project, workspace: Workspace) -> None:
    workspace.start(exercise(course))
    workspace.file(TENSOR).write_text("def f(:\n")
    solve(course, workspace, ACTIVATIONS)
    (problem,) = grade(course, workspace, ACTIVATIONS).contract
    assert problem.text() == f"{workspace.file(TENSOR)}:1: syntax error: invalid syntax; expected valid Python"


def test_earlier_file_that_never_ends_is_named(course: Project, workspace: Workspace, endless: float) -> None:
    solve(course, workspace, TENSOR, Tensor__flatten="        while True:\n            pass\n")
    solve(course, workspace, ACTIVATIONS)
    result = grade(course, workspace, ACTIVATIONS, seconds=endless)
    assert result.blamed == (TENSOR,)
    failure = result.steps[1].failed
    assert failure is not None
    assert failure.file == str(workspace.file(TENSOR))


def test_interrupted_grading_leaves_no_process_and_no_state(course: Project, workspace: Workspace) -> None:
    solve(course, workspace, TENSOR, stack="    while True:\n        pass\n")
    code = f"""
from pathlib import Path
from tito.course.grading import grade
from tito.course.modules import find_module
from tito.course.workspace import Workspace
from tito.project import find_project
grade(find_project(Path({str(course.root)!r})), Workspace(Path({str(workspace.path)!r})), find_module("tensor"))
"""
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    parent = psutil.Process(process.pid)
    deadline = time.monotonic() + 60
    while not parent.children(recursive=True) and time.monotonic() < deadline:
        time.sleep(0.05)
    (child,) = parent.children()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert errors.splitlines()[-1].startswith("KeyboardInterrupt")
    assert not child.is_running()
    assert not workspace.state_file(TENSOR).exists()


def test_missing_pytest_is_one_line(course: Project, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    solve(course, workspace, TENSOR)
    monkeypatch.setattr(running, "find_spec", lambda name: None)
    with pytest.raises(CourseError, match=r"pytest and hypothesis: not installed, .* '\.\[course\]'"):
        grade(course, workspace, TENSOR)
