"""What a learner means: a step by its number, by a name that they write, or by a test."""

from __future__ import annotations

import difflib
import time
from collections.abc import Iterator

from tito.course.exercise import Exercise
from tito.course.modules import Module
from tito.course.state import load_state
from tito.course.workspace import Workspace
from tito.errors import CourseError

INTERVAL = 0.3  # seconds between two looks at the files


def find_name(exercise: Exercise, text: str) -> str:
    """Return the name that a learner means: "Tensor.sum", or "sum" if that is the only one.

    Raises:
        CourseError: there is no such name, or there are several.
    """
    if text in exercise.names:
        return text
    lower = text.lower()
    found = [name for name in exercise.names if lower in (name.lower(), *_short(name))]
    if len(found) == 1:
        return found[0]
    if found:
        raise CourseError(f"{text!r} is several names of module {exercise.module.label}: {', '.join(found)}")
    raise CourseError(_unknown(exercise, text, exercise.names))


def find_step(exercise: Exercise, text: str) -> int:
    """Return the index of the step that a learner means by its number, a name, its title, or a test.

    Raises:
        CourseError: there is no such step.
    """
    steps = exercise.steps
    if text.isdecimal():
        if 1 <= int(text) <= len(steps):
            return int(text) - 1
        raise CourseError(f"step {text}: module {exercise.module.label} has steps 1 to {len(steps)}")
    for index, step in enumerate(steps):
        if text.lower() == step.title.lower() or text in step.tests:
            return index
    try:
        return exercise.step_of(find_name(exercise, text))
    except CourseError as error:
        if "several" in str(error):
            raise
    raise CourseError(_unknown(exercise, text, [*exercise.names, *(test for step in steps for test in step.tests)]))


def current_step(workspace: Workspace, exercise: Exercise) -> int | None:
    """Return the index of the first step that did not pass in the last test; None if all passed."""
    state = load_state(workspace, exercise.module)
    passed = state.passed if state else ()
    return next((i for i, step in enumerate(exercise.steps) if step.title not in passed), None)


def changes(workspace: Workspace, module: Module, interval: float = INTERVAL) -> Iterator[None]:
    """Yield at once, and then each time a file of the workspace up to this module has changed."""
    before: object = None
    while True:
        now = _stamps(workspace, module)
        if now != before:
            before = now
            yield
        else:
            time.sleep(interval)


def _stamps(workspace: Workspace, module: Module) -> list[tuple[str, int, int]]:
    found = []
    for name, file in workspace.files(module).items():
        try:
            status = file.stat()
        except OSError:  # between two moments of an editor's save
            continue
        found.append((name, status.st_mtime_ns, status.st_size))
    return found


def _short(name: str) -> tuple[str, ...]:
    """Return the other spellings of a name: the method of a class, the row of a table, without underscores."""
    last = name.rpartition(".")[2]
    row = last.partition("[")[2].removesuffix("]")
    spelled = {last, last.strip("_"), row, row.strip("_")} - {""}
    return tuple(one.lower() for one in spelled)


def _unknown(exercise: Exercise, text: str, known: list[str] | tuple[str, ...]) -> str:
    spelled = {short: name for name in known for short in (name, *_short(name))}
    close = difflib.get_close_matches(text, spelled, n=1)
    guess = (
        f"did you mean {spelled[close[0]]}?"
        if close
        else f"expected a step from 1 to {len(exercise.steps)}, or {_few(exercise)}"
    )
    return f"{text!r} is no step, name, or test of module {exercise.module.label}; {guess}"


def _few(exercise: Exercise) -> str:
    names = exercise.names
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
