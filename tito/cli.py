"""The command line `tito`: parses arguments; each command calls one function of a room and prints its answer.

Rooms are imported inside the commands, so that `tito --help` need not load NumPy, pydantic and the rest.
Answers go to stdout; progress, warnings and errors (one line, `tito: ...`) to stderr. A command first does and saves
all that it is for, and prints last: a reader that leaves early, e.g. `head`, changes neither its work nor its exit
code. Exit codes: 0, 1 for a missed gate or an error, 2 for wrong arguments, 130 after Ctrl-C, 143 and 129 after
SIGTERM and SIGHUP.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from tito.bench.record import Record
    from tito.bench.store import Store
    from tito.bench.suite import LoadedSuite
    from tito.process.backend import BackendChoice
    from tito.project import Project


GROUPS = ("suite", "record", "data")


class _Commands(TyperGroup):
    """Commands; Ctrl-C ends any of them with one word and the exit code that shells expect."""

    def list_commands(self, ctx: Any) -> list[str]:
        """In help, groups first: they are what one comes for."""
        return sorted(super().list_commands(ctx), key=lambda name: name not in GROUPS)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _say("interrupted")
            sys.exit(130)


def _group(help: str) -> typer.Typer:
    """Commands under one name; plain help, which needs no Rich and answers in half the time."""
    return typer.Typer(
        cls=_Commands,
        help=help,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )


app = _group("TinyTorch's benchmarks: run suites, read records, see reports.")
suites = _group("Benchmarks: list, show, run.")
records = _group("What came out of earlier runs.")
data = _group("Data sets in the cache.")
app.add_typer(suites, name="suite")
app.add_typer(records, name="record")
app.add_typer(data, name="data")


def main() -> None:
    """The console script's entry: errors meant for people become one line, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal of an old encoding
    _clean_up_when_ended()
    try:
        app(prog_name="tito")
    except Exception as error:
        if os.environ.get("TITO_DEBUG"):
            raise
        _say(_in_words(error))
        sys.exit(1)


def _clean_up_when_ended() -> None:
    """SIGTERM and a closed terminal end the command as Ctrl-C does: children and temporary files go with it."""

    def leave(number: int, frame: object) -> None:
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup asks
            signal.signal(number, leave)


def _in_words(error: Exception) -> str:
    """What went wrong, in one line where the error was foreseen to have one."""
    from tinytorch.errors import TinyTorchError
    from tito.errors import TitoError

    if isinstance(error, TitoError | TinyTorchError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    return f"a bug: {type(error).__name__}: {error} (TITO_DEBUG=1 shows where; please report it)"


def _say(message: str) -> None:
    """Write one message to stderr."""
    try:
        print(f"tito: {message}", file=sys.stderr)  # noqa: T201 (the terminal is this file's business)
    except BrokenPipeError:
        _ignore(sys.stderr)


def _print(text: object) -> None:
    """Write lines to stdout as they are, whatever the width of the terminal."""
    try:
        typer.echo(text)
    except BrokenPipeError:
        _ignore(sys.stdout)


def _ignore(stream: TextIO) -> None:
    """Send the rest of a stream nowhere, since its reader has closed the pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _console(stderr: bool = False) -> Console:
    """Return a console that prints text as it is and survives a closed pipe; Rich handles NO_COLOR and plain files."""
    from rich.console import Console

    class Surviving(Console):
        def on_broken_pipe(self) -> None:
            self.quiet = True
            _ignore(sys.stderr if stderr else sys.stdout)

    return Surviving(stderr=stderr, markup=False, highlight=False, emoji=False)


def _show(content: RenderableType) -> None:
    """Print one answer; into a pipe or a file it is not cut to a width."""
    console = _console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 160
    console.print(content)


def _show_path(page: Path | None) -> None:
    """The report's path in a line of its own, whole however long it is, for a terminal to make a link of."""
    if page:
        _print(f"\n  report: {page}\n")


def _project() -> Project:
    from tito.project import find_project

    return find_project()


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            found = version("tinytorch-bench")
        except PackageNotFoundError:
            found = "from a checkout, not installed"
        typer.echo(f"tito {found}")
        raise typer.Exit


@app.callback()
def tito(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """TinyTorch's benchmarks: run suites, read records, see reports."""


# ---- suite


@suites.command("list")
def suite_list() -> None:
    """The suites there are."""
    from tito.bench.suites import find_suites
    from tito.terminal import list_suites

    _show(list_suites(find_suites(_project().suites)))


@suites.command("show")
def suite_show(name: Annotated[str, typer.Argument(help="e.g. mnist")]) -> None:
    """What a suite fixes: gates, seeds, parameters, limits."""
    from tito.bench.suites import find_suite
    from tito.terminal import show_suite

    _show(show_suite(find_suite(_project().suites, name)))


@suites.command("run")
def suite_run(
    name: Annotated[str, typer.Argument(help="e.g. mnist")],
    seeds: Annotated[int | None, typer.Option(min=1, help="Only the first N seeds of each case.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer seeds, shorter training, same gates.")] = False,
    gate: Annotated[
        list[str] | None,
        typer.Option(metavar="[CASE.]METRIC=VALUE", help="Try another value for each gate on a metric."),
    ] = None,
    backend: Annotated[
        str | None, typer.Option(metavar="numpy|onednn", help="Force the kernel backend; else the fastest there is.")
    ] = None,
    keep_weights: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="If it passes, keep the trained weights there.")
    ] = None,
) -> None:
    """Run a suite, save its record, write its page; exit code 1 if a gate is missed."""
    import tempfile

    from tinytorch.kernels import BACKENDS
    from tito.bench.store import Store
    from tito.bench.suites import find_suite, with_gate
    from tito.errors import SuiteError
    from tito.process.backend import choose_backend
    from tito.terminal import show_record

    project = _project()
    loaded = find_suite(project.suites, name)
    for override in gate or []:
        try:
            loaded = with_gate(loaded, override)
        except SuiteError as error:
            raise typer.BadParameter(str(error)) from None
    if backend is not None and backend not in BACKENDS:
        raise typer.BadParameter(f"--backend {backend!r}: expected one of {', '.join(BACKENDS)}")
    chosen = choose_backend(backend)
    Store(project.reports).check_writable()
    with tempfile.TemporaryDirectory(prefix="tito-") as folder:
        weights = Path(folder) / "model.safetensors"
        record = _run(loaded, seeds, quick, _command(name, seeds, quick, gate or [], backend), chosen, weights)
        page, problems = _keep(project, record)
        if keep_weights is not None and record.status == "passed":
            problems += _keep_weights(keep_weights, weights, record)
    _show(show_record(record))
    _show_path(page)
    if record.status != "passed":
        problems.insert(0, f"{record.suite}: {record.status}: {record.reason}")
    for problem in problems:
        _say(problem)
    if problems:
        raise typer.Exit(1)


def _command(name: str, seeds: int | None, quick: bool, gates: list[str], backend: str | None) -> str:
    """What to type to run it again."""
    words = ["tito", "suite", "run", name]
    words += ["--seeds", str(seeds)] if seeds else []
    words += ["--quick"] if quick else []
    for override in gates:
        words += ["--gate", override]
    words += ["--backend", backend] if backend else []
    return shlex.join(words)


def _run(
    loaded: LoadedSuite, seeds: int | None, quick: bool, command: str, backend: BackendChoice, weights: Path
) -> Record:
    from tito.bench.runner import run_suite
    from tito.data import fetch
    from tito.process.blas import choose_kernel
    from tito.terminal import RunProgress

    console = _console(stderr=True)
    console.print(f"{loaded.suite.year} {loaded.suite.name}: {loaded.suite.title}")
    for name in loaded.suite.data:  # here, where it is told of, and outside any child's time limit
        fetch(name, lambda line: console.print(f"  {line}", soft_wrap=True))
    with console.status("  measuring BLAS kernels"):
        kernel = choose_kernel()
    with RunProgress(console, loaded.suite.metrics) as progress:
        return run_suite(
            loaded,
            seeds=seeds,
            quick=quick,
            command=command,
            blas=kernel,
            backend=backend,
            report=progress.report,
            weights=weights,
        )


def _keep(project: Project, record: Record) -> tuple[Path | None, list[str]]:
    """Save the record and write the pages; return the suite's page, if it was written, and what went wrong."""
    from tito.bench.store import Store
    from tito.errors import TitoError
    from tito.report.pages import write_pages

    store = Store(project.reports)
    try:
        kept = store.save(record)
    except (TitoError, OSError) as error:
        return None, [f"the result above is not kept: {error}"]
    try:
        write_pages(_readable(store), project.reports)
    except (TitoError, OSError) as error:
        return None, [f"the record is kept in {kept}, but its page is not written: {error}"]
    return project.reports / f"{record.suite}.html", []


def _keep_weights(folder: Path, weights: Path, record: Record) -> list[str]:
    """Copy the trained weights and their origin into a folder; return what went wrong."""
    from tito.bench.reference import keep_reference
    from tito.errors import RecordError

    try:
        keep_reference(folder, weights, record)
    except RecordError as error:
        return [str(error)]
    return []


def _readable(store: Store) -> list[Record]:
    """All records that can be read; the others are named on stderr."""
    found, warnings = store.all()
    for warning in warnings:
        _say(warning)
    return found


# ---- record


@records.command("list")
def record_list(
    suite: Annotated[str | None, typer.Option(help="Only this suite's.")] = None,
) -> None:
    """Earlier runs, newest last."""
    from tito.bench.store import Store
    from tito.terminal import list_records

    found = [record for record in _readable(Store(_project().reports)) if suite in (None, record.suite)]
    if found:
        _show(list_records(found))
    else:
        _say("no records yet; tito suite run NAME makes one")


@records.command("show")
def record_show(
    id: Annotated[str, typer.Argument(help="As `tito record list` names it, or a suite for its newest.")],
    as_json: Annotated[bool, typer.Option("--json", help="The whole record as JSON.")] = False,
) -> None:
    """One run, as it was printed when it ended."""
    from tito.bench.store import Store
    from tito.terminal import show_record

    project = _project()
    store = Store(project.reports)
    newest = [record for record in _readable(store) if record.suite == id][-1:]
    record = newest[0] if newest else store.load(id)
    if as_json:
        _print(record.model_dump_json(indent=2))
        return
    page = project.reports / f"{record.suite}.html"
    _show(show_record(record))
    _show_path(page if page.is_file() else None)


@records.command("schema")
def record_schema() -> None:
    """The JSON Schema of a record."""
    from tito.bench import store

    _print(json.dumps(store.record_schema(), indent=2))


# ---- data


@data.command("list")
def data_list() -> None:
    """The data sets, and which of them are in the cache."""
    from tito.data import list_data
    from tito.terminal import list_data as table

    _show(table(list_data()))


@data.command("fetch")
def data_fetch(name: Annotated[str, typer.Argument(help="e.g. mnist")]) -> None:
    """Fetch a data set into the cache, unless it is there."""
    from tito.data import fetch

    console = _console(stderr=True)
    folder: Path = fetch(name, lambda line: console.print(line, soft_wrap=True))
    _print(f"{name} is whole in {folder}")


@data.command("verify")
def data_verify() -> None:
    """Hash every file in the cache; exit code 1 if one is corrupt."""
    from tito.data import verify
    from tito.terminal import list_files

    files = verify()
    _show(list_files(files))
    corrupt = [file for file in files if file.state == "corrupt"]
    for file in corrupt:
        _say(f"{file.path}: not the pinned content; tito data fetch {file.name} fetches it again")
    if corrupt:
        raise typer.Exit(1)


# ---- report, doctor


@app.command("report")
def report(
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Write the HTML pages of all records."""
    from tito.bench.store import Store
    from tito.errors import ReportError
    from tito.report.pages import write_pages

    project = _project()
    found = _readable(Store(project.reports))
    if not found:
        raise ReportError(f"no records in {project.reports}; tito suite run NAME makes one")
    paths = write_pages(found, project.reports)
    for path in paths:
        _print(path)
    if show:
        import webbrowser

        webbrowser.open(paths[-1].resolve().as_uri())


@app.command("doctor")
def doctor() -> None:
    """Look at this machine: Python, NumPy, BLAS kernels, py-spy, data; exit code 1 if something is bad."""
    from tito.doctor import examine
    from tito.terminal import list_findings

    with _console(stderr=True).status("looking at this machine"):
        findings = list(examine())
    _show(list_findings(findings))
    if any(finding.state == "bad" for finding in findings):
        raise typer.Exit(1)
