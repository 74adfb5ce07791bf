"""What every figure of a page has besides its own data, as pure functions.

Series differ in dash, symbol, or pattern as well as in color, and lines are named at their ends. The data of a figure
is also a table, for readers without scripts and for those who do not see the figure.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

from tito.report.pieces import Grid, Plot, cut
from tito.report.units import THIN

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")
PATTERNS = ("", "/", ".", "x", "-", "+")  # of bars
MOST_LABELS = 6  # lines with a name at their end; more need a legend
LABEL_LENGTH = 22
GAP = 0.07  # least distance of two labels, as a share of the height of a usual figure
MOST_ROWS = 40  # of a table, for each series
MOST_CELLS = 400  # of a matrix that is listed

Trace = dict[str, Any]


def figure_of(plot: Plot) -> dict[str, Any]:
    """Return the figure as the page embeds it: told apart without color, lines named at their ends."""
    data = [dict(trace) for trace in plot.data]
    if plot.layout.get("showlegend", len(data) > 1):
        names = list(dict.fromkeys(trace.get("name", "") for trace in data if _is_series(trace)))
        for trace in data:
            if _is_series(trace) and len(names) > 1:
                _set_apart(trace, names.index(trace.get("name", "")))
    labels = end_labels(data, plot.layout)
    layout = dict(plot.layout)
    if labels:
        layout["annotations"] = [*layout.get("annotations", []), *labels]
    return {"data": data, "layout": layout}


def _is_series(trace: Trace) -> bool:
    return trace["type"] in ("scatter", "bar") and trace.get("hoverinfo") != "skip"


def _set_apart(trace: Trace, index: int) -> None:
    if trace["type"] == "bar":
        pattern = {
            "shape": PATTERNS[index % len(PATTERNS)],
            "fillmode": "overlay",
            "fgcolor": "--card",
            "solidity": 0.3,
        }
        trace["marker"] = {"pattern": pattern, **trace.get("marker", {})}
        return
    mode = trace.get("mode", "lines")
    if "lines" in mode:
        own = trace.get("line", {})
        stated = own.get("dash", "solid") != "solid"
        trace["line"] = own if stated else own | {"dash": DASHES[index % len(DASHES)]}
    if "markers" in mode:
        trace["marker"] = {"symbol": SYMBOLS[index % len(SYMBOLS)], **trace.get("marker", {})}


def end_labels(data: Sequence[Trace], layout: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the names of lines as annotations at the right, each at the height of its line's end.

    They stand in place of a legend. figures.js drops them where the page is narrow. Labels that would touch are moved
    apart.
    """
    lines = [trace for trace in data if trace["type"] == "scatter" and "lines" in trace.get("mode", "lines")]
    named: dict[str, list[float]] = {}
    for trace in lines:
        if trace.get("name") and trace.get("hoverinfo") != "skip" and len(trace["y"]):
            named.setdefault(trace["name"], []).append(float(trace["y"][-1]))
    if not layout.get("showlegend", True) or not 2 <= len(named) <= MOST_LABELS:
        return []
    axis = layout.get("yaxis", {})
    logarithmic = axis.get("type") == "log"
    values = [float(y) for trace in data if trace["type"] == "scatter" for y in trace["y"]]
    if logarithmic and min(values) <= 0:
        return []
    measure = math.log10 if logarithmic else float
    low, high = axis.get("range") or (measure(min(values)), measure(max(values)))
    span = (high - low) or 1.0
    ends = sorted((sum(map(measure, ys)) / len(ys), name) for name, ys in named.items())
    places = spread_out([(end - low) / span for end, _ in ends], GAP)
    return [_label(name, low + place * span) for place, (_, name) in zip(places, ends, strict=True)]


def spread_out(places: Sequence[float], gap: float) -> list[float]:
    """Return ascending places moved apart so that neighbors are `gap` apart, around where they were.

    >>> [round(place, 2) for place in spread_out([0.1, 0.5, 0.5], 0.1)]
    [0.1, 0.45, 0.55]
    """
    groups: list[list[float]] = []  # each: center, number
    for place in places:
        groups.append([place, 1])
        while len(groups) > 1 and groups[-1][0] - groups[-2][0] < gap * (groups[-1][1] + groups[-2][1]) / 2:
            (a, n), (b, m) = groups.pop(-2), groups.pop()
            groups.append([(a * n + b * m) / (n + m), n + m])
    return [center + gap * (i - (n - 1) / 2) for center, n in groups for i in range(int(n))]


def _label(name: str, y: float) -> dict[str, Any]:
    return {
        "name": "end",  # figures.js knows them by it
        "text": html.escape(cut(html.unescape(name), LABEL_LENGTH), quote=False),
        "xref": "paper",
        "x": 1,
        "xanchor": "left",
        "xshift": 6,
        "y": y,
        "yanchor": "middle",
        "align": "left",
        "showarrow": False,
        "font": {"color": "--text", "size": 12},
    }


def data_table(plot: Plot) -> Grid | None:
    """Return the figure's data as a table; long series are thinned, and the table says so. None if it has no data."""
    matrices = [trace for trace in plot.data if trace["type"] == "heatmap"]
    for trace in matrices:
        if "text" in trace and len(trace["y"]) * len(trace["x"]) <= MOST_CELLS:
            rows = [[str(name), *map(_cell, row)] for name, row in zip(trace["y"], trace["text"], strict=True)]
            return _grid(plot, ["", *map(str, trace["x"])], rows, [])
    shown = [trace for trace in plot.data if _is_series(trace) and "x" in trace]
    several = len(shown) > 1
    percent = [plot.layout.get(axis, {}).get("tickformat", "").endswith(("%", "p")) for axis in ("xaxis", "yaxis")]
    rows, short = [], []
    for number, trace in enumerate(shown, start=1):
        name = ", ".join(filter(None, [trace.get("name") or f"series {number}", trace.get("meta")]))
        points = list(zip(trace["x"], trace["y"], strict=True))
        step = -(-len(points) // MOST_ROWS)
        if step > 1:
            short.append(f"{name if several else 'Listed'}: one of {step} points, of {len(points)}")
            points = [*points[:-1:step], points[-1]]
        rows += [[*([name] if several else []), _cell(x, percent[0]), _cell(y, percent[1])] for x, y in points]
    if matrices:
        short.append("The values of the shading are in the CSV file and in the record")
    heads = [*(["series"] if several else []), _title(plot, "xaxis"), _title(plot, "yaxis")]
    return _grid(plot, heads, rows, short) if rows else None


def _grid(plot: Plot, heads: list[str], rows: list[list[str]], short: list[str]) -> Grid:
    heads, rows = [html.unescape(head) for head in heads], [[html.unescape(cell) for cell in row] for row in rows]
    numeric = frozenset(i for i in range(len(heads)) if all(_is_number(row[i]) for row in rows))
    says = html.unescape("; ".join(short)) + "." if short else ""
    return Grid(plot.title, says, heads, rows, numeric)


def _title(plot: Plot, axis: str) -> str:
    return str(plot.layout.get(axis, {}).get("title", {}).get("text", "")) or axis[0]


def _cell(value: Any, percent: bool = False) -> str:
    if percent and isinstance(value, int | float):
        return f"{100 * value:.6g}{THIN}%".replace("-", "−")
    if isinstance(value, float):
        return f"{value:.6g}".replace("-", "−") if abs(value) >= 1e-4 or value == 0 else f"{value:.4g}"
    return str(value)


def _is_number(text: str) -> bool:
    try:
        float(text.replace("−", "-").removesuffix(f"{THIN}%"))
    except ValueError:
        return False
    return True
