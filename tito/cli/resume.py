"""One run of a suite: fresh or resumed, with its progress on stderr. A run that is interrupted says how to go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tito.cli.console import console, say
from tito.cli.starting import look_around, suited

if TYPE_CHECKING:
    from rich.console import Console

    from tito.bench.expected import Expected
    from tito.bench.record import Record
    from tito.bench.suite import LoadedSuite
    from tito.bench.unfinished import Identity, Unfinished
    from tito.process.backend import BackendChoice
    from tito.project import Project


@dataclass(frozen=True)
class RunOptions:
    """The options of `tito suite run` that `measure` needs."""

    seeds: int | None
    quick: bool
    models: Path | None
    resume: bool
    command: str


@dataclass
class Run:
    """A run in progress."""

    here: Project
    loaded: LoadedSuite
    backend: BackendChoice
    options: RunOptions
    unfinished: Unfinished
    out: Console
    saved: bool = False  # whether its record is


@contextmanager
def resumable(here: Project, loaded: LoadedSuite, backend: BackendChoice, options: RunOptions) -> Iterator[Run]:
    """Begin a run or go on with an interrupted one; one that ends without a record says how to go on.

    Raises:
        RequestError: there is nothing to resume; the message says why.
    """
    from tito.bench.unfinished import identity_of
    from tito.terminal.again import again

    out = console(stderr=True)
    models = options.models.resolve() if options.models else None
    settings = {"--seeds": options.seeds, "--quick": options.quick, "--keep-models": models}
    identity = identity_of(loaded, settings, backend.line)
    unfinished = _resumed(here, loaded, identity, out) if options.resume else _started(here, loaded, identity, out)
    run = Run(here, loaded, backend, options, unfinished, out)
    try:
        yield run
    finally:
        if run.saved:
            unfinished.finish(identity)
        else:
            unfinished.leave()
            if unfinished.kept:
                seeds = f"{unfinished.kept} finished seed{'s are' if unfinished.kept != 1 else ' is'} kept"
                say(f"{seeds}; to go on: {again(f'{options.command} --resume')}")


def measure(run: Run) -> Record:
    """Fetch the data and run the suite."""
    from tito.bench.expected import expected
    from tito.bench.runner import run_suite
    from tito.bench.store import Store
    from tito.data import fetch
    from tito.process.provenance import this_machine
    from tito.terminal.progress import RunProgress

    suite, options = run.loaded.suite, run.options
    for name in suite.data:  # here, where its progress is shown, and outside any child's time limit
        fetch(name, lambda line: run.out.print(f"  {line}", soft_wrap=True))

    def expect(plan: Sequence[tuple[str, int]]) -> Expected | None:
        records, _ = Store(run.here.reports).all()
        return expected(run.loaded, plan, options.quick, this_machine().fingerprint, records)

    with RunProgress(run.out, suite.metrics, expect) as progress:
        return run_suite(
            run.loaded,
            seeds=options.seeds,
            quick=options.quick,
            command=options.command,
            blas=run.unfinished.kernel,
            backend=run.backend,
            report=progress.report,
            models=options.models,
            around=run.unfinished.around,
            unfinished=run.unfinished,
        )


def _resumed(here: Project, loaded: LoadedSuite, identity: Identity, out: Console) -> Unfinished:
    from tito.bench.unfinished import Unfinished

    run = Unfinished.resume(here.reports, loaded, identity)
    _print_title(loaded, out)
    run.around = replace(run.around, before=look_around(out).conditions)
    seeds = f"{run.kept} finished seed{'s' * (run.kept != 1)}"
    out.print(f"  resuming the run of {run.began:%Y-%m-%d %H:%M} UTC after {seeds}", soft_wrap=True)
    return run


def _started(here: Project, loaded: LoadedSuite, identity: Identity, out: Console) -> Unfinished:
    from tito.bench.unfinished import Unfinished, unfinished
    from tito.process.blas import choose_kernel

    _print_title(loaded, out)
    earlier = unfinished(here.reports, loaded.suite.name, identity)
    if earlier:
        began, seeds = earlier
        out.print(
            f"  an interrupted run of {began:%Y-%m-%d %H:%M} UTC has {seeds} finished seed{'s' * (seeds != 1)}: "
            "--resume would go on with it; this run starts from the beginning",
            soft_wrap=True,
        )
    neighbors = look_around(out)
    with out.status("  measuring BLAS kernels"):
        kernel = choose_kernel()
    return Unfinished.start(here.reports, loaded, identity, kernel, suited(out, neighbors, kernel))


def _print_title(loaded: LoadedSuite, out: Console) -> None:
    out.print(f"{loaded.suite.year} {loaded.suite.name}: {loaded.suite.title}", soft_wrap=True)
