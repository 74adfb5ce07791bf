"""The folders of this project: suites, reports, and submissions."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tito.errors import TitoError
from tito.files import user_path


@dataclass(frozen=True)
class Project:
    """The folders that the command line works in; `reports` and `submissions` need not exist yet."""

    root: Path
    suites: Path
    reports: Path
    submissions: Path


def find_project(start: Path | None = None) -> Project:
    """Return the project that a command works on.

    The variable TITO_ROOT names it. Without it, the project is the nearest folder that contains suites/ and
    pyproject.toml, from `start` (default: the working directory) upwards. Otherwise it is the checkout that this tito
    was imported from.

    Raises:
        TitoError: none of these is a project.
    """
    named = os.environ.get("TITO_ROOT")
    if named:
        root = user_path(named).resolve()
        if not (root / "suites").is_dir():
            raise TitoError(f"TITO_ROOT={named}: it has no folder suites/; name the root of a checkout")
        return _project(root)
    here = (start or Path.cwd()).resolve()
    checkout = Path(__file__).resolve().parents[1]
    for folder in (here, *here.parents, checkout):
        if (folder / "suites").is_dir() and (folder / "pyproject.toml").is_file():
            return _project(folder)
    raise TitoError(
        f"{here}: not inside a TinyTorch checkout (a folder with suites/ and pyproject.toml); "
        "change into one, or set the variable TITO_ROOT"
    )


def _project(root: Path) -> Project:
    return Project(root, root / "suites", root / "reports", root / "submissions")
