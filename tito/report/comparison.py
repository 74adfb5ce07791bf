"""A page for two records: what became faster, what slower, and where both are the same within the noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment

from tito.bench.compare import Compared, is_bad
from tito.bench.record import Record
from tito.report import changes, units
from tito.report.pieces import Absent, Grid, Piece, Plot, digits, plain
from tito.report.rendering import environment, render, write_assets, write_documents

FOLDER = "comparisons"  # in the folder of the reports
HEADS = ["figure", "verdict", "change", "95% interval", "before", "after", "interval from"]
COLOURS = {"tie": "--muted", "unclear": "--muted", "changed": "--series-1"}
SYMBOLS = {"tie": "circle-open", "unclear": "circle-open", "changed": "diamond"}  # color is not the only difference


def write_comparison(
    a: Record, b: Record, compared: Sequence[Compared], reports: Path, typed: Callable[[str], str] = str
) -> Path:
    """Write comparisons/<a>..<b>.html into the folder of the reports, and return its path.

    Args:
        a, b: the records, the earlier one first.
        compared: their figures.
        reports: the folder of the reports.
        typed: returns a command of tito as it is typed here.

    Raises:
        ReportError: the folder cannot be written.
    """
    jinja = environment(typed)
    page = comparison_page(a, b, compared, jinja)
    write_assets(jinja, reports)
    return write_documents({f"{a.id}..{b.id}.html": page}, reports / FOLDER)[0]


def comparison_page(a: Record, b: Record, compared: Sequence[Compared], jinja: Environment) -> str:
    """Return the page of two records."""
    return render(
        jinja,
        "comparison.html.j2",
        scripts=["figures.js"],
        styles=["pages.css"],
        place="../",
        before=a,
        after=b,
        tally=changes.tally(compared),
        origins=changes.origins(a, b),
        pieces=pieces(b, compared),
        how=changes.HOW,
    )


def pieces(record: Record, compared: Sequence[Compared]) -> list[Piece]:
    """Return a figure of what changed, then a table for each case."""
    if not compared:
        return [Absent("Figures", "No figure is in both records.")]
    made: list[Piece] = [plot(record, compared)] if any(one.low is not None for one in compared) else []
    for title, rows in changes.by_case(record, compared).items():
        cells = [_cells(one) for one in rows]
        missed = frozenset((y, 1) for y, one in enumerate(rows) if is_bad(one.verdict))
        made.append(Grid(title, "", HEADS, cells, numeric=frozenset((2, 3, 4, 5)), missed=missed, wide=True))
    return made


def _cells(one: Compared) -> list[str]:
    unit = one.quantity.metric.unit
    return [
        one.quantity.metric.title,
        one.verdict,
        changes.change(one),
        changes.interval(one),
        units.quantity(one.before, unit),
        units.quantity(one.after, unit),
        one.basis,
    ]


def plot(record: Record, compared: Sequence[Compared]) -> Plot:
    """Return each relative change with its interval, one line each; shares are in the tables only."""
    titles = {one.quantity.key: title for title, rows in changes.by_case(record, compared).items() for one in rows}
    several = len(set(titles.values())) > 1
    shown = [one for one in compared if not one.share and one.low is not None and one.high is not None]
    names = [
        plain(f"{titles[one.quantity.key]}: {one.quantity.metric.title}" if several else one.quantity.metric.title)
        for one in shown
    ]
    shade = [COLOURS.get(one.verdict, "--bad" if is_bad(one.verdict) else "--good") for one in shown]
    marks = [SYMBOLS.get(one.verdict, "triangle-right" if one.change > 0 else "triangle-left") for one in shown]
    ends = [(100 * (one.low or 0), 100 * one.change, 100 * (one.high or 0)) for one in shown]
    data: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "markers+text",
            "x": [digits(middle) for _, middle, _ in ends],
            "y": names,
            "text": [one.verdict if one.verdict != "tie" else "" for one in shown],
            "textposition": "top center",
            "cliponaxis": False,
            "error_x": {
                "type": "data",
                "symmetric": False,
                "array": [digits(high - middle) for _, middle, high in ends],
                "arrayminus": [digits(middle - low) for low, middle, _ in ends],
                "color": "--muted",
                "thickness": 1.4,
            },
            "marker": {"size": 10, "color": shade, "symbol": marks},
            "hovertemplate": "%{y}: %{x:+.1f} %<extra></extra>",
        }
    ]
    layout = {
        "xaxis": {"title": {"text": "change, %"}, "zeroline": True},
        "yaxis": {"type": "category", "autorange": "reversed", "automargin": True},
        "showlegend": False,
        "height": 120 + 34 * len(shown),
    }
    says = "The change of each figure with its 95% interval; an open circle is a tie. Zero is no change."
    return Plot("What changed", says, data, layout, shape="tall", wide=True)


def as_rows(compared: Sequence[Compared]) -> list[dict[str, Any]]:
    """Return the figures as plain data, for programs."""
    return [
        {
            "figure": one.quantity.key,
            "unit": one.quantity.metric.unit,
            "before": one.before,
            "after": one.after,
            "change": one.change,
            "low": one.low,
            "high": one.high,
            "verdict": one.verdict,
            "basis": one.basis,
        }
        for one in compared
    ]
