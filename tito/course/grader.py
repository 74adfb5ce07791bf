"""The process that grades one student of a class: a job as JSON on stdin, a JSON line for each module on stdout."""

from __future__ import annotations

import ast
import json
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tito.course.blank import prepared
from tito.course.exercise import Exercise, load_exercise
from tito.course.grading import Result, grade
from tito.course.modules import MODULES, Module
from tito.course.source import Function, Source
from tito.course.workspace import LARGEST, Workspace
from tito.errors import CourseError, TitoError, printable
from tito.files import read_plain, scratch
from tito.project import Project, find_project

LONGEST = 300  # characters of a message


def main() -> None:
    """Grade the modules of the job on stdin."""
    job = json.load(sys.stdin)
    project = find_project(Path(job["root"]))
    for line in grade_student(project, Path(job["workspace"]), [MODULES[n - 1] for n in job["modules"]]):
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def grade_student(project: Project, workspace: Path, modules: list[Module]) -> Iterator[dict[str, Any]]:
    """Yield the grade of each module.

    A file that cannot be tested (it hangs, ends the process, or breaks its contract) counts for its own module only:
    for later modules, the reference stands in, and their messages say so.
    """
    with scratch("class") as folder:
        private, refused = Workspace(folder), copy_files(workspace, folder)
        broken: list[str] = []
        for module in modules:
            began = time.monotonic()
            line: dict[str, Any] = {"module": module.key, "steps": [], "message": "", "equal": None}
            if module.number in refused:
                line["message"] = refused[module.number]
            elif not private.has(module):
                line["message"] = "not started"
            else:
                result = _graded(project, private, module, line)
                if result is not None and broken and not result.complete:
                    line["message"] += f" (with the reference's {', '.join(broken)})"
                if result is None or result.contract or result.problem:
                    broken.append(module.label)
                    private.file(module).unlink(missing_ok=True)
            yield line | {
                "message": one_line(line["message"], str(folder)),
                "seconds": round(time.monotonic() - began, 2),
            }


def _graded(project: Project, private: Workspace, module: Module, line: dict[str, Any]) -> Result | None:
    """Grade one module, and write what was found into the line; None if it could not be graded."""
    try:
        exercise = load_exercise(project, module)
        line["equal"] = equal_share(exercise, private.file(module))
        result = grade(project, private, module, save=False)
    except (TitoError, OSError) as error:
        line["message"] = str(error)
        return None
    line["steps"] = [step.passed if step.run or step.passed else None for step in result.steps]
    line["message"] = message_of(result)
    return result


def copy_files(source: Path, target: Path) -> dict[int, str]:
    """Copy a student's numbered files, and return why others were refused, by module number."""
    refused = {}
    for module in MODULES:
        path = source / module.file
        try:
            facts = path.lstat()
            if not stat.S_ISREG(facts.st_mode):
                refused[module.number] = f"{module.file}: not a regular file"
            elif facts.st_size > LARGEST:
                refused[module.number] = f"{module.file}: {facts.st_size} bytes: expected at most {LARGEST}"
            else:
                (target / module.file).write_bytes(read_plain(path))
        except FileNotFoundError:
            continue
        except OSError as error:
            refused[module.number] = f"{module.file}: {error.strerror}"
    return refused


def message_of(result: Result) -> str:
    """Return the first thing that is wrong, in one line; "" if nothing is."""
    if result.contract:
        return result.contract[0].text()
    failure = result.first.failed if result.first and result.first.failed else result.problem
    if failure is None:
        return ""
    place = f"{failure.file}:{failure.line}: " if failure.file and failure.line else ""
    sides = f"; expected {failure.expected}, got {failure.got}" if failure.expected and failure.got else ""
    blamed = ", ".join(module.label for module in result.blamed)
    cause = f"; it passes with the reference's {blamed}" if blamed else ""
    test = f"{failure.test}: " if failure.test else ""
    return f"{place}{test}{failure.why}{sides}{cause}"


def one_line(text: str, folder: str) -> str:
    """Return a message in one line without the private folder's path.

    >>> one_line("/tmp/x/02_tensor.py:3: a\\nb", "/tmp/x")
    '02_tensor.py:3: a b'
    """
    text = printable(" ".join(text.replace(f"{folder}/", "").split()))
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ..."


def equal_share(exercise: Exercise, path: Path) -> float | None:
    """Return the share of the bodies that are equal to the reference's; None if the file cannot be read."""
    try:
        mine = read_plain(path).decode("utf-8-sig")
        ast.parse(mine)
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    own, reference = Source(mine, str(path)), Source(prepared(exercise.source(), exercise))
    return sum(_shape(own, name) == _shape(reference, name) for name in exercise.names) / len(exercise.names)


def _shape(source: Source, name: str) -> str | None:
    """Return a body without layout, comments, and docstring; None if there is no such name."""
    try:
        node = source.find(name)
    except CourseError:
        return None
    if not isinstance(node, Function):
        return ast.dump(node)
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return "\n".join(map(ast.dump, body))


if __name__ == "__main__":
    main()
