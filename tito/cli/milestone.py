"""`tito milestone list | run`."""

from __future__ import annotations

from typing import Annotated

import typer

from tito.cli import complete
from tito.cli.checkpoint import journey_of, titles
from tito.cli.console import group, project, show

milestones = group("The course: six milestones, unlocked by your modules.")


@milestones.command("list")
def milestone_list() -> None:
    """List the milestones, and which of them you have unlocked."""
    from tito.terminal.grading import list_milestones

    here = project()
    show(list_milestones(journey_of(here), titles(here)))


@milestones.command("run", context_settings={"ignore_unknown_options": True})
def milestone_run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="e.g. mnist", autocompletion=complete.milestones)],
    options: Annotated[list[str] | None, typer.Argument(metavar="OPTION", help="As for tito suite run.")] = None,
) -> None:
    """Run a milestone that you have unlocked on your own modules; exit code 1 if a gate is missed."""
    from tito.cli.retest import retest
    from tito.cli.suite import suites
    from tito.course.modules import find_milestone, module_number
    from tito.course.workspace import Workspace
    from tito.errors import CourseError

    milestone = find_milestone(name)
    here = project()
    retest(here, Workspace.find(here), range(1, milestone.after_module + 1))
    stop = next(one for one in journey_of(here).stops if one.milestone == milestone)
    if not stop.unlocked:
        last = module_number(milestone.after_module)
        raise CourseError(
            f"milestone {milestone.suite} is locked until modules 01 to {last.key} are complete; "
            f"tito module list shows where you stand, and tito suite run {milestone.suite} runs it on the reference"
        )
    typer.main.get_command(suites)(["run", milestone.suite, "--mine", *(options or [])], prog_name="tito suite")
