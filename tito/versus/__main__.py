"""`python -m tito.versus [WORK ...] [--rounds N]` prints the table of ratios; `nox -s versus` runs it."""

from __future__ import annotations

import argparse
import sys

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tito.errors import TitoError
from tito.process.blas import choose_kernel
from tito.process.environment import pinned_environment
from tito.versus.driver import Outcome, load, names, run_work, yardsticks


def main() -> int:
    """Run the given works; return 0 unless something could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m tito.versus", description="TinyTorch against PyTorch.")
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"any of {', '.join(names())}; default: all")
    parser.add_argument("--rounds", type=int, default=7, help="fresh processes for each side, at least 5 (default: 7)")
    arguments = parser.parse_args()
    if arguments.rounds < 5:
        parser.error(f"--rounds {arguments.rounds}: expected at least 5")
    console = Console()
    chosen = arguments.works or names()
    outcomes: list[Outcome] = []
    try:
        total = sum(2 * arguments.rounds * len(yardsticks(load(work))) for work in chosen)
        kernel = choose_kernel()
        pinned = pinned_environment(kernel.environment)
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
        with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress:
            bar = progress.add_task("", total=total)
            for work in chosen:

                def report(yardstick: str, done: int, work: str = work) -> None:
                    progress.update(bar, advance=1, description=f"{work} against {yardstick}")

                outcomes += run_work(work, arguments.rounds, pinned, report)
    except TitoError as error:
        sys.stderr.write(f"versus: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("versus: interrupted\n")
        return 130
    finally:
        for title in dict.fromkeys(outcome.title for outcome in outcomes):
            console.print(table(title, [outcome for outcome in outcomes if outcome.title == title]))
    threads = pinned.get("OMP_NUM_THREADS", "?")
    console.print(
        f"{arguments.rounds} fresh processes for each side in alternating order, {threads} threads each, "
        f"OpenBLAS kernel {kernel.record.used}.\nA ratio above 1: TinyTorch is faster. Intervals: 95%, bootstrapped "
        "over the rounds."
    )
    return 0


def table(title: str, outcomes: list[Outcome]) -> Table:
    """Return the ratios of one work, one row for each measurement and each version of PyTorch."""
    made = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    made.add_column("", min_width=24)
    for column in ("TinyTorch", "PyTorch", "ratio", "95% interval", "bar"):
        made.add_column(column, justify="right")
    for o in outcomes:
        colour = "default" if o.met is None else "green" if o.met else "red"
        variant = o.yardstick.removeprefix("pytorch").strip("_").replace("_", " ")
        made.add_row(
            f"{o.measurement}\n  PyTorch {variant}" if variant else o.measurement,
            duration(o.seconds),
            duration(o.yardstick_seconds),
            f"[{colour}]{o.comparison.ratio:.2f}[/]",
            f"{o.comparison.interval.low:.2f} to {o.comparison.interval.high:.2f}",
            "" if o.bar is None else f"[{colour}]{o.bar:g} {'met' if o.met else 'missed'}[/]",
        )
    return made


def duration(seconds: float) -> str:
    """Return a duration with 3 digits in a suitable unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


if __name__ == "__main__":
    raise SystemExit(main())
