"""Shell completion: the names that an argument may have, for `autocompletion=` of its parameter.

Reads names of folders and files, and the tables of the course; it parses no suite and no record, so that Tab answers
at once. A project that cannot be found completes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer

from tito.errors import TitoError


def suites(incomplete: str) -> list[str]:
    """Complete the name of a suite."""
    folders = (file.parent.name for file in _folder("suites").glob("*/suite.yaml"))
    return _starting(incomplete, (name.partition("_")[2] for name in sorted(folders) if not name.startswith(".")))


def records(incomplete: str) -> list[str]:
    """Complete the id of a record, newest first, or the name of a suite that has records."""
    found = sorted((file.stem for file in _folder("reports").glob("records/*/*.json")), reverse=True)
    return _starting(incomplete, [*recorded_suites(incomplete), *found])


def recorded_suites(incomplete: str) -> list[str]:
    """Complete the name of a suite that has records."""
    return _starting(incomplete, sorted(path.name for path in _folder("reports").glob("records/*") if path.is_dir()))


def modules(incomplete: str) -> list[str]:
    """Complete a module of the course, by number or by name."""
    from tito.course.modules import MODULES

    return _starting(incomplete, [*(one.key for one in MODULES), *(one.name for one in MODULES)])


def checkpoints(incomplete: str) -> list[str]:
    """Complete a checkpoint of the course, by number or by name."""
    from tito.course.modules import CHECKPOINTS

    return _starting(incomplete, [*(one.key for one in CHECKPOINTS), *(one.name.lower() for one in CHECKPOINTS)])


def milestones(incomplete: str) -> list[str]:
    """Complete the name of a milestone."""
    from tito.course.modules import MILESTONES

    return _starting(incomplete, (one.suite for one in MILESTONES))


def data_sets(incomplete: str) -> list[str]:
    """Complete the name of a data set."""
    from tinytorch.datasets.catalogue import CATALOGUE

    return _starting(incomplete, CATALOGUE)


def backends(incomplete: str) -> list[str]:
    """Complete the name of a kernel backend."""
    from tinytorch.native.backend import BACKENDS

    return _starting(incomplete, BACKENDS)


def cases(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete a case of the suite that the command line names before it."""
    return _starting(incomplete, (case.name for case in _cases(ctx)))


def gates(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete METRIC= for the gates of the suite that the command line names before it."""
    return _starting(incomplete, dict.fromkeys(f"{gate.metric}=" for case in _cases(ctx) for gate in case.gates))


def tracks(incomplete: str) -> list[str]:
    """Complete a track of the competition."""
    from tito.cli.console import project
    from tito.compete.rules import load_rules

    try:
        return _starting(incomplete, load_rules(project()).tracks)
    except (TitoError, OSError):
        return []


def _cases(ctx: typer.Context) -> list[Any]:
    """Return the cases of the suite that the command line names before an option without its value."""
    from tito.bench.suites import find_suite
    from tito.cli.console import project

    try:
        name = ctx.params.get("name") or next(iter(ctx.args), "")
        return list(find_suite(project().suites, name).suite.cases)
    except TitoError:
        return []


def _folder(name: str) -> Path:
    """Return a folder of the project, or one that does not exist."""
    from tito.cli.console import project

    try:
        return project().root / name
    except TitoError:
        return Path("/nonexistent")


def _starting(text: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(text)]
