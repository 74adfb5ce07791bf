"""`tito checkpoint status | timeline | test`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tito.cli import complete
from tito.cli.console import console, group, project, say, show, write
from tito.cli.retest import check_pytest

if TYPE_CHECKING:
    from tito.course.journey import Journey
    from tito.project import Project

checkpoints = group("The course: 16 questions that you can answer with yes.")


@checkpoints.command("status")
def checkpoint_status() -> None:
    """List the checkpoints, and which of them your files pass."""
    from tito.terminal.grading import list_checkpoints

    show(list_checkpoints(journey_of(project())))


@checkpoints.command("timeline")
def checkpoint_timeline(
    html: Annotated[bool, typer.Option("--html", help="Write it as reports/journey.html.")] = False,
    open_it: Annotated[bool, typer.Option("--open", help="Write the page, and open it in the browser.")] = False,
) -> None:
    """Draw the way from 1957 to 2025, and where you stand on it."""
    from tito.terminal.course import Timeline

    here = project()
    journey = journey_of(here)
    if not (html or open_it):
        show(Timeline(journey))
        return
    from tito.report.journey import write_journey

    page = write_journey(journey, here.reports, titles(here))
    write(page)
    if open_it:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())


@checkpoints.command("test")
def checkpoint_test(
    name: Annotated[
        str, typer.Argument(metavar="NN", help="e.g. 7, 07, or training", autocompletion=complete.checkpoints)
    ],
) -> None:
    """Test a checkpoint on your own files; exit code 1 if the answer is "not yet"."""
    from tito.course.checkpoints import own_files, test_checkpoint
    from tito.course.modules import find_checkpoint
    from tito.course.running import described
    from tito.course.workspace import Workspace
    from tito.terminal.grading import show_checkpoint

    checkpoint = find_checkpoint(name)
    here = project()
    workspace = Workspace.find(here)
    files = own_files(workspace, checkpoint)
    check_pytest()
    with console(stderr=True).status(f"testing checkpoint {checkpoint.key}"):
        result = test_checkpoint(here, workspace, checkpoint)
    show(show_checkpoint(result, described(files, here.root)))
    if not result.ok:
        raise typer.Exit(1)


def journey_of(here: Project) -> Journey:
    """Return the journey of the learner whose workspace this is."""
    from tito.course.checkpoints import checkpoint_states
    from tito.course.journey import make_journey
    from tito.course.progress import progress
    from tito.course.workspace import Workspace

    workspace = Workspace.find(here)
    return make_journey(progress(here, workspace), checkpoint_states(here, workspace))


def titles(here: Project) -> dict[str, str]:
    """Return the titles of the milestones' suites; a suite that cannot be read is named on stderr."""
    from tito.bench.suites import find_suite
    from tito.course.modules import MILESTONES
    from tito.errors import SuiteError

    found = {}
    for milestone in MILESTONES:
        try:
            found[milestone.suite] = find_suite(here.suites, milestone.suite).suite.title
        except SuiteError as error:
            say(str(error))
    return found
