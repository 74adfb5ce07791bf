"""Grading a class: a folder of workspaces, one for each student, in processes of their own.

    rows = grade_class(project, folder, modules, report)      # folder/grades.json and grades.csv

Each student is graded by one process, `python -m tito.course.grader`, on a private copy of their numbered files only:
their states, tests, and other files do not count. Results are kept after each student, so that an interrupted run
continues where it stopped. This is no sandbox: students' code runs as the user who grades.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tito.course.modules import MODULES, Module, find_module
from tito.course.state import hashes
from tito.course.workspace import Workspace, write
from tito.errors import CourseError, printable
from tito.files import LARGE_BYTES, read_plain
from tito.project import Project

VERSION = 1
TICK = 0.05  # seconds between two looks at the graders
JSON, CSV = "grades.json", "grades.csv"


@dataclass(frozen=True)
class ModuleGrade:
    """What was found in one module of one student.

    Attributes:
        steps: for each step, whether it passed; None if its tests were not run.
        message: the first failure in one line; "" if all passed.
        equal: the share of the bodies to write that are equal to the reference's, without layout and comments.
        seconds: how long grading took.
    """

    steps: tuple[bool | None, ...]
    message: str = ""
    equal: float | None = None
    seconds: float = 0.0

    @property
    def passed(self) -> int:
        """The number of steps that passed."""
        return sum(step is True for step in self.steps)


@dataclass(frozen=True)
class Row:
    """One student: a grade for each module, by its key."""

    student: str
    fingerprint: str
    grades: dict[str, ModuleGrade] = field(default_factory=dict)


def find_students(folder: Path) -> list[Path]:
    """Return the workspaces in a folder: its subfolders, or the folder workspace/ in a subfolder, sorted by name.

    Raises:
        CourseError: there is no such folder, or no workspace is in it.
    """
    if not folder.is_dir():
        raise CourseError(f"{folder}: no such folder: expected one that contains a workspace for each student")
    found = []
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.name.startswith("."):
            inner = path / "workspace"
            found.append(inner if inner.is_dir() and not any(path.glob("[0-9][0-9]_*.py")) else path)
    if not any(True for path in found for _ in path.glob("[0-9][0-9]_*.py")):
        raise CourseError(f"{folder}: no workspace in it: expected subfolders with files such as 02_tensor.py")
    return found


def student_name(folder: Path, workspace: Path) -> str:
    """Return the name of a student: that of the subfolder."""
    return workspace.relative_to(folder).parts[0]


def parse_modules(text: str) -> list[Module]:
    """Return the modules that a teacher chooses: "2-8", "02,04", or "tensor".

    Raises:
        CourseError: a part is no module, or a range is empty.
    """
    chosen: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        begin = find_module(first).number
        end = find_module(last).number if dash else begin
        if end < begin:
            raise CourseError(f"--modules {part}: expected the first module before the last, e.g. 2-8")
        chosen |= set(range(begin, end + 1))
    return [MODULES[number - 1] for number in sorted(chosen)]


def grade_class(
    project: Project,
    folder: Path,
    modules: Sequence[Module],
    report: Callable[[Row, int, int], None] = lambda row, done, total: None,
    workers: int | None = None,
) -> list[Row]:
    """Grade all students, keep the results in the folder, and return a row for each student.

    Args:
        project: the checkout with the reference and the tests.
        folder: a subfolder for each student.
        modules: the modules to grade.
        report: called with each row, and how many of all students are done.
        workers: students that are graded at the same time; as many as there are cores if None.

    Raises:
        CourseError: the folder is not a class.
        OSError: the results cannot be written.
    """
    students = find_students(folder)
    kept = read_rows(folder)
    rows: dict[str, Row] = {}
    waiting: list[tuple[str, Path, str]] = []
    for workspace in students:
        name = student_name(folder, workspace)
        mark = fingerprint(project, workspace, modules)
        if name in kept and kept[name].fingerprint == mark:
            rows[name] = kept[name]
            report(rows[name], len(rows), len(students))
        else:
            waiting.append((name, workspace, mark))
    write_rows(folder, rows, modules, project)  # an unwritable folder is found before the work
    for row in _graded(project, waiting, modules, workers or len(os.sched_getaffinity(0))):
        rows[row.student] = row
        write_rows(folder, rows, modules, project)
        report(row, len(rows), len(students))
    return [rows[name] for name in sorted(rows)]


def fingerprint(project: Project, workspace: Path, modules: Sequence[Module]) -> str:
    """Return a hash of everything that a student's grades depend on."""
    parts = [hashes(project, Workspace(workspace), module) for module in modules]
    text = json.dumps([VERSION, [module.key for module in modules], parts])
    return hashlib.sha256(text.encode()).hexdigest()


# Processes ----------------------------------------------------------------------------------------------


def _graded(
    project: Project, waiting: list[tuple[str, Path, str]], modules: Sequence[Module], workers: int
) -> Iterator[Row]:
    """Grade students in several processes, and yield each row as it is found."""
    running: list[tuple[subprocess.Popen[str], str, str]] = []
    todo = iter(waiting)
    try:
        while True:
            while len(running) < workers and (student := next(todo, None)):
                name, workspace, mark = student
                running.append((_start(project, workspace, modules), name, mark))
            if not running:
                return
            ended = [one for one in running if one[0].poll() is not None]
            for process, name, mark in ended:
                yield Row(name, mark, _grades(process, modules))
            running = [one for one in running if one not in ended]
            if not ended:
                time.sleep(TICK)
    finally:
        for process, _, _ in running:
            process.terminate()
            process.wait()


def _start(project: Project, workspace: Path, modules: Sequence[Module]) -> subprocess.Popen[str]:
    job = {"root": str(project.root), "workspace": str(workspace), "modules": [module.number for module in modules]}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "tito.course.grader"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *_path()]), "PYTHONUTF8": "1"},
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(job))
    process.stdin.close()
    return process


def _path() -> list[str]:
    return [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]


def _grades(process: subprocess.Popen[str], modules: Sequence[Module]) -> dict[str, ModuleGrade]:
    """Return what a grader wrote; a module that is missing in it was not graded."""
    assert process.stdout is not None
    found: dict[str, ModuleGrade] = {}
    with process.stdout:
        for line in process.stdout:
            try:
                document = json.loads(line)
                found[document.pop("module")] = _grade_of(document)
            except (ValueError, TypeError, KeyError, AttributeError):
                continue  # half a line of a process that was killed
    why = f"the grading process ended with code {process.returncode}"
    return {module.key: found.get(module.key) or ModuleGrade((), why) for module in modules}


# Results ------------------------------------------------------------------------------------------------


def read_rows(folder: Path) -> dict[str, Row]:
    """Return the rows that were kept, by student; none if the file is missing or damaged."""
    try:
        document = json.loads(read_plain(folder / JSON, LARGE_BYTES))
        if document["version"] != VERSION:
            return {}
        return {
            one["student"]: Row(
                one["student"], one["fingerprint"], {key: _grade_of(value) for key, value in one["grades"].items()}
            )
            for one in document["students"]
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _grade_of(document: dict[str, Any]) -> ModuleGrade:
    steps = tuple(None if step is None else bool(step) for step in document["steps"])
    return ModuleGrade(steps, str(document["message"]), document["equal"], float(document["seconds"]))


def write_rows(folder: Path, rows: dict[str, Row], modules: Sequence[Module], project: Project) -> None:
    """Write grades.json and grades.csv, each whole or not at all."""
    ordered = [rows[name] for name in sorted(rows)]
    students = [
        {"student": row.student, "fingerprint": row.fingerprint, "grades": {k: vars(v) for k, v in row.grades.items()}}
        for row in ordered
    ]
    document = {"version": VERSION, "modules": [module.key for module in modules], "students": students}
    write(folder / JSON, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    write(folder / CSV, as_csv(ordered, modules, _step_counts(project, modules)))


def _step_counts(project: Project, modules: Sequence[Module]) -> dict[str, int]:
    from tito.course.progress import count_steps

    return {m.key: count_steps(project.root / "modules" / m.folder / "exercise.toml") for m in modules}


def as_csv(rows: Sequence[Row], modules: Sequence[Module], steps: dict[str, int]) -> str:
    """Return the grades as a table: for each module a cell for each step, the first message, and the equal share.

    A step is 1, 0, or empty if it was not run. Cells that a spreadsheet would run as a formula get an apostrophe.
    """
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    head = ["student"]
    for module in modules:
        head += [f"{module.key}.{i + 1}" for i in range(steps[module.key])]
        head += [f"{module.key} message", f"{module.key} equal"]
    table.writerow(head)
    for row in rows:
        cells = [harmless(row.student)]
        for module in modules:
            grade = row.grades[module.key]
            marks = ["" if step is None else str(int(step)) for step in grade.steps]
            marks += [""] * (steps[module.key] - len(marks))
            equal = "" if grade.equal is None else f"{grade.equal:.2f}"
            cells += [*marks, harmless(grade.message), equal]
        table.writerow(cells)
    return out.getvalue()


def harmless(text: str) -> str:
    """Return a text that a spreadsheet shows as it is.

    >>> harmless("=1+1")
    "'=1+1"
    """
    text = printable(text)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text
