"""Where a learner stands, read from the files: no test runs, and nothing is imported that takes long."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tito.course.modules import MODULES, Module
from tito.course.state import is_stale, load_state
from tito.course.workspace import Workspace
from tito.files import read_plain
from tito.project import Project

Standing = Literal["locked", "open", "started", "complete"]


@dataclass(frozen=True)
class ModuleProgress:
    """Where a learner stands in one module.

    Attributes:
        module: the module.
        state: "locked" while an earlier module is not complete, "open", "started", or "complete".
        passed: the number of steps that passed in the last test.
        total: the number of steps; 0 if the module has no exercise in this checkout.
        stale: whether the files or tests have changed since then.
        missing: whether the module was started, and its file is not there any more.
    """

    module: Module
    state: Standing
    passed: int
    total: int
    stale: bool
    missing: bool = False

    @property
    def remark(self) -> str:
        """What the last test is no longer worth, in words; "" if it still counts."""
        return "file missing" if self.missing else "test again" if self.stale else ""


@dataclass(frozen=True)
class Progress:
    """Where a learner stands in every module."""

    modules: tuple[ModuleProgress, ...]

    @property
    def complete(self) -> frozenset[int]:
        """The numbers of the modules that are complete."""
        return frozenset(one.module.number for one in self.modules if one.state == "complete")

    @property
    def current(self) -> ModuleProgress | None:
        """The first module that is not complete; None if all are."""
        return next((one for one in self.modules if one.state != "complete"), None)


def progress(project: Project, workspace: Workspace) -> Progress:
    """Return where a learner stands.

    Raises:
        CourseError: a newer version of tito has written a state.
    """
    found: list[ModuleProgress] = []
    unlocked = True
    for module in MODULES:
        one = _one(project, workspace, module, unlocked)
        unlocked = unlocked and one.state == "complete"
        found.append(one)
    return Progress(tuple(found))


def _one(project: Project, workspace: Workspace, module: Module, unlocked: bool) -> ModuleProgress:
    total = count_steps(project.root / "modules" / module.folder / "exercise.toml")
    if not workspace.started(module):
        return ModuleProgress(module, "open" if unlocked else "locked", 0, total, False)
    if not workspace.has(module):
        return ModuleProgress(module, "started", 0, total, stale=True, missing=True)
    state = load_state(workspace, module)
    if state is None:
        return ModuleProgress(module, "started", 0, total, stale=True)
    stale = is_stale(project, workspace, module, state)
    done = state.complete and not stale
    return ModuleProgress(module, "complete" if done else "started", len(state.passed), total, stale)


def count_steps(path: Path) -> int:
    """Return the number of steps of an exercise.toml; 0 if it cannot be read."""
    try:
        steps = tomllib.loads(read_plain(path).decode()).get("step")
    except (OSError, ValueError):
        return 0
    return len(steps) if isinstance(steps, list) else 0
