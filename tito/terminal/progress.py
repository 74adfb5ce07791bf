"""The progress of a run: a live line in a terminal, or occasional lines elsewhere.

    case 5 of 21  mnist_int8: train ━━━━━━━━━━╸━━━━━━ 40/100  about 3 min left  accuracy 98.97 %

What does not fit the terminal is left out, from the right; the case and the time left come first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tito.bench.event import Event
from tito.bench.expected import Expected, TimeLeft
from tito.bench.suite import Metric
from tito.errors import printable
from tito.report import figures, units
from tito.terminal.tables import duration, indented, plain, say_indented

FEW = 10  # with more seeds than this, not every seed has its own line
QUIET_SECONDS = 10.0  # the least time between lines without a terminal
BAR = 12  # columns
GAP = 2

Plan = tuple[tuple[str, int], ...]  # the cases, each with its number of seeds


class RunProgress:
    """The progress of a run: a live line in a terminal, or occasional lines elsewhere.

    A context manager; call `report` with the runner's events.

    Args:
        console: where it is shown.
        metrics: the suite's metrics, for names and units.
        expect: returns how long the run is expected to take, once its plan is known.
        clock: time.monotonic except in tests.
    """

    def __init__(
        self,
        console: Console,
        metrics: Mapping[str, Metric],
        expect: Callable[[Plan], Expected | None] = lambda plan: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console, self._metrics, self._expect, self._clock = console, metrics, expect, clock
        self._last_line = self._began = self._seed_began = clock()
        self._plan: Plan = ()
        self._left: TimeLeft | None = None
        self._event: Event | None = None
        self._live = Live(self, console=console, transient=True, refresh_per_second=4, auto_refresh=True)

    def __enter__(self) -> RunProgress:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._event = None
        if self._console.is_terminal:
            self._live.stop()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self._event is not None:
            yield self._line_for(self._event, options.max_width)

    def report(self, event: Event) -> None:
        """Show one event."""
        if event.stage == "start":
            self._start(event.plan)
        elif event.stage in ("seed done", "seed kept"):
            self._seed_done(event)
        else:
            if self._event and (event.case, event.seed, event.stage in _AFTER) != (
                self._event.case,
                self._event.seed,
                self._event.stage in _AFTER,
            ):
                self._seed_began = self._clock()
            self._event = event
            if not self._console.is_terminal and self._clock() - self._last_line >= QUIET_SECONDS:
                self._say(f"{self._where(event)} {event.done}/{event.total}", *self._parts(event), self._time_left())

    def _start(self, plan: Plan) -> None:
        self._plan, self._began = plan, self._clock()
        self._seed_began = self._began
        expected = self._expect(plan)
        if expected:
            self._left = TimeLeft(expected, plan)
            self._say(f"about {duration(expected.total)}, according to {expected.source}")

    def _seed_done(self, event: Event) -> None:
        now, kept = self._clock(), event.stage == "seed kept"
        if self._left:
            self._left.finish(event.case, None if kept else now - self._seed_began)
        self._seed_began = now
        step = -(-event.total // FEW)
        if event.done % step == 0 or event.done == event.total:
            self._say(self._where(event), *self._parts(event), "taken over" if kept else "")

    def _say(self, text: str, *more: str) -> None:
        self._last_line = self._clock()
        say_indented(self._console, printable(text), "dim", [printable(part) for part in more if part])

    def _line_for(self, event: Event, width: int) -> RenderableType:
        """Return what fits the width: where it is, the time left, the stage, a bar, and figures, in this order."""
        position, left = self._position(event), self._time_left()
        count = f"{event.done}/{event.total}"
        room = width - GAP - sum(len(text) + GAP for text in (position, left) if text)
        stage = next((text for text in self._stages(event) if len(text) <= room), "")
        room -= len(stage) + GAP
        bar = room >= BAR + 1 + len(count)
        room -= (BAR + 1 + len(count)) * bar + GAP
        shown = Text("")
        for part in self._parts(event):
            if len(part) + GAP > room:
                break
            shown.append(f"{part}  ")
            room -= len(part) + GAP
        shown.rstrip()
        shown.stylize("dim")
        cells: list[tuple[RenderableType, object]] = [(Text(position), position), (Text(stage), stage)]
        cells += [(ProgressBar(event.total, event.done, width=BAR), bar), (Text(f"{count} "), bar)]
        cells += [(Text(left), left), (shown, shown.plain)]
        made = Table.grid(padding=(0, GAP if not bar else 1, 0, 0))
        used = [cell for cell, there in cells if there]
        for _ in used:
            made.add_column(no_wrap=True, overflow="crop")
        made.add_row(*used)
        return indented(made)

    def _position(self, event: Event) -> str:
        """Return which case of how many this is, and which seed if the only case has several."""
        names = [name for name, _ in self._plan]
        if event.case not in names or event.stage in _AFTER:
            return ""
        if len(names) > 1:
            return f"case {names.index(event.case) + 1} of {len(names)}"
        return ""

    def _stages(self, event: Event) -> tuple[str, ...]:
        """Return the case, the seed, and the stage, and then less and less of them."""
        several = dict(self._plan).get(event.case, 2) > 1 and event.stage not in _AFTER
        seed = f", seed {event.seed}" if several and event.seed is not None else ""
        return f"{event.case}{seed}: {event.stage}", f"{event.case}: {event.stage}", event.stage

    def _where(self, event: Event) -> str:
        """Return the case, the seed, and the stage, for a line of its own."""
        position = self._position(event)
        seed = "" if event.seed is None else f", seed {event.seed}"
        stage = "" if event.stage in ("seed done", "seed kept") else f": {event.stage}"
        return f"{f'{position}, ' if position else ''}{event.case}{seed}{stage}"

    def _time_left(self) -> str:
        if self._left is None:
            return ""
        now = self._clock()
        seconds = self._left.seconds(now - self._began, now - self._seed_began)
        return "longer than expected" if seconds is None else f"about {duration(seconds)} left"

    def _parts(self, event: Event) -> list[str]:
        """Return the figures in short: Test accuracy 98.61 %, train loss 0.012."""
        known = {**figures.BUILT_IN, **self._metrics}
        hidden = {"load_seconds", "build_seconds", "evaluate_seconds"}
        shown = {name: value for name, value in event.figures.items() if name not in hidden}
        if any(metric.short for metric in self._metrics.values()):  # an overview, whose whole table follows at the end
            shown = {name: value for name, value in shown.items() if name in self._metrics}
        return [
            f"{printable(_short_name(name, known.get(name)))} {plain(_value(value, known.get(name)))}"
            for name, value in shown.items()
        ]


_AFTER = ("latency", "throughput", "stacks")  # stages that follow when all cases have run


def _short_name(name: str, metric: Metric | None) -> str:
    return name.replace("_", " ") if metric is None else metric.short or metric.title


def _value(value: float | None, metric: Metric | None) -> str:
    if value is None:
        return "not a number"
    return units.quantity(value, metric.unit) if metric else units.significant(value)
