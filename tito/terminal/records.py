"""The list of records, newest last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import shorten

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.text import Text

from tito.bench.entry import Entry
from tito.bench.naming import short_names
from tito.report import units
from tito.terminal.tables import WHOLE, Column, Fitted, Shown, plain, unbroken

STATUS_STYLE = {"passed": "green", "gate missed": "red", "failed": "red"}
WITH_TIME = 100  # columns from which on the time of day is shown, and
WITH_COMMIT = 80  # the commit; in a narrower one, the date is below the name
COMMIT = 7  # digits
RANK = {"date": 3, "commit": 4}  # left out for a long name, the commit first
MOST = 200  # rows of a table
LONGEST = 48  # characters of a note in a table; `tito record show` prints all of it
NONE = "–"


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
        if "commit" not in columns:
            dates = columns.pop("date")
            columns["record"] = [f"{name}\n{date}" for name, date in zip(names, dates, strict=True)]
        heads = [Column(head, RANK.get(head, 0), whole=True) for head in columns]
        heads += [Column(self._head, rank=1, few=0), Column("", rank=2, few=0)]
        rows = [
            [*cells, self._figure(entry), Text(", ".join(marks_of(entry, LONGEST)), style="dim")]
            for *cells, entry in zip(*columns.values(), self._entries, strict=True)
        ]
        yield Shown(Fitted(heads, rows, counted=False))

    @property
    def _head(self) -> str:
        return self._metric or "figure"

    def _figure(self, entry: Entry) -> str:
        """Return a record's figure, not to be broken before its unit; under the head of a metric, without its name."""
        name, value = named_figure(entry, self._metric)
        return unbroken(value if self._metric or not name else f"{name} {value}")

    def _lines(self, columns: dict[str, Sequence[str | Text]], width: int) -> Iterator[Segment]:
        """Yield the same without wrapped cells, because Rich takes half a millisecond for a row of a table."""
        widths = [max(map(len, [head, *cells])) + 2 for head, cells in columns.items()]
        figures = [self._figure(entry).replace(WHOLE, " ") for entry in self._entries]
        last = max(map(len, [self._head, *figures])) + 2
        heads = [*(head.ljust(space) for head, space in zip(columns, widths, strict=True)), self._head]
        yield Segment("".join(heads)[:width] + "\n")
        for *cells, figure, entry in zip(*columns.values(), figures, self._entries, strict=True):
            padded = [str(cell).ljust(space) for cell, space in zip(cells, widths, strict=True)]
            line = f"{''.join(padded)}{figure.ljust(last)}{', '.join(marks_of(entry))}".rstrip()
            yield Segment(line if len(line) <= width else f"{line[: width - 1]}…")
            yield Segment("\n")


def commit_of(entry: Entry) -> str:
    """Return the commit in short, with "+" for changes that are not in it."""
    return NONE if entry.commit is None else entry.commit[:COMMIT] + "+" * bool(entry.dirty)


def marks_of(entry: Entry, longest: int | None = None) -> list[str]:
    """Return what sets a run apart from a full one of its suite, and its note, cut to `longest` characters."""
    note = shorten(entry.note, longest, placeholder=" …") if longest else entry.note
    marks = {"quick": entry.quick, "altered": bool(entry.altered), "noisy": entry.noisy, "own code": entry.mine}
    return [*(mark for mark, holds in marks.items() if holds), *filter(None, [note])]


def figure_of(entry: Entry, metric: str = "") -> str:
    """Return the figure that represents a record, or a metric's, with its name: accuracy 98.61 %."""
    return plain(" ".join(filter(None, named_figure(entry, metric))))


def named_figure(entry: Entry, metric: str = "") -> tuple[str, str]:
    """Return the name and the value of the figure that represents a record, or of a metric."""
    key = entry.key_of(metric) if metric else entry.first
    if not key or key not in entry.figures:
        return "", NONE
    name = key.partition(".")[2]
    return name, units.quantity(entry.figures[key], entry.unit_of(name))
