"""Two records compared, as printed by `tito record compare`."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from tito.bench.compare import Compared, is_bad
from tito.bench.record import Record
from tito.report import changes, units
from tito.terminal.tables import Column, Fitted, indented, lines, plain

MOST = 24  # rows up to which ties are listed as well
COLUMNS = [  # what each interval rests on needs a wide terminal; the change and its interval stay
    Column("", whole=True),
    Column("figure"),
    Column("before", rank=1, right=True, whole=True),
    Column("after", rank=1, right=True, whole=True),
    Column("change", right=True, whole=True),
    Column("95% interval", right=True, whole=True),
    Column("from", rank=2, few=20),
]
STYLE = {"tie": "dim", "unclear": "yellow", "changed": "yellow"}


def show_comparison(a: Record, b: Record, compared: Sequence[Compared], every: bool = False) -> RenderableType:
    """Return both records, then the figures by case, then how many are faster, slower, or ties.

    Args:
        every: list the ties, however many figures there are.
    """
    parts: list[RenderableType] = [Text(), Text.assemble((f"{b.year} {b.suite}", "bold"), f"  {b.title}")]
    parts += [Text(), lines(changes.origins(a, b))]
    shown = [one for one in compared if every or len(compared) <= MOST or one.verdict != "tie"]
    every_row = [_cells(one) for one in shown]
    for title, rows in changes.by_case(b, shown).items():
        figures = Fitted(COLUMNS, [_cells(row) for row in rows], like=every_row, counted=False)
        parts += [Text(), Text(title), indented(figures)]
    left_out = len(compared) - len(shown)
    more = "; --all lists the ties" if left_out else ""
    parts += [Text(), Text(plain(changes.tally(compared)) + more), Text(changes.HOW, style="dim")]
    return Group(*parts)


def _cells(row: Compared) -> list[str | Text]:
    """Return a figure as a row of a table."""
    style = "red" if is_bad(row.verdict) else STYLE.get(row.verdict, "green")
    unit = row.quantity.metric.unit
    return [
        Text(row.verdict, style=style),
        row.quantity.metric.title,
        units.quantity(row.before, unit),
        units.quantity(row.after, unit),
        changes.change(row),
        changes.interval(row),
        Text(plain(row.basis), style="dim"),
    ]
