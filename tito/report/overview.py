"""A suite's cases side by side, as its overview declares them: tables, and the front of size, time, and quality.

These are pure functions of a record; the page and the terminal show the same tables.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tito.bench.judge import front, quality_of
from tito.bench.record import CaseResult, Record
from tito.report import units
from tito.report.figures import colour, log_axis, metric_of
from tito.report.pieces import Grid, Piece, Plot, digits, plain


@dataclass(frozen=True)
class Line:
    """One case as a row: a cell for each column ("–" for a metric that it does not measure), and what to point out."""

    title: str
    cells: list[str]
    required: list[str]  # below each cell: "≥ 1.5×", or nothing
    missed: frozenset[int]  # columns whose requirement is not met
    front: bool  # no other case of the group is as small, as fast, and as good, and better in one of them
    note: str


@dataclass(frozen=True)
class Side:
    """The cases of one group."""

    group: str
    heads: list[str]
    meanings: list[str]  # the metrics' full titles
    lines: list[Line]
    priority: list[int] = field(default_factory=list)  # the columns, the most important first


def sides(record: Record) -> list[Side]:
    """Return a table for each group, in the order of the cases, with the columns that any of its cases measures."""
    overview = record.overview
    if overview is None:
        return []
    found = []
    for group, cases in grouped(record).items():
        columns = [name for name in overview.columns if any(name in case.summary for case in cases)]
        metrics = [metric_of(record, name) for name in columns]
        best = front(overview, cases)
        lines = [
            Line(
                case.title,
                [
                    units.quantity(figure(case, name), metric.unit) if name in case.summary else "–"
                    for name, metric in zip(columns, metrics, strict=True)
                ],
                [_required(case, name, metric.unit) for name, metric in zip(columns, metrics, strict=True)],
                frozenset(columns.index(name) for name in _missed(case) if name in columns),
                case.name in best,
                case.note.strip(),
            )
            for case in cases
        ]
        heads = [metric.short or metric.title for metric in metrics]
        meanings = [metric.title for metric in metrics]
        found.append(Side(group, heads, meanings, lines, _by_importance(record, columns, cases)))
    return found


def _by_importance(record: Record, columns: list[str], cases: list[CaseResult]) -> list[int]:
    """Return the columns, the most important first: missed ones, then quality, time, size, and what is judged.

    The first metric of another library's (one with `needs`) follows the time and its gain, which it puts into relation.
    """
    overview = record.overview
    assert overview is not None
    missed = [name for case in cases for name in _missed(case)]
    judged = [verdict.criterion.metric for case in cases for verdict in case.verdicts]
    elsewhere = [name for name in columns if metric_of(record, name).needs][:1]
    faster, smaller = (overview.relative.get(name, "") for name in (overview.time, overview.size))
    times = [faster, overview.time, *elsewhere] if elsewhere else [faster]
    order = dict.fromkeys(
        [*missed, *overview.quality, *times, smaller, overview.time, overview.size, *judged, *columns]
    )
    return [columns.index(name) for name in order if name in columns]


def figure(case: CaseResult, name: str) -> float:
    """Return a metric over the seeds, summarized as in its gate or aim, e.g. by the median; otherwise by the mean."""
    over = [verdict.criterion.over for verdict in case.verdicts if verdict.criterion.metric == name]
    return float(getattr(case.summary[name], over[0] if over else "mean"))


def _required(case: CaseResult, name: str, unit: str) -> str:
    """Return the requirements of a case's gates and aims on a metric."""
    criteria = [verdict.criterion for verdict in case.verdicts if verdict.criterion.metric == name]
    return ", ".join(
        f"{units.SIGN[criterion.direction]} {units.demand(criterion.value, unit)}" for criterion in criteria
    )


def grouped(record: Record) -> dict[str, list[CaseResult]]:
    """Return the cases grouped by the parameter that the overview names."""
    groups: dict[str, list[CaseResult]] = {}
    for case in record.cases if record.overview else []:
        assert record.overview is not None
        groups.setdefault(str(case.parameters[record.overview.group]), []).append(case)
    return groups


def reference(record: Record, cases: list[CaseResult]) -> CaseResult | None:
    """Return the case with which a group's others are compared: the one with the overview's `reference` parameters."""
    marks = record.overview.reference if record.overview else {}
    found = (case for case in cases if all(case.parameters.get(name) == value for name, value in marks.items()))
    return next(found, None) if marks else None


def _missed(case: CaseResult) -> list[str]:
    return [verdict.criterion.metric for verdict in case.verdicts if not verdict.met]


def tables(record: Record) -> list[Piece]:
    """Return a table for each group."""
    made: list[Piece] = []
    for side in sides(record):
        rows = [[f"{line.title}{' ★' if line.front else ''}", *line.cells] for line in side.lines]
        missed = frozenset((y, x + 1) for y, line in enumerate(side.lines) for x in line.missed)
        below = {(y, x + 1): text for y, line in enumerate(side.lines) for x, text in enumerate(line.required) if text}
        notes = {y: line.note for y, line in enumerate(side.lines) if line.note}
        says = "Each case ran in a fresh process. Below a figure: its requirement; a missed one is in red."
        if any(line.front for line in side.lines):
            says += " ★: no other case is as small, as fast, and as good. Times within 2% count as equal, and so do "
            says += "qualities that a paired test on the same items does not tell apart."
        heads, meanings = ["Case", *side.heads], ["", *side.meanings]
        numeric = frozenset(range(1, len(heads)))
        made.append(Grid(side.group, says, heads, rows, numeric, missed, below, notes, meanings, wide=True))
    return made


def plots(record: Record) -> list[Piece]:
    """Return a figure for each group that has at least two cases with a size and a time."""
    found = (_plot(record, side, cases) for side, cases in zip(sides(record), grouped(record).values(), strict=True))
    return [plot for plot in found if plot]


def _plot(record: Record, side: Side, cases: list[CaseResult]) -> Plot | None:
    """Return the cases of a group that have a size and a time; those on the front are filled."""
    overview = record.overview
    assert overview is not None
    shown = [
        (line, case)
        for line, case in zip(side.lines, cases, strict=True)
        if overview.size in case.summary and overview.time in case.summary
    ]
    if len(shown) < 2:
        return None
    sizes = [case.summary[overview.size].mean for _, case in shown]
    times = [case.summary[overview.time].mean for _, case in shown]
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": _label(record, line, case),
            "x": [digits(x)],
            "y": [digits(y)],
            "hovertemplate": "%{x} bytes, %{y} µs",
            "marker": {
                "size": 13,
                "color": colour(i) if line.front else "--card",
                "line": {"width": 2.5, "color": colour(i)},
            },
        }
        for i, ((line, case), x, y) in enumerate(zip(shown, sizes, times, strict=True))
    ]
    size, time = metric_of(record, overview.size), metric_of(record, overview.time)
    layout = {
        "xaxis": {
            **log_axis(min(sizes) / 1.8, max(sizes) * 1.8, span=True),
            "title": {"text": plain(f"{size.title}, bytes")},
        },
        "yaxis": {
            **log_axis(min(times) / 1.4, max(times) * 1.4, span=True),
            "title": {"text": plain(f"{time.title}, µs")},
        },
        "showlegend": True,
    }
    says = "Lower and further left is better; filled: on the front of size, time, and quality."
    return Plot(f"{side.group}: size, time, and quality", says, data, layout)


def _label(record: Record, line: Line, case: CaseResult) -> str:
    assert record.overview is not None
    quality = quality_of(record.overview, case)
    figure = f", {units.quantity(case.summary[quality].mean, metric_of(record, quality).unit)}" if quality else ""
    return plain(f"{line.title}{figure}")
