"""What the commands of the course print: modules, steps, the first failure, and hints."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tito.course.journey import CheckpointState, Journey
from tito.course.progress import ModuleProgress, Progress
from tito.errors import printable
from tito.report.pieces import cut
from tito.terminal.tables import indented, lines, table

if TYPE_CHECKING:  # tito module list loads neither pytest's results nor exercises
    from tito.course.checkpoints import CheckpointResult
    from tito.course.classroom import Row
    from tito.course.grading import Result, StepResult
    from tito.course.modules import Module
    from tito.course.running import Failure

LONGEST = 100  # characters of a message in the table of a class
UNWRITTEN = ": yours to write"  # the end of the message that a blank body raises
ANSWERS: Mapping[CheckpointState, str] = {
    "passed": "yes",
    "failed": "not yet",
    "changed": "test again",
    "ready": "ready",
    "locked": "later",
}
ANSWER_STYLE = {"passed": "green", "failed": "red", "changed": "yellow", "ready": "bold", "locked": "dim"}
STATE_STYLE = {"complete": "green", "started": "yellow", "open": "bold", "locked": "dim"}


def list_modules(progress: Progress) -> RenderableType:
    """Return one line for each module."""
    made = table("module", "", "", "steps", right=["steps"])
    for one in progress.modules:
        steps = f"{one.passed}/{one.total}" if one.state in ("started", "complete") else str(one.total or "")
        made.add_row(one.module.key, one.module.title, Text(state_of(one), style=STATE_STYLE[one.state]), steps)
    return made


def state_of(one: ModuleProgress) -> str:
    """Return a module's state in words."""
    if one.state == "locked":
        return "later"
    return (one.remark if one.state == "started" else "") or one.state


def show_result(result: Result) -> RenderableType:
    """Return the steps of a graded module, a line each, and the first failure."""
    parts: list[RenderableType] = [Text(result.first_line, style="dim"), Text()]
    parts.append(indented(_steps(result)))
    if result.contract:
        parts += [Text(), indented(Group(*(Text(shortened(one.text()), style="red") for one in result.contract)))]
    first = result.first
    failure = first.failed if first and first.failed else result.problem
    if failure is not None and not result.contract:
        parts += [Text(), show_failure(failure)]
    if result.blamed:
        names = ", ".join(module.label for module in result.blamed)
        parts.append(indented(Text(f"it passes with the reference's {names}: look there first", style="yellow")))
    if result.beyond:
        tests = [("does not grade", f"{one.test}: {one.why}") for one in result.beyond]
        parts += [Text(), lines(tests)]
    return Group(*parts)


def _steps(result: Result) -> Table:
    made = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    made.add_column(no_wrap=True)
    made.add_column(justify="right", no_wrap=True)
    made.add_column(overflow="fold")
    made.add_column(no_wrap=True)
    for step in result.steps:
        sign, style = _sign(step)
        made.add_row(Text(sign, style=style), str(step.index + 1), step.step.title, Text(_count(step), style="dim"))
    return made


def _sign(step: StepResult) -> tuple[str, str]:
    if step.passed:
        return "✓", "green"
    if not step.run or is_unwritten(step.failed):
        return "·", "dim"
    return "✗", "red"


def is_unwritten(failure: Failure | None) -> bool:
    """Return whether a test failed because the learner has not written a body yet."""
    return failure is not None and UNWRITTEN in failure.why


def _count(step: StepResult) -> str:
    if not step.run:
        return "not run"
    if is_unwritten(step.failed):
        return "to write"
    tests = f"{step.tests} test{'s' * (step.tests != 1)}"
    return tests if step.passed else f"{step.green} of {tests}"


def show_failure(failure: Failure) -> RenderableType:
    """Return what a test expected, what it got, why, and where."""
    got = None if failure.got == failure.why else failure.got
    pairs = [("expected", failure.expected), ("got", got), ("why", failure.why), ("at", place_of(failure))]
    title = Text(failure.test or "the tests could not be run", style="bold")
    return Group(indented(title), Padding(lines([(name, text) for name, text in pairs if text]), (0, 0, 0, 2)))


def place_of(failure: Failure) -> str | None:
    """Return the file and line of a failure, as a path from the working directory."""
    if failure.file is None:
        return None
    path = shortened(failure.file)
    return path if failure.line is None else f"{path}:{failure.line}"


def shortened(text: str) -> str:
    """Return a text that begins with an absolute path with a path from the working directory, if it is below it."""
    here = f"{Path.cwd()}{os.sep}"
    return text.removeprefix(here)


def show_checkpoint(result: CheckpointResult, first_line: str) -> RenderableType:
    """Return what the test of a checkpoint found."""
    one = result.checkpoint
    answer = Text("yes", style="bold green") if result.ok else Text("not yet", style="bold red")
    count = f"{result.passed} of {result.total} tests"
    parts: list[RenderableType] = [
        Text(first_line, style="dim"),
        Text(),
        indented(
            Text.assemble((f"{one.key} {one.name}", "bold"), f"  {one.question}  ", answer, (f"  {count}", "dim"))
        ),
    ]
    if result.failure is not None:
        parts += [Text(), show_failure(result.failure)]
    return Group(*parts)


def show_hint(title: str, number: int, total: int, names: Sequence[str], hint: str) -> RenderableType:
    """Return the hint of a step."""
    return Group(
        Text(f"step {number} of {total}: {title}", style="bold"),
        Text(f"you write: {', '.join(names)}", style="dim"),
        Text(),
        Padding(Text(" ".join(hint.split())), (0, 2, 0, 2)),
    )


def show_standing(progress: Progress, command: str | None) -> RenderableType:
    """Return the modules that are started or complete, and what to do next."""
    begun = Progress(tuple(one for one in progress.modules if one.state in ("started", "complete")))
    parts: list[RenderableType] = list(_begun(begun))
    parts.append(Text(f"next: {command}" if command else "all modules are complete"))
    return Group(*parts)


def _begun(progress: Progress) -> Iterator[RenderableType]:
    if not progress.modules:
        yield Text("no module is started yet")
        return
    yield list_modules(progress)
    yield Text()


def list_checkpoints(journey: Journey) -> RenderableType:
    """Return one line for each checkpoint: its question, and the answer."""
    made = table("", "checkpoint", "", "")
    made.padding = (0, 2, 0, 0)  # so that a line fits 60 columns
    for one, state in journey.checkpoints:
        made.add_row(one.key, one.name, one.question, Text(ANSWERS[state], style=ANSWER_STYLE[state]))
    return made


def list_milestones(journey: Journey, titles: Mapping[str, str]) -> RenderableType:
    """Return one line for each milestone."""
    made = table("milestone", "year", "", "")
    for stop in journey.stops:
        one = stop.milestone
        state = Text("unlocked", style="green") if stop.unlocked else Text(f"after {one.after_module:02}", style="dim")
        made.add_row(Text(one.suite, style="bold"), str(one.year), titles.get(one.suite, ""), state)
    return made


def list_class(rows: Sequence[Row], modules: Sequence[Module]) -> RenderableType:
    """Return one line for each student: the steps that pass in each module, and the first message."""
    shown = [module for module in modules if any(row.grades[module.key].steps for row in rows)]
    made = table("student", *(module.key for module in shown), "first message", right=[m.key for m in shown])
    for row in rows:
        cells = []
        for module in shown:
            grade = row.grades[module.key]
            full = bool(grade.steps) and grade.passed == len(grade.steps)
            text = f"{grade.passed}/{len(grade.steps)}" if grade.steps else "-"
            cells.append(Text(text, style="green" if full else ""))
        messages = [row.grades[module.key].message for module in shown]
        first = next((text for text in messages if text and text != "not started"), "")
        made.add_row(Text(printable(row.student), style="bold"), *cells, Text(cut(first, LONGEST), style="dim"))
    return made
