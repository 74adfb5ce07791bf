"""Earlier runs as figures, and what changed for good: runs of one suite on one machine with the same settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tito.bench.entry import Entry, backend_of, entry_of, in_order, latest_believable
from tito.bench.history import LONGEST, Since, shifts_of
from tito.bench.record import CaseResult, Record
from tito.report import changes, units
from tito.report.criteria import AIR, marks, reach, required
from tito.report.criteria import shown as shown_within
from tito.report.curves import ROOM
from tito.report.figures import metric_of, title_of
from tito.report.pieces import Absent, Grid, Piece, Plot, digits, plain

__all__ = ["backend_of", "history", "primary", "related", "spark", "verdicts"]

Runs = Sequence[Record | Entry]
HEADS = ["figure", "verdict", "since", "commit", "before", "after"]


def primary(record: Record) -> tuple[CaseResult, str] | None:
    """Return the case that represents the suite (the profiled one, or else the first) and its first gate's metric."""
    if not record.cases:
        return None
    profiled = record.profile.case if record.profile else ""
    case = next((case for case in record.cases if case.name == profiled), record.cases[0])
    gates = [verdict for verdict in case.verdicts if verdict.role == "gate"]
    return (case, gates[0].criterion.metric) if gates else None


def related(runs: Runs, shown: Record, now: datetime | None = None) -> tuple[list[Entry], list[str]]:
    """Return the runs with the shown record's suite, machine, settings, and backend, oldest first.

    They include runs on a busy machine, which are drawn apart and do not count. With them, what is left out, in words.
    """
    own, limit = entry_of(shown), latest_believable(now)
    of_suite = [run for run in map(_entry, runs) if run.suite == own.suite and run.machine == own.machine]
    usable = [
        run for run in of_suite if run.status != "failed" and not run.mine and bool(run.altered) == bool(own.altered)
    ]
    alike = [run for run in usable if run.ground == own.ground]
    rest = [run for run in usable if run.ground != own.ground and run.quick == own.quick]
    version = [run for run in rest if run.version != own.version]
    backend = [run for run in rest if run.version == own.version and run.backend != own.backend]
    misdated = [run for run in alike if run.created > limit]
    left_out = [
        (version, "of another version of the suite"),
        (backend, "with another kernel backend"),
        ([run for run in rest if run not in version and run not in backend], "with other settings"),
        (misdated, "from a clock that was set to the future"),
    ]
    words = [f"{_runs(len(found))} {why}" for found, why in left_out if found]
    return in_order([run for run in alike if run.created <= limit], now), words


def _entry(run: Record | Entry) -> Entry:
    return run if isinstance(run, Entry) else entry_of(run)


def history(runs: Runs, shown: Record) -> list[Piece]:
    """Return what changed for good, then the primary metric, the latency, and the training time over the runs."""
    rows, others = related(runs, shown)
    left_out = f" Left out: {', '.join(others)}." if others else ""
    found = primary(shown)
    if len(rows) < 2 or found is None:
        says = f"Nothing to compare yet: the store contains {_runs(len(rows))} of this kind on this machine.{left_out}"
        return [Absent("History", says)]
    case, name = found
    metric, title = metric_of(shown, name), title_of(shown, case)
    profiled = next((one for one in shown.cases if shown.profile and one.name == shown.profile.case), case)
    panels = [
        _Panel(case, name, metric.unit, f"{metric.title} over time", title),
        _Panel(profiled, "p50_us", "µs", "Median latency over time", f"{title_of(shown, profiled)}: p50 of one query"),
        _Panel(case, "train_seconds", "s", "Training time over time", f"{title}: median over seeds"),
    ]
    changed = {one.quantity.key: one for one in shifts_of(shown, runs)}
    plots = [_plot(panel, rows, left_out, changed.get(panel.key)) for panel in panels]
    drawn: list[Piece] = [plot for plot in plots if plot]
    return [*verdict_table(list(changed.values())), *drawn]


def verdicts(runs: Runs, shown: Record) -> list[str]:
    """Return in one line each what changed for good: "Training time: slower by 25.0 % since 2026-11-12, commit ..."."""
    return [f"{_name(shown, one)}: {changes.since(one)}" for one in shifts_of(shown, runs)]


def _name(record: Record, one: Since) -> str:
    """Return a figure's title, with its case where the record has several."""
    case = next(case for case in record.cases if case.name == one.quantity.case)
    prefix = f"{title_of(record, case)}, " if len(record.cases) > 1 else ""
    return f"{prefix}{one.quantity.metric.title}"


def verdict_table(changed: Sequence[Since]) -> list[Piece]:
    """Return a table of what changed for good, or one line that says that nothing did."""
    if not changed:
        return [Absent("Changes", f"No figure changed for good in the last {LONGEST} comparable runs.", wide=True)]
    rows = [
        [
            f"{one.quantity.case}: {one.quantity.metric.title}",
            changes.by(one),
            f"{one.run.created:%Y-%m-%d %H:%M}",
            changes.commits(one),
            changes.level(one, one.shift.before, one.shift.runs_before),
            changes.level(one, one.shift.after, one.shift.runs_after),
        ]
        for one in changed
    ]
    says = "Two levels with little overlap, the later one up to the newest run; each is the median of its runs."
    missed = frozenset((y, 1) for y, one in enumerate(changed) if one.word == "worse")
    return [Grid("Changes", says, HEADS, rows, numeric=frozenset((4, 5)), missed=missed, wide=True)]


def _runs(count: int) -> str:
    return {0: "no run", 1: "one run"}.get(count, f"{count} runs")


@dataclass(frozen=True)
class _Panel:
    """A figure over the runs: a metric of a case, and how it is named."""

    case: CaseResult
    name: str
    unit: str
    title: str
    what: str

    @property
    def key(self) -> str:
        return f"{self.case.name}.{self.name}"


def _plot(panel: _Panel, rows: Sequence[Entry], left_out: str, since: Since | None) -> Plot | None:
    """Return a panel's figure with its gates and aims; None with fewer than two runs that have it."""
    there = [run for run in rows if panel.key in run.figures]
    if len(there) < 2:
        return None
    quiet = [run for run in there if not run.noisy]
    busy = [run for run in there if run.noisy]
    values = [run.figures[panel.key] for run in there]
    share = panel.unit == "%"
    factor, unit = (1.0, "") if share else units.scale(max(values, key=abs), panel.unit)
    data = [_dots(quiet, panel.key, factor, "lines+markers", "quiet machine", "circle")] if quiet else []
    data += [_dots(busy, panel.key, factor, "markers", "busy machine", "x-thin-open")] if busy else []
    apart = f" Crosses: {_runs(len(busy))} on a busy machine, which do not count." if busy else ""
    step = f" {changes.since(since).capitalize()}." if since else ""
    found = required(panel.case, [panel.name])
    axis = reach(values, found, panel.unit)
    wanted = shown_within(found, axis)
    marked = marks(wanted, panel.unit, axis, factor=factor)
    if since:
        marked["shapes"].append(_change(since))
    first, last = there[0].created, there[-1].created
    pad = max(last - first, timedelta(seconds=1)) * AIR
    room = (last - first) * ROOM if wanted else timedelta()  # for the words of the requirements
    return Plot(
        panel.title,
        f"{panel.what}, for each of {len(there)} runs of this kind on this machine.{step}{apart}{left_out}",
        data,
        {
            "xaxis": {"type": "date", "range": [(first - pad).isoformat(), (last + pad + room).isoformat()]},
            "yaxis": {
                "title": {"text": plain(unit.strip(units.THIN))},
                "range": [digits(end * factor, 10) for end in axis],
                **({"tickformat": ",.6~p"} if share else {}),
            },
            "showlegend": bool(busy),
            **marked,
        },
    )


def _dots(runs: Sequence[Entry], key: str, factor: float, mode: str, name: str, symbol: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": mode,
        "name": name,
        "x": [run.created.isoformat() for run in runs],
        "y": [digits(run.figures[key] * factor) for run in runs],
        "line": {"color": "--series-1", "width": 1.6},
        "marker": {"size": 7, "color": "--series-1", "symbol": symbol, "line": {"width": 1.6, "color": "--series-1"}},
        "hovertemplate": "%{x}: %{y}<extra></extra>",
    }


def _change(since: Since) -> dict[str, Any]:
    """Return a line across the figure at the first run after a change."""
    when = since.run.created.isoformat()
    shade = "--bad" if since.word == "worse" else "--good"
    line = {"type": "line", "x0": when, "x1": when, "y0": 0, "y1": 1, "yref": "paper"}
    return {**line, "line": {"width": 1.2, "dash": "dot", "color": shade}}


def spark(runs: Runs, shown: Record, width: int = 120, height: int = 28) -> str | None:
    """Return the primary metric's history as the points of an SVG polyline, or None with fewer than two runs."""
    found = primary(shown)
    key = f"{found[0].name}.{found[1]}" if found else ""
    rows = [run for run in related(runs, shown)[0] if not run.noisy]
    values = [run.figures[key] for run in rows if key in run.figures]
    if len(values) < 2:
        return None
    low, span = min(values), max(values) - min(values)
    x_step, pad = (width - 8) / (len(values) - 1), 4
    heights = [0.5 if span == 0 else (value - low) / span for value in values]
    points = [(pad + i * x_step, height - pad - share * (height - 2 * pad)) for i, share in enumerate(heights)]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
