"""The state of a module: which steps passed, and for which content of the files. It can always be rebuilt by testing.

`workspace/.tito/02.json` is one JSON document, written atomically. It holds hashes of the learner's files and of the
tests. A state whose hashes differ from the files is stale: the module has to be tested again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tito.course.modules import Module
from tito.course.workspace import Workspace, digest, write
from tito.errors import CourseError
from tito.files import read_plain
from tito.project import Project

FORMAT = 1


@dataclass(frozen=True)
class State:
    """What was found when the module was tested last.

    Attributes:
        file: the hash of the module's file.
        earlier: the hashes of the learner's earlier files that were used, by module.
        tests: the hash of the module's tests and exercise.
        passed: the titles of the steps that passed.
        total: the number of steps.
        complete: whether everything passed, including the tests that belong to no step.
    """

    file: str
    earlier: dict[str, str]
    tests: str
    passed: tuple[str, ...]
    total: int
    complete: bool


def hashes(project: Project, workspace: Workspace, module: Module) -> tuple[str, dict[str, str], str]:
    """Return the present hashes: of the module's file, of the earlier files, and of the tests."""
    files = workspace.files(module)
    own = files.pop(module.name, workspace.file(module))
    folder = project.root / "modules" / module.folder
    tests = digest(*sorted(folder.glob("test_*.py")), folder / "exercise.toml")
    return digest(own), {name: digest(file) for name, file in files.items()}, tests


def load_state(workspace: Workspace, module: Module) -> State | None:
    """Return the last state; None if there is none, or if it is corrupt and has to be rebuilt by testing.

    Raises:
        CourseError: a newer version of tito has written it.
    """
    path = workspace.state_file(module)
    try:
        document = json.loads(read_plain(path))
    except (OSError, ValueError):
        return None
    if not isinstance(document, dict):
        return None
    written = document.pop("format", None)
    if isinstance(written, int) and written > FORMAT:
        raise CourseError(
            f"{path}: format {written}, written by a newer tito: expected {FORMAT}; update this checkout, "
            f"or delete the file and test again"
        )
    return _checked(document) if written == FORMAT else None


def _checked(document: dict[str, Any]) -> State | None:
    try:
        state = State(**document)
    except TypeError:
        return None
    texts = [state.file, state.tests, *state.earlier.values()] if isinstance(state.earlier, dict) else [None]
    steps = state.passed if isinstance(state.passed, list) else [None]
    if not all(isinstance(text, str) for text in [*texts, *steps]) or not isinstance(state.total, int):
        return None
    return replace(state, passed=tuple(steps)) if isinstance(state.complete, bool) else None  # type: ignore[arg-type]


def save_state(workspace: Workspace, module: Module, state: State) -> Path:
    """Write a module's state atomically.

    Raises:
        OSError: the workspace cannot be written to; the previous state is intact.
    """
    path = workspace.state_file(module)
    write(path, json.dumps({"format": FORMAT, **asdict(state)}, indent=2) + "\n")
    return path


def is_stale(project: Project, workspace: Workspace, module: Module, state: State) -> bool:
    """Return whether the files or the tests have changed since the state was written."""
    return hashes(project, workspace, module) != (state.file, state.earlier, state.tests)
