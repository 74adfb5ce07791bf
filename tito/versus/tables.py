"""What `python -m tito.versus` prints: the ratios of each work, and how they were measured."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tito.errors import printable
from tito.versus.driver import Outcome
from tito.versus.rivals import TITLES


class Screen(Console):
    """A console for which a reader that closes the pipe early, such as `head`, does not end the measurement."""

    def on_broken_pipe(self) -> None:
        """Discard the rest."""
        self.quiet = True
        ignore(sys.stderr if self.stderr else sys.stdout)

    def tell(self, text: str, style: str | None = None) -> None:
        """Print a text as it is: no markup, and in a pipe or a file no line breaks for the width."""
        self.print(
            printable(text, keep="\n"),
            style=style,
            markup=False,
            emoji=False,
            highlight=False,
            soft_wrap=not self.is_terminal,
        )


def ignore(stream: TextIO) -> None:
    """Discard the rest of a stream whose reader has closed the pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def say(message: str) -> None:
    """Write one message to stderr."""
    if sys.stderr is None:  # started with 2>&-
        return
    try:
        sys.stderr.write(f"versus: {printable(message)}\n")
        sys.stderr.flush()
    except BrokenPipeError:
        ignore(sys.stderr)


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
