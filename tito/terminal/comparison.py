"""Two records compared, as printed by `tito record compare`."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from tito.bench.compare import Compared, is_bad
from tito.bench.record import Record
from tito.report import changes, units
from tito.terminal.tables import indented, lines, plain

WIDE = 100  # columns from which on the table says what each interval rests on
MOST = 24  # rows up to which ties are listed as well
STYLE = {"tie": "dim", "unclear": "yellow", "changed": "yellow"}


def show_comparison(a: Record, b: Record, compared: Sequence[Compared], every: bool = False) -> RenderableType:
    """Return both records, then the figures by case, then how many are faster, slower, or ties.

    Args:
        every: list the ties, however many figures there are.
    """
    parts: list[RenderableType] = [Text(), Text.assemble((f"{b.year} {b.suite}", "bold"), f"  {b.title}")]
    parts += [Text(), lines(changes.origins(a, b))]
    shown = [one for one in compared if every or len(compared) <= MOST or one.verdict != "tie"]
    for title, rows in changes.by_case(b, shown).items():
        parts += [Text(), Text(title), indented(_Rows(rows))]
    left_out = len(compared) - len(shown)
    more = "; --all lists the ties" if left_out else ""
    parts += [Text(), Text(plain(changes.tally(compared)) + more), Text(changes.HOW, style="dim")]
    return Group(*parts)


class _Rows:
    """The figures of one case."""

    def __init__(self, rows: Sequence[Compared]) -> None:
        self._rows = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.max_width >= WIDE
        made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        made.add_column("", no_wrap=True)
        made.add_column("", overflow="fold")
        for head in ("before", "after", "change", "95% interval"):
            made.add_column(head, justify="right", no_wrap=True)
        if wide:
            made.add_column("from", overflow="fold", style="dim")
        for row in self._rows:
            style = "red" if is_bad(row.verdict) else STYLE.get(row.verdict, "green")
            unit = row.quantity.metric.unit
            cells = [
                row.quantity.metric.title,
                units.quantity(row.before, unit),
                units.quantity(row.after, unit),
                changes.change(row),
                changes.interval(row),
                *([row.basis] if wide else []),
            ]
            made.add_row(Text(row.verdict, style=style), *map(plain, cells))
        yield made
