"""The progress of a verification: a live bar in a terminal, elsewhere a line for each entry and now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from tito.errors import printable
from tito.terminal.progress import QUIET_SECONDS


class Step(Protocol):
    """One step of a verification; as a text it is a line with the time left.

    `what` is an entry, a self-test, or "waiting"; `done` and `total` are rounds, 0 of 0 before they are known.
    """

    @property
    def what(self) -> str: ...
    @property
    def stage(self) -> str: ...
    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int: ...


class VerifyProgress:
    """A context manager; `report` receives each step. `clock` is time.monotonic except in tests."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._last_line, self._what = 0.0, ""
        self._progress = Progress(
            TextColumn("  {task.description}", markup=False),
            BarColumn(bar_width=24),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> VerifyProgress:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def report(self, step: Step) -> None:
        """Show one step: a line when another entry begins, and what is between as the bar or a line now and then."""
        text, now = printable(str(step)), self._clock()
        new = step.what != self._what
        if new or (not self._console.is_terminal and now - self._last_line >= QUIET_SECONDS):
            self._console.print(f"  {text}", style="dim", markup=False, highlight=False, soft_wrap=True)
            self._what, self._last_line = step.what, now
        if self._console.is_terminal:
            total = step.total or None  # None: the bar only moves
            if self._task is None:
                self._task = self._progress.add_task(text, total=total)
            self._progress.update(self._task, description=text, completed=step.done, total=total)
