"""An overview in the terminal: the best of each track, and the cases of each track side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.text import Text

from tito.report.overview import Line, Side
from tito.report.pieces import Tile, Tiles
from tito.terminal.tables import GAP, INDENT, Column, Fitted, indented, plain

FRONT = "*"  # marks a case that no other one beats


class BestOfEachTrack:
    """For each track its reference, and below it the smallest, the fastest, and the best case."""

    def __init__(self, groups: Sequence[Tiles]) -> None:
        self._groups = groups

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield indented(Text("best of each track", style="dim"))
        width = options.max_width - INDENT - GAP
        for group in self._groups:
            says = f"  {plain(group.says)}" if group.says else ""
            yield indented(Text.assemble((group.title, "bold"), (says, "dim")))
            for line in self._tiles(group.tiles, width):
                yield Padding(line, (0, 0, 0, INDENT + GAP))
            if not group.tiles:
                yield Padding(Text("no other case meets its gates"), (0, 0, 0, INDENT + GAP))

    def _tiles(self, tiles: Sequence[Tile], width: int) -> Iterator[Text]:
        """Yield a line for each figure, with its case; where this is too wide, the case follows below it."""
        if not tiles:
            return
        everything = [tile for group in self._groups for tile in group.tiles]
        columns = [[tile.title.lower(), plain(tile.value), plain(tile.note)] for tile in everything]
        title, value, note = (max(map(cell_len, column)) for column in zip(*columns, strict=True))
        longest = max(cell_len(tile.case) for tile in everything)
        beside = title + value + note + longest + 3 * GAP <= width
        for tile in tiles:
            line = Text(f"{tile.title.lower():<{title}}  ").append(f"{plain(tile.value):<{value}}", "bold")
            line.append(f"  {plain(tile.note):<{note if beside else 0}}")
            yield line.append(f"  {tile.case}" if beside else f"\n{' ' * (title + GAP)}{tile.case}")


def best_of_each_track(groups: Sequence[Tiles]) -> RenderableType:
    """Return for each track its reference and its best cases."""
    return BestOfEachTrack(groups)


class SideBySide:
    """The cases of one track, one line each; below a figure its requirement, and below the table the cases' notes.

    Args:
        side: the cases.
        wide: show all columns, in further tables where they do not fit; otherwise the less important ones are left out.
    """

    def __init__(self, side: Side, wide: bool = False) -> None:
        self._side, self._wide = side, wide

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        side = self._side
        rank = {column: rank for rank, column in enumerate(side.priority, start=1)}
        figures = [
            Column(head, rank.get(i, len(side.heads)), right=True, whole=True) for i, head in enumerate(side.heads)
        ]
        marked = any(line.front for line in side.lines)
        columns = [*([Column("", whole=True)] if marked else []), Column(side.group), *figures]
        rows: list[list[str | Text]] = [
            [
                *([FRONT if line.front else ""] if marked else []),
                line.title,
                *(_cell(line, i) for i in range(len(figures))),
            ]
            for line in side.lines
        ]
        yield indented(Fitted(columns, rows, self._wide))
        for line in side.lines:
            if line.note:
                yield indented(Text(f"{line.title}: {line.note}", style="dim"))


def _cell(line: Line, column: int) -> Text:
    """Return a figure with its requirement below it; a missed one is marked and red."""
    missed = column in line.missed
    shown = Text().append(plain(line.cells[column]) + (" ✗" if missed else ""), style="red" if missed else "")
    required = line.required[column]
    return shown.append(f"\n{plain(required)}", style="dim") if required else shown
