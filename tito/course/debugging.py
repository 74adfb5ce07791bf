"""pytest in the foreground, with the debugger, on the learner's own files."""

from __future__ import annotations

import os
import subprocess
import sys

from tito import overlay
from tito.course.exercise import Exercise
from tito.course.finding import find_step
from tito.course.inside import CONFIGURATION
from tito.course.workspace import Workspace
from tito.files import scratch
from tito.project import Project


def debug(project: Project, workspace: Workspace, exercise: Exercise, part: str | None = None) -> int:
    """Run the graded tests of a module, or of one step, until one fails; it then stops in pdb. Return the exit code.

    There is no time limit, because a person is thinking.
    """
    steps = exercise.steps if part is None else (exercise.steps[find_step(exercise, part)],)
    module = exercise.module
    files = {name: str(file) for name, file in workspace.files(module).items()}
    plan = overlay.Plan(files, str(project.root), module.number)
    with scratch("debug") as folder:
        configuration = folder / "pytest.ini"
        configuration.write_text(CONFIGURATION, encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-c", str(configuration), "--rootdir", str(project.root)]
        command += ["--confcutdir", str(project.root), "--import-mode=importlib", "-p", "no:cacheprovider"]
        command += ["-q", "-x", "--pdb", "-m", "not beyond", *tests_of(exercise, [t for s in steps for t in s.tests])]
        sys.stderr.write(f"{overlay.describe(plan)}\n")
        variables = os.environ | overlay.environment(plan, folder)
        return subprocess.run(command, env=variables, cwd=folder, check=False).returncode


def tests_of(exercise: Exercise, wanted: list[str]) -> list[str]:
    """Return tests as pytest spells them, with their files."""
    found = []
    for test in wanted:
        file, _, rest = test.partition("::")
        if file.endswith(".py"):
            found.append(f"{exercise.path.parent / file}::{rest}")
            continue
        function = test.partition("[")[0].rpartition("::")[2]
        for path in exercise.test_files:
            if f"def {function}(" in path.read_text(encoding="utf-8"):
                found.append(f"{path}::{test}")
    return found
