"""`tito grade`: for teachers, a class in one table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tito.cli.console import console, group, project, show, write
from tito.cli.retest import check_pytest

if TYPE_CHECKING:
    from tito.course.classroom import Row

grades = group("Grade a class.")


@grades.command("grade")
def grade(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Contains a workspace for each student.")],
    modules: Annotated[str, typer.Option(metavar="2-8", help="The modules, e.g. 2-8 or 2,4.")] = "1-20",
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Students at the same time; default: the cores.")
    ] = None,
) -> None:
    """Grade a class: FOLDER/grades.csv and grades.json.

    Only the numbered files count. A run that was interrupted continues where it stopped. Students' code runs as you,
    without a sandbox.
    """
    from tito.course.classroom import CSV, JSON, grade_class, parse_modules
    from tito.terminal.grading import list_class

    here, chosen = project(), parse_modules(modules)
    check_pytest()
    place = folder.expanduser().resolve()
    progress = console(stderr=True)

    def report(row: Row, done: int, total: int) -> None:
        progress.print(f"  {done}/{total} {row.student}", style="dim", soft_wrap=True)

    rows = grade_class(here, place, chosen, report, workers)
    show(list_class(rows, chosen))
    write(f"\n{place / CSV}\n{place / JSON}")
