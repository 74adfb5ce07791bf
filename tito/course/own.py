"""Python with the learner's own modules: which ones, and in which environment."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection
from pathlib import Path

from tito import overlay
from tito.course.modules import MODULES, Module
from tito.course.workspace import Workspace
from tito.project import Project


def own_plan(project: Project, workspace: Workspace, borrow: Collection[Module] = ()) -> overlay.Plan:
    """Return the plan in which every module of the workspace is the learner's, except the borrowed ones."""
    borrowed = {module.name for module in borrow}
    files = {name: str(file) for name, file in workspace.files(MODULES[-1]).items() if name not in borrowed}
    return overlay.Plan(files, str(project.root))


def own_environment(plan: overlay.Plan, workspace: Workspace) -> dict[str, str]:
    """Return the variables with which other processes use the plan.

    The stand-in is in the workspace, or in a temporary folder if the workspace cannot be written to.
    """
    try:
        return overlay.environment(plan, workspace.private / "stand-in")
    except OSError:
        folder = Path(tempfile.gettempdir()) / f"tito-stand-in-{os.getuid()}"
        return overlay.environment(plan, folder)
