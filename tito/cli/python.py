"""`tito python`: Python with the learner's own modules."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from tito.cli import complete
from tito.cli.console import group, project

own_python = group("Python with your own modules.")


@own_python.command("python", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def python(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARGUMENT", help="A program and its arguments, as for python; default: a prompt."),
    ] = None,
    borrow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NN",
            help="Take this module from the reference; may be repeated.",
            autocompletion=complete.modules,
        ),
    ] = None,
) -> None:
    """Run a program, or a prompt, on your own modules.

    In it, `tinytorch` is your own code as far as you have written it.

    The first line on stderr names your modules. Modules that you have not started come from the reference.
    """
    from tito import overlay
    from tito.course.modules import find_module
    from tito.course.own import own_environment, own_plan
    from tito.course.workspace import Workspace

    here = project()
    workspace = Workspace.find(here)
    plan = own_plan(here, workspace, [find_module(text) for text in borrow or []])
    variables = os.environ | own_environment(plan, workspace)
    print(overlay.describe(plan), file=sys.stderr, flush=True)  # noqa: T201 (not a message of tito, but the run's first line)
    os.execve(sys.executable, [sys.executable, *(arguments or [])], variables)
