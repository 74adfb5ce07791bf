"""`python -m tito.versus [WORK ...] [--rounds N] [--against RIVAL]` prints the ratios; `nox -s versus` runs it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tito.errors import RunError, TitoError
from tito.files import scratch
from tito.process.backend import choose_backend, pinned_backend
from tito.process.blas import choose_kernel
from tito.process.environment import pinned_environment
from tito.versus import contest
from tito.versus.bounds import peaks
from tito.versus.driver import Outcome, load, names, rivals_of, run_work
from tito.versus.rivals import TITLES, lacks_compiler, packages

COMPILED = "TORCHINDUCTOR_CACHE_DIR"  # of torch.compile: the rounds of a run share what the first one compiled


def main() -> int:
    """Run the given works; return 0 unless something could not be measured."""
    parser = argparse.ArgumentParser(
        prog="python -m tito.versus", description="Speed compared with ONNX Runtime and PyTorch."
    )
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"any of {', '.join(names())}; default: all")
    parser.add_argument("--rounds", type=int, default=7, help="fresh processes for each side, at least 5 (default: 7)")
    parser.add_argument(
        "--against", action="append", metavar="RIVAL", choices=TITLES, help=f"only this one of {', '.join(TITLES)}"
    )
    arguments = parser.parse_args()
    if arguments.rounds < 5:
        parser.error(f"--rounds {arguments.rounds}: expected at least 5")
    console = Console()
    outcomes: list[Outcome] = []
    limits: dict[str, list[str]] = {}
    try:
        wanted = arguments.against or list(TITLES)
        chosen = {name: [r for r in rivals_of(load(name)) if r in wanted] for name in arguments.works or names()}
        kernel = choose_kernel()
        with scratch("versus") as folder:
            pinned = pinned_environment(kernel.environment | pinned_backend(choose_backend())) | {COMPILED: str(folder)}
            left_out = reasons({rival for rivals in chosen.values() for rival in rivals}, pinned)
            for rival, why in left_out.items():
                console.print(f"Left out: {TITLES[rival]} ({escape(why)}).", highlight=False)
            limits = bounds(chosen, pinned)
            run_all(chosen, left_out, arguments.rounds, pinned, outcomes.extend)
    except TitoError as error:
        sys.stderr.write(f"versus: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("versus: interrupted\n")
        return 130
    finally:
        for title in dict.fromkeys(outcome.title for outcome in outcomes):
            console.print(table(title, [outcome for outcome in outcomes if outcome.title == title]))
            for line in limits.get(title, []):
                console.print(line, style="dim", highlight=False)
        if outcomes:
            console.print(footer(outcomes, arguments.rounds, kernel.record.used), highlight=False)
    return 0


def reasons(rivals: set[str], pinned: dict[str, str]) -> dict[str, str]:
    """Return the rivals that cannot run here, with the reason."""
    loads = {group: contest.missing(pinned, group) for group in {packages(rival) for rival in rivals}}
    found = {rival: loads[packages(rival)] or lacks_compiler(rival) for rival in TITLES if rival in rivals}
    return {rival: why for rival, why in found.items() if why}


def bounds(chosen: Iterable[str], pinned: dict[str, str]) -> dict[str, list[str]]:
    """Return what bounds the measurements of each work, as lines by the work's title."""
    costs = {load(name).TITLE: getattr(load(name), "COSTS", {}) for name in chosen}
    machine = peaks([cost for found in costs.values() for cost in found.values()], pinned)
    return {
        title: [f"  {name}: {machine.bound(cost)}" for name, cost in found.items()] for title, found in costs.items()
    }


def run_all(
    chosen: dict[str, list[str]],
    left_out: dict[str, str],
    rounds: int,
    pinned: dict[str, str],
    keep: Callable[[list[Outcome]], None],
) -> None:
    """Run the works that have a rival here, with a progress bar.

    Raises:
        RunError: no work has one, or as in `run_work`.
    """
    plan = {name: [rival for rival in rivals if rival not in left_out] for name, rivals in chosen.items()}
    plan = {name: rivals for name, rivals in plan.items() if rivals}
    if not plan:
        why = "; ".join(dict.fromkeys(left_out.values())) or "no work has this rival"
        raise RunError(f"nothing to compare with: {why}; `python -m nox -s versus` installs the libraries")
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        bar = progress.add_task("", total=sum(rounds * (1 + len(rivals)) for rivals in plan.values()))
        for name, rivals in plan.items():

            def report(contender: str, name: str = name) -> None:
                progress.update(bar, advance=1, description=f"{name}: {TITLES.get(contender, 'TinyTorch')}")

            keep(run_work(name, rivals, rounds, pinned, report))


def footer(outcomes: list[Outcome], rounds: int, kernel: str) -> str:
    """Return what was run, and how."""
    libraries = dict.fromkeys([o.own for o in outcomes] + [o.library for o in outcomes])
    threads = ", ".join(map(str, sorted({o.threads for o in outcomes})))
    return (
        f"{', '.join(libraries)}; {threads} threads each, OpenBLAS kernel {kernel}.\n"
        f"{rounds} fresh processes for each side in alternating order. A ratio above 1: TinyTorch is faster. "
        "Intervals: 95%, bootstrapped over the rounds."
    )


def table(title: str, outcomes: list[Outcome]) -> Table:
    """Return the ratios of one work, one row for each measurement and each rival."""
    made = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    made.add_column("")
    for column in ("TinyTorch", "rival", "ratio (95%)", "bar"):
        made.add_column(column, justify="right")
    for measurement in dict.fromkeys(o.measurement for o in outcomes):
        rows = [o for o in outcomes if o.measurement == measurement]
        made.add_row(measurement, *rate(rows[0]))
        for o in rows:
            made.add_row(*cells(o))
    return made


def rate(o: Outcome) -> tuple[str, ...]:
    """Return the cells of a work's own rate and of its goal; none without a goal."""
    if o.rate is None:
        return ()
    reached = o.rate.per_second(o.seconds)
    met, color = ("met", "green") if reached >= o.rate.goal else ("missed", "red")
    return f"{reached:,.0f} {o.rate.unit}/s", "", "", f"[{color}]{o.rate.goal:,.0f} {met}[/]"


def cells(o: Outcome) -> tuple[str, ...]:
    """Return one row: a rival."""
    color = "default" if o.met is None else "green" if o.met else "red"
    return (
        f"  {TITLES[o.rival]}",
        duration(o.seconds),
        duration(o.rival_seconds),
        f"[{color}]{o.comparison.ratio:.2f}[/] ({o.comparison.interval.low:.2f} to {o.comparison.interval.high:.2f})",
        "" if o.bar is None else f"[{color}]{o.bar:.3g} {'met' if o.met else 'missed'}[/]",
    )


def duration(seconds: float) -> str:
    """Return a duration with 3 digits in a suitable unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


if __name__ == "__main__":
    raise SystemExit(main())
