"""Earlier runs as a table (pandas) and as figures: full runs of the same suite, unchanged, on the same machine."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import pandas as pd

from tito.bench.record import CaseResult, Record
from tito.report.figures import metric_of, percentiles, title_of
from tito.report.pieces import Absent, Piece, Plot, digits, plain


def primary(record: Record) -> tuple[CaseResult, str] | None:
    """Return the case that represents the suite (the profiled one, or else the first) and its first gate's metric."""
    if not record.cases:
        return None
    profiled = record.profile.case if record.profile else ""
    case = next((case for case in record.cases if case.name == profiled), record.cases[0])
    gates = [verdict for verdict in case.verdicts if verdict.role == "gate"]
    return (case, gates[0].criterion.metric) if gates else None


def backend_of(record: Record) -> str:
    """Return the kernel backend of a record; older ones, which name none, used NumPy."""
    return record.provenance.backend.name if record.provenance.backend else "numpy"


def table(records: Sequence[Record], case: str, metric: str) -> pd.DataFrame:
    """Return one row for each record, oldest first, with the figures of one metric of one case.

    `metric` is its mean over seeds, `version` the suite's hash, and `full` Record.full; missing figures are NaN.
    """
    rows = [
        {
            "id": record.id,
            "created": record.created,
            "suite": record.suite,
            "version": record.provenance.suite_sha256,
            "machine": record.provenance.machine.fingerprint,
            "backend": backend_of(record),
            "full": record.full,
            "status": record.status,
            **_figures(record, case, metric),
        }
        for record in records
    ]
    columns = [
        "id",
        "created",
        "suite",
        "version",
        "machine",
        "backend",
        "full",
        "status",
        "metric",
        "p50_us",
        "train_seconds",
    ]
    frame = pd.DataFrame(rows, columns=columns)
    frame["created"] = pd.to_datetime(frame["created"], utc=True)
    return frame.sort_values("created", kind="stable", ignore_index=True)


def _figures(record: Record, name: str, metric: str) -> dict[str, float | None]:
    runs = record.profile.latency if record.profile else []
    figures: dict[str, float | None] = {"p50_us": percentiles(runs)["p50"] if runs else None}
    case = next((case for case in record.cases if case.name == name), None)
    if case:
        times = [run.metrics["train_seconds"] for run in case.runs if "train_seconds" in run.metrics]
        figures["metric"] = case.summary[metric].mean if metric in case.summary else None
        figures["train_seconds"] = statistics.median(times) if times else None
    return figures


def comparable(records: Sequence[Record], shown: Record) -> tuple[pd.DataFrame, int]:
    """Return the rows comparable with the shown record, and how many were left out for another version of its suite.

    Comparable are full runs of its suite on its machine, with its kernel backend, that did not fail.
    """
    case, metric = primary(shown) or (None, "")
    frame = table(records, case.name if case else "", metric)
    same = (frame["suite"] == shown.suite) & (frame["machine"] == shown.provenance.machine.fingerprint)
    same &= frame["backend"] == backend_of(shown)
    runs = frame[same & frame["full"].astype(bool) & (frame["status"] != "failed")]
    rows = runs[runs["version"] == shown.provenance.suite_sha256]
    return rows, len(runs) - len(rows)


def history(records: Sequence[Record], shown: Record) -> list[Piece]:
    """Return the primary metric, the median latency, and the training time over the runs on this machine."""
    rows, others = comparable(records, shown)
    left_out = f" Left out: {_runs(others)} of another version of the suite." if others else ""
    found = primary(shown)
    if len(rows) < 2 or found is None:
        says = f"Nothing to compare yet: the store contains {_runs(len(rows))} of this suite on this machine.{left_out}"
        return [Absent("History", says)]
    metric = metric_of(shown, found[1])
    share = metric.unit == "%"
    case = title_of(shown, found[0])
    panels = [
        ("metric", f"{metric.title} over time", f"{case}: mean over seeds", "" if share else metric.unit),
        ("p50_us", "Median latency over time", f"{case}: p50 of a single query", "µs"),
        ("train_seconds", "Training time over time", f"{case}: median over seeds", "s"),
    ]
    plots = [
        _panel(rows, *panel, left_out, tickformat=",.6~p" if share and panel[0] == "metric" else None)
        for panel in panels
    ]
    return [plot for plot in plots if plot]


def _runs(count: int) -> str:
    return {0: "no full run", 1: "one full run"}.get(count, f"{count} full runs")


def _panel(
    rows: pd.DataFrame, column: str, title: str, what: str, unit: str, left_out: str, tickformat: str | None
) -> Plot | None:
    there = rows.dropna(subset=[column])
    if len(there) < 2:
        return None
    return Plot(
        title,
        f"{what}, for each of {len(there)} full runs of this suite on this machine.{left_out}",
        [
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": [moment.isoformat() for moment in there["created"]],
                "y": [digits(float(value)) for value in there[column]],
                "line": {"color": "--series-1", "width": 1.6},
                "marker": {"size": 7, "color": "--series-1"},
                "hovertemplate": "%{x}: %{y}<extra></extra>",
            }
        ],
        {
            "xaxis": {"type": "date"},
            "yaxis": {"title": {"text": plain(unit)}, **({"tickformat": tickformat} if tickformat else {})},
            "showlegend": False,
        },
    )


def spark(records: Sequence[Record], shown: Record, width: int = 120, height: int = 28) -> str | None:
    """Return the primary metric's history as the points of an SVG polyline, or None with fewer than two runs."""
    values = [float(value) for value in comparable(records, shown)[0]["metric"].dropna()]
    if len(values) < 2:
        return None
    low, span = min(values), max(values) - min(values)
    x_step, pad = (width - 8) / (len(values) - 1), 4
    heights = [0.5 if span == 0 else (value - low) / span for value in values]
    points = [(pad + i * x_step, height - pad - share * (height - 2 * pad)) for i, share in enumerate(heights)]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
