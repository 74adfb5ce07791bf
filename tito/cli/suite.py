"""`tito suite list | show | run`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tito.cli import complete
from tito.cli.console import group, project, say, show, show_path
from tito.cli.known import known_suites, library

if TYPE_CHECKING:
    from tito.bench.record import Record
    from tito.bench.suite import LoadedSuite
    from tito.process.backend import BackendChoice
    from tito.project import Project

NOT_SAVED = "the result above was not saved"

suites = group("Benchmarks: list, show, run.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="e.g. mnist", autocompletion=complete.suites)]


@suites.command("list")
def suite_list(
    wide: Annotated[bool, typer.Option("--wide", help="Print all columns of the table.")] = False,
) -> None:
    """List the suites: how long they take, what they require, and how their last run ended."""
    from tito.bench.store import Store
    from tito.bench.suites import usable_suites
    from tito.terminal.suite import list_suites

    here = project()
    found, problems = usable_suites(here.suites)
    for problem in problems:
        say(f"skipped {problem}")
    names = [loaded.suite.name for loaded in found]
    newest = {name: record for name in names if (record := Store(here.reports).newest(name))}
    show(list_suites(found, newest, wide))


@suites.command("show")
def suite_show(name: Name) -> None:
    """Show what a suite fixes: gates, seeds, parameters, limits."""
    from tito.bench.suites import find_suite
    from tito.terminal.suite import show_suite

    show(show_suite(find_suite(project().suites, name)))


@suites.command("run")
def suite_run(
    name: Name,
    seeds: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the first N seeds of each case.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer seeds, shorter training, same gates.")] = False,
    gate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[CASE.]METRIC=VALUE",
            help="Use another value for each gate on a metric.",
            autocompletion=complete.gates,
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            metavar="numpy|onednn",
            help="Force a kernel backend; default: the fastest installed.",
            autocompletion=complete.backends,
        ),
    ] = None,
    case: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this case; may be repeated.", autocompletion=complete.cases),
    ] = None,
    keep_models: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Keep the model of each case in FOLDER/CASE, as it was judged."),
    ] = None,
    keep_weights: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="If the run passes, keep the trained weights in this folder.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on after the finished seeds of an interrupted run, if nothing changed.")
    ] = False,
    wide: Annotated[bool, typer.Option("--wide", help="Print all columns of the table.")] = False,
    mine: Annotated[
        bool, typer.Option("--mine", help="Run it on your own modules, as far as they are complete.")
    ] = False,
    borrow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NN",
            help="With --mine: take this module from the reference; may be repeated.",
            autocompletion=complete.modules,
        ),
    ] = None,
    note: Annotated[
        str, typer.Option(metavar="REMARK", help="A remark to keep in the record, e.g. what was changed.")
    ] = "",
) -> None:
    """Run a suite, save its record, and write its page; exit code 1 if a gate is missed."""
    from tito.bench.reference import check_folder
    from tito.bench.store import Store
    from tito.cli.mine import run_mine
    from tito.cli.record import show_changes
    from tito.cli.resume import RunOptions, measure, resumable
    from tito.terminal.again import again
    from tito.terminal.record import show_record

    here = project()
    note = _note(note)
    loaded = _altered(here, name, gate or [], case or [])
    if mine and resume:
        raise typer.BadParameter("--resume with --mine: your own code has one seed, which cannot be resumed")
    own = [*(["--mine"] if mine else []), *(word for module in borrow or [] for word in ("--borrow", module))]
    command = _command(name, seeds, quick, gate or [], backend, case or [], own)
    if own:
        _check_own(mine, seeds, backend, keep_models or keep_weights)
        run_mine(here, loaded, quick, borrow or [], command, note)
        return
    chosen = _backend(backend)
    Store(here.reports).check_writable()
    for option, folder in (("--keep-weights", keep_weights), ("--keep-models", keep_models)):
        if folder is not None:
            check_folder(option, folder)
    options = RunOptions(seeds=seeds, quick=quick, models=keep_models, resume=resume, command=command)
    with resumable(here, loaded, chosen, options) as run:
        record = measure(run).model_copy(update={"note": note})
        page, problems = _keep(here, record)
        run.saved = page is not None or not problems[0].startswith(NOT_SAVED)
        if keep_weights is not None and record.status == "passed":
            problems += _keep_weights(keep_weights, run.unfinished.weights, record)
    show(show_record(record, wide, again))
    show_changes(Store(here.reports), record)
    show_path(page)
    if record.status != "passed":
        problems.insert(0, f"{record.suite}: {record.status}: {record.reason}")
    for problem in problems:
        say(problem)
    if problems:
        raise typer.Exit(1)


def _note(text: str) -> str:
    """Return a note as a record keeps it, on one line; refuse one that is too long before anything is run."""
    from tito.bench.record import LONGEST_NOTE
    from tito.errors import printable

    kept = printable(" ".join(text.split()))
    if len(kept) > LONGEST_NOTE:
        raise typer.BadParameter(f"--note: {len(kept)} characters; expected at most {LONGEST_NOTE}")
    return kept


def _check_own(mine: bool, seeds: int | None, backend: str | None, kept: Path | None) -> None:
    """Refuse what does not go with `--mine`."""
    if not mine:
        raise typer.BadParameter("--borrow: goes with --mine")
    if kept:
        raise typer.BadParameter("--keep-models and --keep-weights keep the reference's models; without --mine")
    if backend not in (None, "numpy"):
        raise typer.BadParameter(f"--backend {backend}: your own modules run on numpy")
    if seeds not in (None, 1):
        raise typer.BadParameter(f"--seeds {seeds}: your own code runs each case with its first seed")


def _altered(here: Project, name: str, gates: list[str], cases: list[str]) -> LoadedSuite:
    """Find a suite and apply the options `--gate` and `--case`."""
    from tito.bench.suites import find_suite, with_cases, with_gate
    from tito.errors import RequestError, SuiteError

    loaded = find_suite(here.suites, name)
    for override in gates:
        try:
            loaded = with_gate(loaded, override)
        except RequestError:
            raise
        except SuiteError as error:
            raise typer.BadParameter(str(error)) from None
    return with_cases(loaded, cases) if cases else loaded


def _backend(name: str | None) -> BackendChoice:
    """Choose the kernel backend, by the option `--backend` if it is given."""
    from tinytorch.native.backend import BACKENDS
    from tito.errors import did_you_mean
    from tito.process.backend import choose_backend

    if name is not None and name not in BACKENDS:
        hint = did_you_mean(name, BACKENDS)
        raise typer.BadParameter(f"--backend {name!r}: expected one of {', '.join(BACKENDS)}{hint}")
    return choose_backend(name)


def _command(
    name: str,
    seeds: int | None,
    quick: bool,
    gates: list[str],
    backend: str | None,
    cases: list[str],
    own: list[str],
) -> str:
    """Return what to type to run it again; `own`: the options of a run on a learner's own modules."""
    words = ["tito", "suite", "run", name]
    words += ["--seeds", str(seeds)] if seeds else []
    words += ["--quick"] if quick else []
    for override in gates:
        words += ["--gate", override]
    words += ["--backend", backend] if backend else []
    for case in cases:
        words += ["--case", case]
    return shlex.join([*words, *own])


def _keep(here: Project, record: Record) -> tuple[Path | None, list[str]]:
    """Save the record and write the pages; return the run's page, if it was written, and what went wrong."""
    from tito.bench.store import Store
    from tito.errors import TitoError
    from tito.report.pages import page_of, write_pages

    store = Store(here.reports)
    try:
        kept = store.save(record)
    except (TitoError, OSError) as error:
        return None, [f"{NOT_SAVED}: {error}"]
    try:
        write_pages(library(store), here.reports, known_suites(here), only=record)
    except (TitoError, OSError) as error:
        return None, [f"the record was saved in {kept}, but its page was not written: {error}"]
    return page_of(record, here.reports), []


def _keep_weights(folder: Path, weights: Path, record: Record) -> list[str]:
    """Copy the trained weights and their origin into a folder; return what went wrong."""
    from tito.bench.reference import keep_reference
    from tito.errors import RecordError

    if record.profile is None:
        return ["--keep-weights: nothing is kept, because the case whose weights it keeps was not run"]
    try:
        keep_reference(folder, weights, record)
    except RecordError as error:
        return [str(error)]
    return []
