"""Testing again what has changed, before a command relies on it; and whether tests can run at all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tito.cli.console import console, say

if TYPE_CHECKING:
    from tito.course.workspace import Workspace
    from tito.project import Project


def retest(here: Project, workspace: Workspace, numbers: Iterable[int] | None = None) -> None:
    """Test the modules again whose files or tests have changed since the last test, and say what was found.

    Args:
        here: the checkout.
        workspace: the learner's files.
        numbers: test only modules of these numbers; all if None.
    """
    from tito.course.grading import grade, stale_modules

    wanted = None if numbers is None else set(numbers)
    for module in stale_modules(here, workspace):
        if wanted is not None and module.number not in wanted:
            continue
        check_pytest()
        with console(stderr=True).status(f"testing {module.label}"):
            result = grade(here, workspace, module)
        found = "all" if result.complete else f"{result.passed} of {len(result.steps)}"
        say(f"{module.label}: changed since its last test, so it was tested again: {found} steps pass")


def check_pytest() -> None:
    """Check that what the tests need is installed, before anything runs.

    Raises:
        CourseError: it is not.
    """
    from importlib.util import find_spec

    from tito.errors import CourseError

    missing = [name for name in ("pytest", "hypothesis") if find_spec(name) is None]
    if missing:
        raise CourseError(f"{' and '.join(missing)} not installed: python -m pip install -e '.[course]'")
