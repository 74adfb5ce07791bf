"""The progress of a run: a live bar in a terminal, or occasional lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from tito.bench.runner import Event
from tito.bench.suite import Metric
from tito.report import figures, units
from tito.terminal.tables import plain

FEW = 10  # with more seeds than this, not every seed has its own line
QUIET_SECONDS = 10.0  # the least time between lines without a terminal


class RunProgress:
    """The progress of a run: a live bar in a terminal, or occasional lines elsewhere.

    A context manager; call `report` with the runner's events. `clock` is time.monotonic except in tests.
    """

    def __init__(
        self, console: Console, metrics: Mapping[str, Metric], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console, self._metrics, self._clock = console, metrics, clock
        self._last_line = clock()
        self._progress = Progress(
            TextColumn("  {task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[figures]}", style="dim", markup=False),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._key: tuple[str, str, int | None] | None = None

    def __enter__(self) -> RunProgress:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def report(self, event: Event) -> None:
        """Show one event."""
        if event.stage == "seed done":
            self._seed_done(event)
        elif self._console.is_terminal:
            self._move_bar(event)
        elif self._clock() - self._last_line >= QUIET_SECONDS:
            self._line(f"{_where(event)} {event.done}/{event.total}", event)

    def _seed_done(self, event: Event) -> None:
        step = -(-event.total // FEW)
        if event.done % step == 0 or event.done == event.total:
            self._line(f"{event.case}, seed {event.seed}", event)

    def _move_bar(self, event: Event) -> None:
        key = (event.stage, event.case, event.seed)
        if key != self._key:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._task = self._progress.add_task(_where(event), total=event.total, figures="")
            self._key = key
        assert self._task is not None
        shown = self._shown(event)
        self._progress.update(self._task, completed=event.done, total=event.total, figures=shown)

    def _line(self, text: str, event: Event) -> None:
        self._last_line = self._clock()
        self._console.print(f"  {text}   {self._shown(event)}".rstrip(), style="dim", markup=False, soft_wrap=True)

    def _shown(self, event: Event) -> str:
        """Return the figures in short: Test accuracy 98.61 %   train loss 0.012."""
        known = {**figures.BUILT_IN, **self._metrics}
        hidden = {"load_seconds", "build_seconds", "evaluate_seconds"}
        shown = {name: value for name, value in event.figures.items() if name not in hidden}
        if any(metric.short for metric in self._metrics.values()):  # an overview, whose whole table follows at the end
            shown = {name: value for name, value in shown.items() if name in self._metrics}
        return "   ".join(
            f"{_short_name(name, known.get(name))} {plain(_value(value, known.get(name)))}"
            for name, value in shown.items()
        )


def _short_name(name: str, metric: Metric | None) -> str:
    return name.replace("_", " ") if metric is None else metric.short or metric.title


def _where(event: Event) -> str:
    seed = "" if event.seed is None else f", seed {event.seed}"
    return f"{event.case}{seed}: {event.stage}"


def _value(value: float | None, metric: Metric | None) -> str:
    if value is None:
        return "not a number"
    return units.quantity(value, metric.unit) if metric else units.significant(value)
