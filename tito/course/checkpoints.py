"""The tests of the checkpoints on the learner's own files, and their states.

A state is read off the files: it counts only for the learner's files and the test that it was found with.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tito.course.journey import CheckpointState
from tito.course.modules import CHECKPOINTS, Checkpoint, module_number
from tito.course.workspace import Workspace, digest, write
from tito.errors import CourseError
from tito.files import read_plain
from tito.project import Project

if TYPE_CHECKING:  # tito checkpoint status runs nothing
    from tito.course.running import Failure

SECONDS = 60.0
VERSION = 1


@dataclass(frozen=True)
class CheckpointResult:
    """What the test of a checkpoint found.

    Attributes:
        checkpoint: the checkpoint.
        passed: the number of tests that passed.
        total: the number of tests.
        failure: the first failure; None if all passed.
    """

    checkpoint: Checkpoint
    passed: int
    total: int
    failure: Failure | None

    @property
    def ok(self) -> bool:
        """Whether the learner can answer the question with yes."""
        return self.failure is None and self.passed == self.total > 0


def test_file(project: Project, checkpoint: Checkpoint) -> Path:
    """Return where the test of a checkpoint is.

    Raises:
        CourseError: this checkout has none.
    """
    path = project.root / "modules" / "checkpoints" / f"test_{checkpoint.key}_{checkpoint.name.lower()}.py"
    if not path.is_file():
        raise CourseError(f"{path}: checkpoint {checkpoint.key} has no test in this checkout")
    return path


def own_files(workspace: Workspace, checkpoint: Checkpoint) -> dict[str, Path]:
    """Return the learner's files that the test of a checkpoint runs on.

    Raises:
        CourseError: a module of the checkpoint is not started, or its file is missing.
    """
    for number in checkpoint.modules:
        workspace.require(module_number(number))
    return workspace.files(module_number(max(checkpoint.modules)))


def test_checkpoint(project: Project, workspace: Workspace, checkpoint: Checkpoint) -> CheckpointResult:
    """Run the test of a checkpoint on the learner's files, and keep what it found.

    Modules that the learner has not started come from the reference; later ones are hidden.

    Raises:
        CourseError: a module of the checkpoint is not started.
    """
    from tito.course.running import Run, run

    test, files = test_file(project, checkpoint), own_files(workspace, checkpoint)
    before = fingerprint(project, workspace, checkpoint)
    (outcome,) = run(project, [test], [Run(files, max(checkpoint.modules))], seconds=SECONDS)
    failures = list(outcome.failures.values())
    first = failures[0] if failures else outcome.problem
    total = len(outcome.collected) or len(outcome.passed) + len(failures)
    result = CheckpointResult(checkpoint, len(outcome.passed), total, first)
    document = {"version": VERSION, "fingerprint": before, "passed": result.ok}
    with workspace.lock():
        write(_state_file(workspace, checkpoint), json.dumps(document))
    return result


def checkpoint_states(project: Project, workspace: Workspace) -> dict[int, CheckpointState]:
    """Return the state of each checkpoint that was tested: passed, failed, or changed since."""
    states: dict[int, CheckpointState] = {}
    for checkpoint in CHECKPOINTS:
        kept = _read(_state_file(workspace, checkpoint))
        if kept is None:
            continue
        if kept["fingerprint"] != fingerprint(project, workspace, checkpoint):
            states[checkpoint.number] = "changed"
        else:
            states[checkpoint.number] = "passed" if kept["passed"] is True else "failed"
    return states


def fingerprint(project: Project, workspace: Workspace, checkpoint: Checkpoint) -> str:
    """Return a hash of everything that a test of the checkpoint depends on."""
    files = workspace.files(module_number(max(checkpoint.modules)))
    folder = project.root / "modules" / "checkpoints"
    tests = sorted(folder.glob(f"test_{checkpoint.key}_*.py"))
    return hashlib.sha256(f"{digest(*tests)} {digest(*files.values())}".encode()).hexdigest()


def _state_file(workspace: Workspace, checkpoint: Checkpoint) -> Path:
    return workspace.private / f"checkpoint-{checkpoint.key}.json"


def _read(path: Path) -> dict[str, Any] | None:
    """Return a kept state; None if it is missing or damaged, because a new test replaces it."""
    try:
        document = json.loads(read_plain(path))
    except (OSError, ValueError):
        return None
    whole = isinstance(document, dict) and document.get("version") == VERSION
    return document if whole and {"fingerprint", "passed"} <= document.keys() else None
