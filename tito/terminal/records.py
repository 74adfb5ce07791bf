"""The list of records, newest last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from tito.bench.entry import Entry
from tito.bench.naming import short_names
from tito.report import units
from tito.terminal.tables import plain

STATUS_STYLE = {"passed": "green", "gate missed": "red", "failed": "red"}
WITH_TIME = 100  # columns from which on the time of day is shown, and
WITH_COMMIT = 72  # the commit
COMMIT = 7  # digits
MOST = 200  # rows of a table


class RecordList:
    """One line for each record. Its name is never wrapped, so that it can be copied."""

    def __init__(self, entries: Sequence[Entry], metric: str = "") -> None:
        self._entries = entries
        self._metric = metric

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        names = short_names(self._entries)
        moment = "%Y-%m-%d %H:%M" if options.max_width >= WITH_TIME else "%Y-%m-%d"
        columns: dict[str, Sequence[str | Text]] = {
            "record": names,
            "date": [f"{entry.created:{moment}}" for entry in self._entries],
            "commit": [commit_of(entry) for entry in self._entries],
            "status": [Text(entry.status, style=STATUS_STYLE[entry.status]) for entry in self._entries],
        }
        if options.max_width < WITH_COMMIT:
            del columns["commit"]
        if len(self._entries) > MOST:
            yield from self._lines(columns, options.max_width)
            return
        made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        for head, cells in columns.items():
            made.add_column(head, no_wrap=True, min_width=max(map(len, cells), default=0))
        made.add_column("figure", overflow="fold")
        made.add_column("", overflow="fold")
        for *cells, entry in zip(*columns.values(), self._entries, strict=True):
            marks = Text(", ".join(marks_of(entry)), style="dim")
            made.add_row(*cells, figure_of(entry, self._metric), marks)
        yield made

    def _lines(self, columns: dict[str, Sequence[str | Text]], width: int) -> Iterator[Segment]:
        """Yield the same without wrapped cells, because Rich takes half a millisecond for a row of a table."""
        widths = [max(map(len, [head, *cells])) + 2 for head, cells in columns.items()]
        figures = [figure_of(entry, self._metric) for entry in self._entries]
        last = max(map(len, figures)) + 2
        heads = [*(head.ljust(space) for head, space in zip(columns, widths, strict=True)), "figure"]
        yield Segment("".join(heads)[:width] + "\n")
        for *cells, figure, entry in zip(*columns.values(), figures, self._entries, strict=True):
            padded = [str(cell).ljust(space) for cell, space in zip(cells, widths, strict=True)]
            line = f"{''.join(padded)}{figure.ljust(last)}{', '.join(marks_of(entry))}".rstrip()
            yield Segment(line if len(line) <= width else f"{line[: width - 1]}…")
            yield Segment("\n")


def commit_of(entry: Entry) -> str:
    """Return the commit in short, with "+" for changes that are not in it."""
    return "–" if entry.commit is None else entry.commit[:COMMIT] + "+" * bool(entry.dirty)


def marks_of(entry: Entry) -> list[str]:
    """Return what sets a run apart from a full one of its suite, and its note."""
    marks = {"quick": entry.quick, "altered": bool(entry.altered), "noisy": entry.noisy, "own code": entry.mine}
    return [*(mark for mark, holds in marks.items() if holds), *filter(None, [entry.note])]


def figure_of(entry: Entry, metric: str = "") -> str:
    """Return the figure that represents a record, or a metric's, with its name: accuracy 98.61 %."""
    key = entry.key_of(metric) if metric else entry.first
    if not key or key not in entry.figures:
        return "–"
    name = key.partition(".")[2]
    return plain(f"{name} {units.quantity(entry.figures[key], entry.unit_of(name))}")
