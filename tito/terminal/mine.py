"""A run of a learner's own code in the terminal: the gates, then steps and lines beside the reference."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from tito.bench.mine import MineRun
from tito.report.mine import section
from tito.report.pieces import Grid
from tito.terminal.record import show_record
from tito.terminal.tables import indented, plain, table

FEW_LINES = 5


def show_mine(run: MineRun) -> RenderableType:
    """Return the record as any run shows it, and what the page adds."""
    found = section(run)
    parts: list[RenderableType] = [show_record(run.record)]
    if found.tiles:
        parts += [_beside(found.tiles.title, [(t.title, t.value, t.note) for t in found.tiles.tiles])]
    parts += [_grid(piece) for piece in found.pieces if isinstance(piece, Grid)]
    parts += [indented(Text(plain(note), style="dim")) for note in found.notes]
    return Group(*parts)


def _beside(title: str, rows: list[tuple[str, str, str]]) -> RenderableType:
    made = table("yours", "", "")
    for name, value, note in rows:
        made.add_row(name, plain(value), Text(plain(note), style="dim"))
    return Group(Text(f"\n  {title}"), indented(made))


def _grid(piece: Grid) -> RenderableType:
    made = table(*piece.columns, right=[piece.columns[i] for i in piece.numeric])
    for row in piece.rows[: FEW_LINES if piece.columns[0] == "share" else None]:
        made.add_row(*(Text(plain(cell)) for cell in row))
    return Group(Text(f"\n  {piece.title}"), indented(made))
