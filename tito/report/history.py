"""Earlier runs as a table (pandas) and as figures: only the same suite, the same machine, full runs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import pandas as pd

from tito.bench.record import CaseResult, Record
from tito.report.figures import metric_of, percentiles
from tito.report.pieces import Absent, Piece, Plot, digits


def primary(record: Record) -> tuple[CaseResult, str] | None:
    """The case that speaks for the suite (the profiled one, else the first) and its first gate's metric."""
    if not record.cases:
        return None
    profiled = record.profile.case if record.profile else ""
    case = next((case for case in record.cases if case.name == profiled), record.cases[0])
    gates = [verdict for verdict in case.verdicts if verdict.role == "gate"]
    return (case, gates[0].criterion.metric) if gates else None


def table(records: Sequence[Record]) -> pd.DataFrame:
    """One row a record, oldest first: id, created, suite, machine, quick, status, metric, p50_us, train_seconds.

    `metric` is the mean over seeds of the suite's primary metric; what a record lacks is NaN.
    """
    rows = [
        {
            "id": record.id,
            "created": record.created,
            "suite": record.suite,
            "machine": record.provenance.machine.fingerprint,
            "quick": record.quick,
            "status": record.status,
            **_figures(record),
        }
        for record in records
    ]
    columns = ["id", "created", "suite", "machine", "quick", "status", "metric", "p50_us", "train_seconds"]
    frame = pd.DataFrame(rows, columns=columns)
    frame["created"] = pd.to_datetime(frame["created"], utc=True)
    return frame.sort_values("created", kind="stable", ignore_index=True)


def _figures(record: Record) -> dict[str, float | None]:
    found = primary(record)
    runs = record.profile.latency if record.profile else []
    figures: dict[str, float | None] = {"p50_us": percentiles(runs)["p50"] if runs else None}
    if found:
        case, metric = found
        times = [run.metrics["train_seconds"] for run in case.runs if "train_seconds" in run.metrics]
        figures["metric"] = case.summary[metric].mean if metric in case.summary else None
        figures["train_seconds"] = statistics.median(times) if times else None
    return figures


def comparable(records: Sequence[Record], shown: Record) -> pd.DataFrame:
    """The rows that may stand beside the shown record: its suite, its machine, full runs."""
    frame = table(records)
    same = (frame["suite"] == shown.suite) & (frame["machine"] == shown.provenance.machine.fingerprint)
    return frame[same & ~frame["quick"].astype(bool)]


def history(records: Sequence[Record], shown: Record) -> list[Piece]:
    """The primary metric, the median latency and the training time over the runs on this machine."""
    rows = comparable(records, shown)
    found = primary(shown)
    if len(rows) < 2 or found is None:
        count = "no full run" if rows.empty else "one full run" if len(rows) == 1 else f"{len(rows)} full runs"
        return [Absent("History", f"Nothing to compare yet: the store holds {count} of this suite on this machine.")]
    metric = metric_of(shown, found[1])
    share = metric.unit == "%"
    panels = [
        ("metric", f"{metric.title} over time", "Mean over seeds", "" if share else metric.unit),
        ("p50_us", "Median latency over time", "The p50 of a single query", "µs"),
        ("train_seconds", "Training time over time", "Median over seeds", "s"),
    ]
    plots = [_panel(rows, *panel, tickformat=",.6~p" if share and panel[0] == "metric" else None) for panel in panels]
    return [plot for plot in plots if plot]


def _panel(rows: pd.DataFrame, column: str, title: str, what: str, unit: str, tickformat: str | None) -> Plot | None:
    there = rows.dropna(subset=[column])
    if len(there) < 2:
        return None
    return Plot(
        title,
        f"{what}, for each of {len(there)} full runs of this suite on this machine.",
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
            "yaxis": {"title": {"text": unit}, **({"tickformat": tickformat} if tickformat else {})},
            "showlegend": False,
        },
    )


def spark(records: Sequence[Record], shown: Record, width: int = 120, height: int = 28) -> str | None:
    """The primary metric's history as the points of an SVG polyline, or None with fewer than two runs."""
    values = [float(value) for value in comparable(records, shown)["metric"].dropna()]
    if len(values) < 2:
        return None
    low, span = min(values), max(values) - min(values)
    x_step, pad = (width - 8) / (len(values) - 1), 4
    heights = [0.5 if span == 0 else (value - low) / span for value in values]
    points = [(pad + i * x_step, height - pad - share * (height - 2 * pad)) for i, share in enumerate(heights)]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
