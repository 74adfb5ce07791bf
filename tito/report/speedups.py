"""How many times as fast as its reference each case of an overview is: one bar chart, intervals included."""

from __future__ import annotations

from textwrap import wrap
from typing import Any

from tito.bench.record import CaseResult, Record
from tito.report import units
from tito.report.figures import metric_of, title_of
from tito.report.overview import figure, grouped, reference
from tito.report.pieces import Plot, digits, plain

LABEL_LENGTH = 26  # characters of a line of a bar's name
FEWEST = 2  # cases; one bar says no more than the table


def speedups(record: Record) -> Plot | None:
    """Return a bar for each case that is compared with a reference, in the order of the tables."""
    overview = record.overview
    name = overview.relative.get(overview.time) if overview else None
    if name is None:
        return None
    shown = [
        case
        for cases in grouped(record).values()
        for case in cases
        if case is not reference(record, cases) and name in case.summary
    ]
    if len(shown) < FEWEST:
        return None
    names = [plain(title_of(record, case)) for case in shown]
    values = [figure(case, name) for case in shown]
    intervals = [interval_of(case, name) for case in shown]
    metric = metric_of(record, name)
    known = any(intervals)
    ends = [found or (value, value) for value, found in zip(values, intervals, strict=True)]
    bars = _bars(names, values, intervals)
    says = f"{metric.title}, for each case that is compared with a reference; the line at 1 is the reference."
    says += " Whiskers: 95% interval within the process." if known else ""
    return Plot(
        "Speedup of each case",
        says,
        [bars],
        _layout(metric.short or metric.title, names, bars["text"], [high for _, high in ends]),
        shape="tall",
        wide=True,
    )


def interval_of(case: CaseResult, name: str) -> tuple[float, float] | None:
    """Return the interval of a metric that the workload reported in its raw values, if it has one seed."""
    found = case.runs[0].raw.get(f"{name}_interval") if len(case.runs) == 1 else None
    return (found[0], found[1]) if found and len(found) == 2 else None


def _bars(names: list[str], values: list[float], intervals: list[tuple[float, float] | None]) -> dict[str, Any]:
    texts = [
        f"{units.quantity(value, 'times')}{f' ({units.significant(low)}–{units.significant(high)})' if found else ''}"
        for value, found in zip(values, intervals, strict=True)
        for low, high in [found or (value, value)]
    ]
    bars: dict[str, Any] = {
        "type": "bar",
        "orientation": "h",
        "y": names,
        "x": [digits(value) for value in values],
        "text": texts,
        "textposition": "none",  # the layout writes it beyond the whisker
        "marker": {"color": "--series-1"},
        "hovertemplate": "%{y}: %{text}<extra></extra>",
    }
    if any(intervals):
        both = [found or (value, value) for value, found in zip(values, intervals, strict=True)]
        bars["error_x"] = {
            "type": "data",
            "symmetric": False,
            "array": [digits(high - value) for value, (_, high) in zip(values, both, strict=True)],
            "arrayminus": [digits(value - low) for value, (low, _) in zip(values, both, strict=True)],
            "color": "--text",
            "thickness": 1.5,
            "width": 4,
        }
    return bars


def _layout(name: str, names: list[str], texts: list[str], ends: list[float]) -> dict[str, Any]:
    lines = [wrap(one, LABEL_LENGTH) for one in names]
    return {
        "xaxis": {"title": {"text": plain(f"{name}, times")}, "range": [0, digits(1.25 * max(ends))], "nticks": 6},
        "yaxis": {
            "type": "category",
            "autorange": "reversed",
            "showgrid": False,
            "tickvals": names,
            "ticktext": ["<br>".join(parts) for parts in lines],
        },
        "annotations": [
            # on the card's color, so that the line at 1 does not cross a value
            {
                "x": digits(end),
                "y": one,
                "text": text,
                "xanchor": "left",
                "xshift": 6,
                "showarrow": False,
                "bgcolor": "--card",
            }
            for one, text, end in zip(names, texts, ends, strict=True)
        ],
        "shapes": [
            {
                "type": "line",
                "x0": 1,
                "x1": 1,
                "yref": "paper",
                "y0": 0,
                "y1": 1,
                "line": {"color": "--text", "width": 1.5, "dash": "dot"},
            }
        ],
        "bargap": 0.35,
        "showlegend": False,
        "height": 90 + sum(14 + 16 * len(parts) for parts in lines),
    }
