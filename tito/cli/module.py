"""`tito module list | start | lesson | test | hint | complete | reset | solution | update | status`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tito.cli import complete
from tito.cli.console import console, group, project, say, show, write
from tito.cli.retest import check_pytest, retest

if TYPE_CHECKING:
    from tito.course.exercise import Exercise
    from tito.course.modules import Module
    from tito.course.workspace import Workspace
    from tito.project import Project

modules = group("The course: write the 20 modules yourself.")

Name = Annotated[
    str, typer.Argument(metavar="NN", help="e.g. 2, 02, 02_tensor, or tensor", autocompletion=complete.modules)
]
Part = Annotated[str | None, typer.Argument(metavar="NAME", help="A step's number, a name that you write, or a test.")]


@modules.command("list")
def module_list() -> None:
    """List the modules, and where you stand."""
    from tito.course.progress import progress
    from tito.course.workspace import Workspace
    from tito.terminal.grading import list_modules

    here = project()
    show(list_modules(progress(here, Workspace.find(here))))


@modules.command("start")
def module_start(name: Name) -> None:
    """Create your file of a module, with its bodies blank; a file that exists stays as it is."""
    here, workspace, exercise = _exercise(name)
    module = exercise.module
    if not workspace.start(exercise):
        write(f"{module.label}: started, {_standing(here, workspace, module)}")
        write(f"next: tito module test {module.key}")
        return
    from tito.terminal.grading import shortened

    write(f"your file: {shortened(str(workspace.file(module).absolute()))} ({len(exercise.steps)} steps)")
    missing = _not_complete(here, workspace, module)
    if missing:
        write(f"from the reference, until you write them: {missing}")
    if (here.root / "modules" / module.folder / "lesson.md").is_file():
        write(f"lesson:    tito module lesson {module.key}")
    write(f"next:      tito module test {module.key}")


@modules.command("lesson")
def module_lesson(
    name: Name, open_it: Annotated[bool, typer.Option("--open", help="Open it as a page in the browser.")] = False
) -> None:
    """Read the lesson of a module."""
    from tito.course.lesson import read_lesson
    from tito.course.modules import find_module

    here, module = project(), find_module(name)
    text = read_lesson(here, module)
    if open_it:
        import webbrowser

        from tito.report.lesson import write_lesson

        page = write_lesson(module, text, here.reports, here.root / "modules" / module.folder)
        write(page)
        webbrowser.open(page.resolve().as_uri())
        return
    from tito.terminal.lesson import Lesson

    show(Lesson(text))


@modules.command("test")
def module_test(
    name: Name,
    part: Part = None,
    watch: Annotated[bool, typer.Option("--watch", help="Test again whenever a file changes, until Ctrl-C.")] = False,
    all_tests: Annotated[bool, typer.Option("--all", help="Also run the tests that do not grade.")] = False,
    pdb: Annotated[bool, typer.Option("--pdb", help="Stop in the debugger at the first failure.")] = False,
) -> None:
    """Test your file of a module, step by step; exit code 1 if a step fails."""
    here, workspace, exercise = _exercise(name)
    workspace.require(exercise.module)
    check_pytest()
    if pdb:
        from tito.course.debugging import debug

        raise typer.Exit(debug(here, workspace, exercise, part))
    if watch:
        _watch(here, workspace, exercise, part, all_tests)
    elif not _test(here, workspace, exercise, part, all_tests):
        raise typer.Exit(1)


@modules.command("hint")
def module_hint(name: Name, part: Part = None) -> None:
    """Show the hint for the step that you are at, or for another one."""
    from tito.course.finding import current_step, find_step
    from tito.terminal.grading import show_hint

    _, workspace, exercise = _exercise(name)
    index = current_step(workspace, exercise) if part is None else find_step(exercise, part)
    if index is None:
        write(f"{exercise.module.label}: all {len(exercise.steps)} steps passed in the last test")
        return
    step = exercise.steps[index]
    show(show_hint(step.title, index + 1, len(exercise.steps), step.names, step.hint))


@modules.command("complete")
def module_complete(name: Name) -> None:
    """Complete a module: all its steps pass, or nothing changes; exit code 1 if a step fails."""
    from tito.course.grading import grade
    from tito.course.journey import unlocked_by
    from tito.course.progress import progress
    from tito.terminal.grading import show_result

    here, workspace, exercise = _exercise(name)
    module = exercise.module
    workspace.require(module)
    check_pytest()
    with console(stderr=True).status(f"testing {module.label}"):
        result = grade(here, workspace, module)
    if not result.complete:
        show(show_result(result))
        say(f"{module.label} is not complete: {result.passed} of {len(result.steps)} steps pass")
        raise typer.Exit(1)
    write(result.first_line)
    write(f"{module.label} is complete: all {len(result.steps)} steps pass")
    for line in unlocked_by(module, progress(here, workspace)):
        write(line)


@modules.command("reset")
def module_reset(name: Name) -> None:
    """Replace your file of a module by the blank one; your version is kept as a backup."""
    from tito.terminal.grading import shortened

    _, workspace, exercise = _exercise(name)
    if not workspace.started(exercise.module):
        workspace.require(exercise.module)
    done = workspace.reset(exercise)
    write(f"blank again: {shortened(str(done.path.absolute()))}")
    if done.backup:
        write(f"backup:      {shortened(str(done.backup.absolute()))}")


@modules.command("solution")
def module_solution(
    name: Name,
    part: Annotated[str, typer.Argument(metavar="NAME", help="A name that you write, e.g. Tensor.sum.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Print the reference's answer for one name; nothing is written."""
    from tito.course.blank import body_of, prepared
    from tito.course.finding import find_name

    _, _, exercise = _exercise(name)
    wanted = find_name(exercise, part)
    if not yes:
        typer.confirm(
            f"Show the answer for {wanted}? tito module hint {exercise.module.key} {part} leads to it", abort=True
        )
    source = prepared(exercise.source(), exercise)
    write(body_of(source, wanted, exercise.starts.get(wanted)).rstrip("\n"))


@modules.command("update")
def module_update(name: Name) -> None:
    """Put your answers into the newest version of the exercise; your version is kept as a backup."""
    from tito.terminal.grading import shortened

    _, workspace, exercise = _exercise(name)
    module = exercise.module
    workspace.require(module)
    if not workspace.outdated(exercise):
        write(f"{module.label} is up to date")
        return
    done = workspace.update(exercise)
    write(f"updated: {shortened(str(done.path.absolute()))}")
    write(f"kept:    {', '.join(done.kept) or 'nothing was written yet'}")
    if done.dropped:
        write(f"only in the backup: {', '.join(done.dropped)}")
    if done.backup:
        write(f"backup:  {shortened(str(done.backup.absolute()))}")


@modules.command("status")
def module_status() -> None:
    """Test again what has changed, and say where you stand and what is next."""
    from tito.course.journey import make_journey
    from tito.course.progress import progress
    from tito.course.workspace import Workspace
    from tito.terminal.grading import show_standing

    here = project()
    workspace = Workspace.find(here)
    retest(here, workspace)
    found = progress(here, workspace)
    show(show_standing(found, make_journey(found).command))


def _exercise(name: str) -> tuple[Project, Workspace, Exercise]:
    """Return the project, the workspace, and the exercise of a module."""
    from tito.course.exercise import load_exercise
    from tito.course.modules import find_module
    from tito.course.workspace import Workspace

    module = find_module(name)  # before anything is read: a misspelled name gets a suggestion
    here = project()
    return here, Workspace.find(here), load_exercise(here, module)


def _standing(here: Project, workspace: Workspace, module: Module) -> str:
    """Return how many steps of a module passed in the last test."""
    from tito.course.progress import progress

    one = progress(here, workspace).modules[module.number - 1]
    return f"{one.passed} of {one.total} steps{f', {one.remark}' if one.remark else ''}"


def _not_complete(here: Project, workspace: Workspace, module: Module) -> str:
    """Return the earlier modules that are not in the workspace, as numbers."""
    from tito.course.modules import MODULES

    return ", ".join(one.key for one in MODULES[: module.number - 1] if not workspace.has(one))


def _test(here: Project, workspace: Workspace, exercise: Exercise, part: str | None, all_tests: bool) -> bool:
    """Grade a module or one of its steps, show what was found, and return whether it passed."""
    from tito.course.finding import find_step
    from tito.course.grading import grade
    from tito.terminal.grading import show_result

    step = None if part is None else find_step(exercise, part)
    with console(stderr=True).status(f"testing {exercise.module.label}"):
        result = grade(here, workspace, exercise.module, step=step, all=all_tests)
    show(show_result(result))
    passed = result.complete if step is None else result.steps[step].passed
    key = exercise.module.key
    if passed and step is None:
        write(f"\nall steps pass; next: tito module complete {key}")
    elif result.first is not None:
        write(f"\nhint: tito module hint {key} {result.first.index + 1}")
    return passed


def _watch(here: Project, workspace: Workspace, exercise: Exercise, part: str | None, all_tests: bool) -> None:
    """Test whenever a file of the workspace changes, until Ctrl-C."""
    from tito.course.finding import changes

    try:
        for _ in changes(workspace, exercise.module):
            if workspace.has(exercise.module):
                _test(here, workspace, exercise, part, all_tests)
            else:
                say(f"{workspace.file(exercise.module)}: the file is missing")
            say("waiting for a change; Ctrl-C ends")
    except KeyboardInterrupt:
        write("")
