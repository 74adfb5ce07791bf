"""The look of tables in a terminal: without lines, with ordinary spaces, whole words, and whole commands.

A `Fitted` table leaves out columns that do not fit, the least important first, and says how many. A command in
backticks is never broken, so that it can be copied from the screen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from tito.report import units

STATUS_STYLE = {"passed": "green", "gate missed": "red", "failed": "red"}
DIRECTION = {"at_least": "at least", "at_most": "at most"}
INDENT, GAP = 2, 2  # columns to the left of an indented table, and between two columns of a table
FEW = 16  # columns that a text may be wrapped to, if its longest word is no longer
_COMMAND = r"`[^`]*`|python -m pip install -e \S+"  # the second in older records
WHOLE = "\ue000"  # stands for a space at which no line is broken; see `unbroken`


def plain(text: str) -> str:
    """Return text with ordinary spaces, which terminals and files of every encoding can show."""
    return text.replace(units.THIN, " ")


def duration(seconds: float) -> str:
    """Return a time as exactly as an estimate can be.

    >>> [duration(seconds) for seconds in (3, 42, 100, 2000, 9000)]
    ['5 s', '40 s', '2 min', '33 min', '2.5 h']
    """
    if seconds < 90:
        step = 5 if seconds < 30 else 10
        return f"{max(round(seconds / step), 1) * step} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def table(*columns: str, right: Sequence[str] = ()) -> Table:
    """Return a table without lines."""
    made = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="dim")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def indented(content: RenderableType) -> Padding:
    """Indent something by two."""
    return Padding(content, (0, 0, 0, INDENT), expand=False)


def unbroken(text: str) -> str:
    """Return text for a part of `Shown`: no line is broken within a command in backticks or before a unit."""
    return re.sub(_COMMAND, lambda found: found[0].replace(" ", WHOLE), text).replace(units.THIN, WHOLE)


class Shown:
    """Content whose parts went through `unbroken`."""

    def __init__(self, content: RenderableType) -> None:
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._content, options):
            yield Segment(segment.text.replace(WHOLE, " "), segment.style, segment.control)


class Command(str):
    """A command on its own line of `lines`. It is never broken: the terminal wraps it, and it is copied as one line."""


class Lines:
    """Names and values, one pair on each line. A word that is wider than the terminal, such as a path, stays whole.

    Args:
        pairs: a name and its value; a `Command` is not wrapped.
        indent: columns to the left.
    """

    def __init__(self, pairs: Sequence[tuple[str | Text, str | Text]], indent: int = INDENT) -> None:
        self._pairs, self._indent = pairs, indent

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        names = [Text(name, style="dim") if isinstance(name, str) else name for name, _ in self._pairs]
        width = max([0, *(name.cell_len for name in names)]) + 3
        room = max(options.max_width - self._indent - width, 1)
        for name, (_, value) in zip(names, self._pairs, strict=True):
            text = value.copy() if isinstance(value, Text) else Text(value)
            text.plain = unbroken(text.plain)
            whole = isinstance(value, Command)
            for i, part in enumerate([text] if whole else _wrapped(text, room)):
                line = Text(" " * self._indent, no_wrap=True, overflow="ignore")
                line.append(name if i == 0 else "").pad_right(self._indent + width - line.cell_len)
                line.append(part).rstrip()
                yield Shown(line)


def _wrapped(text: Text, width: int) -> list[Text]:
    """Return the lines of a text, wrapped between words only."""
    parts: list[Text] = []
    for line in text.split("\n", allow_blank=True):
        breaks, start = [], 0
        for word in re.finditer(r"\S+", line.plain):
            if word.start() > start and cell_len(line.plain[start : word.end()]) > width:
                breaks.append(word.start())
                start = word.start()
        parts += line.divide(breaks)
    return parts


def lines(pairs: Sequence[tuple[str, str]]) -> Lines:
    """Return names and values, one pair on each line."""
    return Lines(pairs)


def say_indented(console: Console, text: str, style: str, parts: Sequence[str] = ()) -> None:
    """Print a message below a heading. A terminal wraps it between words, and between whole parts where there are any.

    Without a terminal, it is one line, however long.

    Args:
        console: where it is printed.
        text: the message, or what stands before the parts.
        style: Rich's, for all of it.
        parts: what follows, three spaces apart.
    """
    if not console.is_terminal:
        console.print(Text("   ".join((f"{' ' * INDENT}{text}", *parts)), style=style), soft_wrap=True)
        return
    room = max(console.width - 2 * INDENT, 1)
    kept: list[str] = []
    for part in (text, *parts):
        if kept and cell_len(f"{kept[-1]}   {part}") <= room:
            kept[-1] += f"   {part}"
        else:
            kept.append(part)
    wrapped = [piece.plain.rstrip() for part in kept for piece in _wrapped(Text(part), room)]
    for i, line in enumerate(wrapped):
        console.print(Text(f"{' ' * INDENT * (1 + (i > 0))}{line}", style=style), soft_wrap=True)


@dataclass(frozen=True)
class Column:
    """A column of a `Fitted` table.

    Args:
        title: its head.
        rank: how important it is: 0 is always shown, and of the others the highest number is left out first.
        right: whether it is aligned to the right.
        whole: whether its lines are never wrapped, e.g. figures with their units.
        few: columns that its text may be wrapped to, if its longest word is no longer.
    """

    title: str
    rank: int = 0
    right: bool = False
    whole: bool = False
    few: int = FEW


class Fitted:
    """A table that fits the width: whole words, and without the columns for which there is no room.

    Args:
        columns: the columns.
        rows: their cells, which may have several lines.
        wide: show all columns; those that do not fit follow in further tables, below the columns of rank 0.
        like: the rows of all tables that share the widths of this one; its own by default.
        counted: whether a line below says how many columns were left out.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        rows: Sequence[Sequence[str | Text]],
        wide: bool = False,
        *,
        like: Sequence[Sequence[str | Text]] = (),
        counted: bool = True,
    ) -> None:
        self._columns, self._wide, self._counted = columns, wide, counted
        self._rows = _texts(rows)
        self._measured = _texts(like) if like else self._rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        least = [self._least(i) for i in range(len(self._columns))]
        width = options.max_width
        shown = list(self._packed(least, width)) if self._wide else [self._chosen(least, width)]
        for part in shown:
            yield self._table(part, least, options.max_width)
        hidden = 0 if self._wide else len(self._columns) - len(shown[0])
        if hidden and self._counted:
            yield Text(f"{hidden} more column{'s' * (hidden != 1)} with --wide", style="dim")

    def _chosen(self, least: Sequence[int], width: int) -> list[int]:
        """Return the columns that fit, by rank, in their order."""
        chosen: list[int] = []
        for i in sorted(range(len(least)), key=lambda i: (self._columns[i].rank, i)):
            used = sum(least[j] + GAP for j in chosen) + least[i]
            if self._columns[i].rank and used > width:
                break
            chosen.append(i)
        return sorted(chosen)

    def _packed(self, least: Sequence[int], width: int) -> Iterator[list[int]]:
        """Yield all columns in groups that fit the width, each with those of rank 0 and at least one more."""
        heads = [i for i, column in enumerate(self._columns) if column.rank == 0]
        room = width - sum(least[i] + GAP for i in heads)
        part: list[int] = []
        for i in range(len(least)):
            if i in heads:
                continue
            if part and sum(least[j] + GAP for j in part) + least[i] > room:
                yield sorted(heads + part)
                part = []
            part.append(i)
        yield sorted(heads + part)

    def _least(self, i: int) -> int:
        """Return how narrow a column may be: as wide as its lines or, if they are wrapped, as its longest word."""
        texts = [line for cell in self._cells(i) for line in cell.split("\n")]
        if self._columns[i].whole:
            return max(map(cell_len, texts))
        return max(min(self._columns[i].few, max(map(cell_len, texts))), self._longest_word(i))

    def _longest_word(self, i: int) -> int:
        return max([0, *(cell_len(word) for cell in self._cells(i) for word in cell.split())])

    def _natural(self, i: int) -> int:
        return max(cell_len(line) for cell in self._cells(i) for line in cell.split("\n"))

    def _cells(self, i: int) -> list[str]:
        return [self._columns[i].title, *(row[i].plain for row in self._measured)]

    def _table(self, part: Sequence[int], least: Sequence[int], width: int) -> Table:
        """Return a table of these columns; the widest ones are wrapped until it fits, whole ones last."""
        widths = {i: self._natural(i) for i in part}
        over = sum(widths.values()) + GAP * (len(part) - 1) - width
        for limits in (least, [self._longest_word(i) for i in range(len(least))]):
            while over > 0 and (able := [i for i in part if widths[i] > limits[i]]):
                widths[max(able, key=lambda i: widths[i])] -= 1
                over -= 1
        made = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="dim")
        for i in part:
            column = self._columns[i]
            made.add_column(column.title, justify="right" if column.right else "left", overflow="fold", width=widths[i])
        for row in self._rows:
            made.add_row(*(row[i] for i in part))
        return made


def _texts(rows: Sequence[Sequence[str | Text]]) -> list[list[Text]]:
    return [[cell if isinstance(cell, Text) else Text(plain(cell)) for cell in row] for row in rows]
