"""A learner's way through the whole course: `python -m tito.course.walk [--milestones]`.

In an empty workspace, each module is started, tested blank, filled with its plain answer, and completed. As soon as
its modules are complete, each checkpoint is tested, and with `--milestones` each milestone is run in its quick version
on the workspace's code. Everything but the answers is done as the commands do it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from tito.course.checkpoints import test_checkpoint
from tito.course.exercise import load_exercise
from tito.course.grading import Result, grade
from tito.course.modules import CHECKPOINTS, MILESTONES, MODULES, Milestone, Module
from tito.course.progress import progress
from tito.course.proof import plain_answer
from tito.course.workspace import VARIABLE, Workspace, write
from tito.errors import CourseError
from tito.files import scratch
from tito.project import Project, find_project

Say = Callable[[str], None]


def walk(project: Project, workspace: Workspace, say: Say, milestones: bool = False) -> list[str]:
    """Walk through the course, and return what went wrong.

    Args:
        project: the checkout.
        workspace: an empty workspace.
        say: called with a line for each module, checkpoint, and milestone.
        milestones: whether to run the milestones.
    """
    problems: list[str] = []

    def note(line: str, wrong: str = "") -> None:
        say(f"{line}{f': {wrong}' if wrong else ''}")
        problems.extend([f"{line}: {wrong}"] if wrong else [])

    for module in MODULES:
        started = time.monotonic()
        try:
            wrong = _module(project, workspace, module)
        except CourseError as error:
            wrong = str(error)
        note(f"module {module.label}, {time.monotonic() - started:.0f} s", wrong)
        for checkpoint in CHECKPOINTS:
            if max(checkpoint.modules) == module.number:
                started = time.monotonic()
                result = test_checkpoint(project, workspace, checkpoint)
                failure = "" if result.ok else f"{result.passed} of {result.total} tests passed; {result.failure}"
                note(f"checkpoint {checkpoint.key} {checkpoint.name}, {time.monotonic() - started:.0f} s", failure)
        for milestone in MILESTONES:
            if milestones and milestone.after_module == module.number:
                started = time.monotonic()
                code = _milestone(project, workspace, milestone)
                failure = f"tito exited with code {code}" if code else ""
                note(f"milestone {milestone.year} {milestone.suite}, {time.monotonic() - started:.0f} s", failure)
    return problems


def _module(project: Project, workspace: Workspace, module: Module) -> str:
    """Start, test, and complete one module, and return what went wrong."""
    exercise = load_exercise(project, module)
    workspace.start(exercise)
    blank = grade(project, workspace, module)
    if blank.complete or blank.problem or blank.contract:
        return f"the blank file is {'complete' if blank.complete else _first(blank)}"
    write(workspace.file(module), plain_answer(exercise))
    result = grade(project, workspace, module)
    if not result.complete:
        return _first(result)
    return "" if module.number in progress(project, workspace).complete else "its state is not complete"


def _first(result: Result) -> str:
    """Return the first thing that is wrong."""
    if result.contract:
        return result.contract[0].text()
    failure = result.problem or (result.first.failed if result.first else None)
    return f"{failure.test} {failure.why}" if failure else f"{result.passed} of {len(result.steps)} steps passed"


def _milestone(project: Project, workspace: Workspace, milestone: Milestone) -> int:
    """Run the quick version of a milestone on the workspace's code, and return the exit code."""
    variables = os.environ | {VARIABLE: str(workspace.path), "TITO_ROOT": str(project.root)}
    command = [sys.executable, "-m", "tito", "milestone", "run", milestone.suite, "--quick", "--mine"]
    return subprocess.run(command, env=variables, stdout=sys.stderr, check=False).returncode


def main(arguments: Sequence[str] | None = None) -> int:
    """Walk through the course in a temporary workspace; return 1 if anything went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tito.course.walk", description="Walk through the whole course.")
    parser.add_argument("--milestones", action="store_true", help="run the six milestones on the workspace's code")
    options = parser.parse_args(arguments)

    def say(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    with scratch("walk") as folder:
        problems = walk(find_project(), Workspace(folder / "workspace"), say, options.milestones)
    passed = "the whole course can be completed" if not problems else f"{len(problems)} problems"
    say(f"{len(MODULES)} modules, {len(CHECKPOINTS)} checkpoints: {passed}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
