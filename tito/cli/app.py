"""The command line `tito`: its entry `main`, its groups, and the commands `report` and `doctor`.

Exit codes: 0; 1 for a missed gate or an error; 2 for wrong arguments; 130 after Ctrl-C; 143 and 129 after SIGTERM and
SIGHUP. An error is one line on stderr, `tito: ...`, and never a traceback.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated

import typer

from tito.cli.checkpoint import checkpoints
from tito.cli.compete import competition
from tito.cli.console import console, group, project, say, show, write
from tito.cli.data import data
from tito.cli.export import exports
from tito.cli.grade import grades
from tito.cli.known import known_suites, library
from tito.cli.milestone import milestones
from tito.cli.module import modules
from tito.cli.python import own_python
from tito.cli.record import records
from tito.cli.suite import suites
from tito.shadows import hidden_library

app = group("TinyTorch: take the course, run benchmarks, read records, see reports.", completion=True)
app.add_typer(modules, name="module")
app.add_typer(checkpoints, name="checkpoint")
app.add_typer(milestones, name="milestone")
app.add_typer(grades)  # without a name of its own: tito grade
app.add_typer(own_python)  # without a name of its own: tito python
app.add_typer(suites, name="suite")
app.add_typer(records, name="record")
app.add_typer(data, name="data")
app.add_typer(competition)  # without a name of its own: tito submit, tito check, ...
app.add_typer(exports)  # without a name of its own: tito export


def main() -> None:
    """Run the console script; an error that is meant for users is printed as one line."""
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal of an old encoding
    _clean_up_when_ended()
    try:
        app(prog_name="tito")
    except Exception as error:
        if os.environ.get("TITO_DEBUG"):
            raise
        say(_in_words(error))
        sys.exit(1 if hidden_library(error) else _exit_code(error))


def _open_closed_streams() -> None:
    """Give a process that was started without stdout or stderr (`>&-`) a place to write to."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            handle = os.open(os.devnull, os.O_WRONLY)
            os.dup2(handle, number)  # else a file that is opened later would get the number, and the output
            setattr(sys, name, os.fdopen(number, "w", closefd=False))


def _clean_up_when_ended() -> None:
    """Let SIGTERM and a closed terminal end the command as Ctrl-C does, including its children and temporary files."""

    def leave(number: int, frame: object) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a caller that ignores it would hide how children ended
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # ignored under nohup
            signal.signal(number, leave)


def _exit_code(error: Exception) -> int:
    from tito.errors import RequestError

    return 2 if isinstance(error, RequestError) else 1


def _in_words(error: Exception) -> str:
    """Return what went wrong, in one line if the error is an expected one."""
    found = hidden_library(error)
    if found:
        return found
    from tinytorch.base.errors import TinyTorchError
    from tito.errors import TitoError

    if isinstance(error, TitoError | TinyTorchError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    return f"a bug: {type(error).__name__}: {error} (please report it; TITO_DEBUG=1 shows the traceback)"


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            found = version("tinytorch-bench")
        except PackageNotFoundError:
            found = "from a checkout, not installed"
        write(f"tito {found}")
        raise typer.Exit


@app.callback()
def tito(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """TinyTorch: take the course, run benchmarks, read records, see reports."""


@app.command("report")
def report(
    open_it: Annotated[bool, typer.Option("--open", help="Open the index in the browser.")] = False,
    standalone: Annotated[
        bool, typer.Option("--standalone", help="Also write single files, to be sent: reports/standalone/.")
    ] = False,
) -> None:
    """Write the HTML pages of all records."""
    from tito.bench.store import Store
    from tito.errors import ReportError
    from tito.report.pages import write_pages
    from tito.report.standalone import to_send, write_standalone

    here = project()
    found = library(Store(here.reports))
    if not found.entries:
        raise ReportError(f"no records in {here.reports}; tito suite run NAME creates one")
    paths = write_pages(found, here.reports, known_suites(here))
    if standalone:
        paths = write_standalone(to_send(found.entries, here.reports), here.reports)
    for path in paths:
        if standalone or path.parent == here.reports:  # not each run's
            write(path)
    if open_it:
        import webbrowser

        webbrowser.open(paths[-1].resolve().as_uri())


@app.command("doctor")
def doctor() -> None:
    """Check this machine: Python, NumPy, BLAS, py-spy, data.

    Exit code 1 if suites cannot run.
    """
    from tito.doctor import examine
    from tito.terminal.machine import list_findings

    with console(stderr=True).status("checking this machine"):
        findings = list(examine())
    show(list_findings(findings))
    if any(finding.state == "bad" for finding in findings):
        raise typer.Exit(1)
