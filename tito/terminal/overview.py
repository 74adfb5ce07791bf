"""An overview in the terminal: the best of each track, and the cases of each track side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

from tito.report.overview import Line, Side
from tito.report.pieces import Tiles
from tito.terminal.tables import indented, plain, table

INDENT, GAP = 2, 2  # columns to the left of a table, and between two of its columns


def best_of_each_track(groups: Sequence[Tiles]) -> RenderableType:
    """Return for each track its reference, and below it the smallest, the fastest, and the best case."""
    made = table("best of each track", "", "", "")
    made.padding = (0, GAP, 0, 0)
    for group in groups:
        made.add_row(Text(group.title, style="bold"), "", "", Text(plain(group.says), style="dim"))
        for tile in group.tiles:
            value = Text(plain(tile.value), style="bold")
            made.add_row(f"  {tile.title.lower()}", value, plain(tile.note), tile.case)
        if not group.tiles:
            made.add_row("  none", "", "", "no other case meets its gates")
    return indented(made)


class SideBySide:
    """The cases of one track, one line each; below a figure its requirement, and below the table the cases' notes.

    Columns that do not fit the width follow in another table below.
    """

    def __init__(self, side: Side) -> None:
        self._side = side

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        titles = [_title(line) for line in self._side.lines]
        longest = max(map(cell_len, (self._side.group, *titles)))
        width = options.max_width - INDENT
        for columns in self._packed(width - min(longest, width // 2) - GAP):
            yield indented(self._table(titles, columns))
        for line in self._side.lines:
            if line.note:
                yield indented(Text(f"{line.title}: {line.note}", style="dim"))

    def _packed(self, width: int) -> Iterator[list[int]]:
        """Yield the columns in groups that fit the width, at least one in each."""
        packed: list[int] = []
        used = 0
        for i, head in enumerate(self._side.heads):
            cells = (cell_len(text) for line in self._side.lines for text in (_cell(line, i), line.required[i]))
            needed = max(cell_len(head), *cells) + GAP
            if packed and used + needed > width:
                yield packed
                packed, used = [], 0
            packed.append(i)
            used += needed
        yield packed

    def _table(self, titles: list[str], columns: list[int]) -> RenderableType:
        heads = [self._side.heads[i] for i in columns]
        made = table(self._side.group, *heads, right=heads)
        made.padding = (0, GAP, 0, 0)
        for line, title in zip(self._side.lines, titles, strict=True):
            cells = []
            for i in columns:
                shown = Text(_cell(line, i), style="red" if i in line.missed else "")
                cells.append(shown.append(f"\n{plain(line.required[i])}", style="dim") if line.required[i] else shown)
            made.add_row(Text(title), *cells)
        return made


def _title(line: Line) -> str:
    return f"{line.title} *" if line.front else line.title


def _cell(line: Line, column: int) -> str:
    return plain(line.cells[column]) + (" ✗" if column in line.missed else "")
