"""The look of tables in a terminal: without lines, indented by two, with ordinary spaces."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tito.report import units

DIRECTION = {"at_least": "at least", "at_most": "at most"}


def plain(text: str) -> str:
    """Return text with ordinary spaces, which terminals and files of every encoding can show."""
    return text.replace(units.THIN, " ")


def table(*columns: str, right: Sequence[str] = ()) -> Table:
    """Return a table without lines."""
    made = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="dim")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def indented(content: RenderableType) -> Padding:
    """Indent something by two."""
    return Padding(content, (0, 0, 0, 2), expand=False)


def lines(pairs: Sequence[tuple[str, str]]) -> Padding:
    """Return names and values, one pair on each line."""
    made = Table(box=None, show_header=False, padding=(0, 3, 0, 0), pad_edge=False)
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        made.add_row(name, Text(plain(value)))
    return indented(made)
