"""`python -m tito.versus [WORK ...] [--rounds N]`: prints the table of ratios; `nox -s versus` runs it."""

from __future__ import annotations

import argparse
import sys

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tito.bench.blas import choose_kernel
from tito.bench.process import pinned_environment
from tito.errors import TitoError
from tito.versus.driver import Outcome, load, names, run_work, yardsticks


def main() -> int:
    """Run the works that were asked for; 0 unless something could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m tito.versus", description="TinyTorch beside PyTorch.")
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"any of {', '.join(names())}; all by default")
    parser.add_argument("--rounds", type=int, default=7, help="fresh processes of each side, at least 5 (default 7)")
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
        if outcomes:
            console.print(table(outcomes))
    threads = pinned.get("OMP_NUM_THREADS", "?")
    console.print(
        f"{arguments.rounds} fresh processes of each side in alternating order, {threads} threads each, "
        f"OpenBLAS kernel {kernel.record.used}. Above 1 TinyTorch is faster; intervals are 95% bootstraps of rounds."
    )
    return 0


def table(outcomes: list[Outcome]) -> Table:
    """The ratios, a row for each measurement."""
    made = Table(title="TinyTorch beside PyTorch", title_justify="left")
    for column in ("work", "measurement", "beside"):
        made.add_column(column)
    for column in ("TinyTorch", "PyTorch", "ratio", "95% interval", "bar"):
        made.add_column(column, justify="right")
    for o in outcomes:
        interval = o.comparison.interval
        style = "" if o.met is None else "green" if o.met else "red"
        bar = "" if o.bar is None else f"{o.bar:g} {'met' if o.met else 'missed'}"
        made.add_row(
            o.title,
            o.measurement,
            o.yardstick,
            duration(o.seconds),
            duration(o.yardstick_seconds),
            f"[{style or 'default'}]{o.comparison.ratio:.2f}x[/]",
            f"{interval.low:.2f} to {interval.high:.2f}",
            f"[{style or 'default'}]{bar}[/]",
        )
    return made


def duration(seconds: float) -> str:
    """3 digits in a unit that fits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


if __name__ == "__main__":
    raise SystemExit(main())
