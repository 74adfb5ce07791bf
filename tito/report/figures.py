"""From a record to Plotly figures, as pure functions; the flame graph is in `flame`, exhibits in `exhibits`.

Each returns plain data (`pieces`): figures are dicts, not Plotly objects, so that nothing heavy is imported
and the same record always gives the same page.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from tito.bench.record import CaseResult, LatencyRun, MemorySample, MemoryTrace, Profile, Record, Throughput
from tito.bench.suite import Metric
from tito.report import units
from tito.report.pieces import Absent, Piece, Plot, cut, digits, plain, thin

ECDF_POINTS = 400  # of which a quarter is the slowest samples, one by one: the tail is what p99 is about
CURVE_POINTS = 300
MEMORY_POINTS = 500
SEPARATE_SEEDS = 6  # more curves than this are shown as their median and a band
SERIES = 6  # colours --series-1 ... --series-6

# What a curve's points may be counted by, the first that is there; "seconds" gives a second figure.
STEP_KEYS = ("epoch", "step", "iteration", "update")
TIME_KEY = "seconds"
SPLITS = {"train": "train", "validation": "validation", "val": "validation", "valid": "validation", "test": "test"}
BUILT_IN = {
    "train_seconds": Metric(title="Training time", unit="s"),
    "load_seconds": Metric(title="Loading time", unit="s"),
    "evaluate_seconds": Metric(title="Evaluation time", unit="s"),
}


def log_axis(low: float, high: float, span: bool = False) -> dict[str, Any]:
    """A logarithmic axis with labels at 1, 2 and 5 of each decade, or at decades alone where those are many.

    `span` fixes the axis to low ... high.
    """
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high < 500 * low else (1,)
    ticks = [digits(step * 10.0**decade) for decade in decades for step in steps]
    fixed = {"range": [digits(math.log10(low)), digits(math.log10(high))]} if span else {}
    return {"type": "log", "tickvals": ticks, "ticktext": [units.short(tick) for tick in ticks], **fixed}


def metric_of(record: Record, name: str) -> Metric:
    """What a metric's number means: as the suite says, or as the harness knows."""
    fallback = Metric(title=name.replace("_", " ").capitalize(), unit="")
    return record.metrics.get(name) or BUILT_IN.get(name) or fallback


def colour(index: int) -> str:
    """The CSS variable of the n-th series."""
    return f"--series-{index % SERIES + 1}"


# ---- learning curves


def learning_curves(record: Record) -> list[Piece]:
    """One figure for each case and quantity (loss, accuracy, ...), training beside validation."""
    pieces = [piece for case in record.cases for piece in _curves_of(record, case)]
    return pieces or [Absent("Learning curves", "No learning curve: no training of this run reported one.")]


def _curves_of(record: Record, case: CaseResult) -> list[Piece]:
    runs = [(run.seed, run.curve) for run in case.runs if run.curve]
    if not runs:
        return []
    keys = {key: None for _, curve in runs for point in curve for key in point}
    steps = next((key for key in STEP_KEYS if key in keys), None)
    axes = [key for key in (steps, TIME_KEY if TIME_KEY in keys else None) if key] or [""]
    quantities: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        if key not in STEP_KEYS and key != TIME_KEY:
            quantities[_split(key)[1]].append(key)
    several = len(record.cases) > 1
    return [
        _curve_plot(record, case, runs, axis, name, members, several)
        for name, members in quantities.items()
        for axis in axes
    ]


def _split(key: str) -> tuple[str, str]:
    """A curve's key as (split, quantity): "val_loss" is ("validation", "loss")."""
    head, _, tail = key.partition("_")
    return (SPLITS[head], tail) if head in SPLITS and tail else ("", key)


def _curve_plot(
    record: Record,
    case: CaseResult,
    runs: list[tuple[int, list[dict[str, float]]]],
    axis: str,
    name: str,
    keys: list[str],
    several: bool,
) -> Plot:
    share = any(name == known or key == known for known in _shares(record) for key in keys)
    data: list[dict[str, Any]] = []
    for index, key in enumerate(sorted(keys, key=lambda key: _split(key)[0] == "train")):
        lines = [(seed, *_points(curve, axis, key)) for seed, curve in runs]
        lines = [line for line in lines if line[1]]
        label = _split(key)[0] or key.replace("_", " ")
        draw = _seed_lines if len(lines) <= SEPARATE_SEEDS else _seed_band
        data += draw(label, lines, index)
    values = [value for trace in data for value in trace["y"] if value > 0]
    logarithmic = "loss" in name and bool(values) and max(values) > 30 * min(values)
    by = "point" if not axis else "time" if axis == TIME_KEY else axis
    title = f"{name.replace('_', ' ').capitalize()} by {by}" + (f": {case.title}" if several else "")
    seeds = "one seed" if len(runs) == 1 else f"{len(runs)} seeds, each in a process of its own"
    spread = "; line: median, band: 10th to 90th percentile" if len(runs) > SEPARATE_SEEDS else ""
    return Plot(
        title,
        f"As training reported it; {seeds}{spread}.",
        data,
        {
            "xaxis": {"title": {"text": "seconds of training" if axis == TIME_KEY else plain(axis or "point")}},
            "yaxis": {
                "title": {"text": plain(name.replace("_", " "))},
                **(log_axis(min(values), max(values)) if logarithmic else {}),
                **({"tickformat": ",.4~p"} if share else {}),
            },
            "showlegend": len({trace["name"] for trace in data}) > 1,
        },
    )


def _shares(record: Record) -> list[str]:
    return [name for name, metric in record.metrics.items() if metric.unit == "%"]


def _points(curve: list[dict[str, float]], axis: str, key: str) -> tuple[list[float], list[float]]:
    there = [
        (point.get(axis, index) if axis else index, point[key]) for index, point in enumerate(curve) if key in point
    ]
    x, y = thin([digits(a) for a, _ in there], [digits(b) for _, b in there], CURVE_POINTS)
    return x, y


def _seed_lines(label: str, lines: list[tuple[int, list[float], list[float]]], index: int) -> list[dict[str, Any]]:
    return [
        {
            "type": "scatter",
            "mode": "lines+markers" if len(x) <= 30 else "lines",
            "name": plain(label),
            "legendgroup": plain(label),
            "showlegend": first == 0,
            "x": x,
            "y": y,
            "marker": {"size": 4, "color": colour(index)},
            "line": {"color": colour(index), "width": 1.6, "dash": "dot" if label == "train" else "solid"},
            "hovertemplate": f"%{{y}}<extra>seed {seed}</extra>",
        }
        for first, (seed, x, y) in enumerate(lines)
    ]


def _seed_band(label: str, lines: list[tuple[int, list[float], list[float]]], index: int) -> list[dict[str, Any]]:
    at: dict[float, list[float]] = defaultdict(list)
    for _, xs, ys in lines:
        for a, b in zip(xs, ys, strict=True):
            at[a].append(b)
    x = sorted(at)
    low, middle, high = ([digits(float(np.quantile(at[a], q))) for a in x] for q in (0.1, 0.5, 0.9))
    line = {"color": colour(index), "width": 0}
    shared = {"type": "scatter", "mode": "lines", "name": plain(label), "legendgroup": plain(label), "x": x}
    edge = {**shared, "line": line, "showlegend": False, "hoverinfo": "skip"}
    return [
        {**edge, "y": low},
        {**edge, "y": high, "fill": "tonexty", "fillcolor": f"{colour(index)}-band"},
        {**shared, "y": middle, "line": {**line, "width": 2}, "showlegend": True},
    ]


def seed_spread(record: Record, case: CaseResult, name: str) -> Piece | None:
    """How a metric lies over the seeds: each seed as a dot, or a histogram from 20 seeds on."""
    there = [(run.seed, run.metrics[name]) for run in case.runs if name in run.metrics]
    if len(there) < 2:
        return None
    metric = metric_of(record, name)
    axis: dict[str, Any] = {"title": {"text": plain(metric.title)}}
    axis |= {"tickformat": ",.4~p"} if metric.unit == "%" else {}
    values = [value for _, value in there]
    if len(there) < 20:
        data = [
            {
                "type": "scatter",
                "mode": "markers",
                "x": [str(seed) for seed, _ in there],
                "y": values,
                "marker": {"size": 10, "color": "--series-1"},
                "hovertemplate": "seed %{x}: %{y}<extra></extra>",
            }
        ]
        layout = {"xaxis": {"title": {"text": "seed"}, "type": "category"}, "yaxis": axis}
    else:
        counts, edges = np.histogram(values, bins=20)
        width = digits(float(edges[1] - edges[0]))
        centres = [digits(float(edge)) for edge in (edges[:-1] + edges[1:]) / 2]
        data = [
            {
                "type": "bar",
                "x": centres,
                "y": counts.tolist(),
                "width": [width] * len(centres),
                "marker": {"color": "--series-1"},
                "hovertemplate": "%{y} seeds near %{x}<extra></extra>",
            }
        ]
        layout = {"xaxis": axis, "yaxis": {"title": {"text": "seeds"}}, "bargap": 0.05}
    says = f"{case.title}: {len(there)} seeds, each trained in a process of its own."
    return Plot(f"{metric.title} over seeds", says, data, {**layout, "showlegend": False})


# ---- latency and throughput


def ecdf(samples: Sequence[float], limit: int = ECDF_POINTS) -> tuple[list[float], list[float]]:
    """The empirical distribution F(x) = share of samples <= x, thinned but for its slowest samples."""
    ordered = sorted(samples)
    n = len(ordered)
    tail = min(n, limit // 4)
    body = np.linspace(0, n - 1, min(n, limit - tail)).round().astype(int).tolist()
    chosen = sorted({*body, *range(n - tail, n)})
    return [digits(ordered[i]) for i in chosen], [digits((i + 1) / n, 6) for i in chosen]


def percentiles(runs: Sequence[LatencyRun]) -> dict[str, float]:
    """p50, p90 and p99 in µs: of each the median over the fresh processes."""
    return {
        "p50": statistics.median(run.p50_us for run in runs),
        "p90": statistics.median(run.p90_us for run in runs),
        "p99": statistics.median(run.p99_us for run in runs),
    }


def latency(profile: Profile | None) -> Piece:
    """The latency distribution of single queries, one line for each process."""
    if profile is None or not profile.latency:
        return Absent("Latency", "No latency was measured in this run.")
    runs = profile.latency
    data: list[dict[str, Any]] = []
    for number, run in enumerate(runs, start=1):
        x, y = ecdf(run.samples_us)
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "line": {"shape": "hv", "width": 1.6, "color": colour(number - 1)},
                "name": f"process {number}",
                "x": x,
                "y": y,
                "hovertemplate": "%{y:.1%} within %{x} µs<extra>process " + str(number) + "</extra>",
            }
        )
    marks = percentiles(runs)
    data.append(
        {
            "type": "scatter",
            "mode": "markers+text",
            "x": list(marks.values()),
            "y": [0.5, 0.9, 0.99],
            "text": [f"{name} {units.microseconds(value)}" for name, value in marks.items()],
            "textposition": "bottom right",
            "cliponaxis": False,
            "marker": {"size": 9, "symbol": "circle", "color": "--text"},
            "name": "median over processes",
            "hoverinfo": "text",
        }
    )
    every = [sample for run in runs for sample in run.samples_us]
    low, last = 0.97 * min(every), max(run.p99_us for run in runs)
    high = min(last + 0.6 * (last - low), 1.03 * max(every))  # stragglers must not squeeze the rest into a corner
    long_tail = high > 5 * marks["p50"]
    beyond = sum(sample > high for sample in every)
    tail = f"; {beyond} of all samples lie beyond the axis, the slowest at {units.microseconds(max(every))}"
    queries = units.integer(len(runs[0].samples_us))
    processes = "one fresh process" if len(runs) == 1 else f"each of {len(runs)} fresh processes (one line each)"
    return Plot(
        "Latency of one query",
        f"Share of queries answered within a time; {queries} single queries after warm-up in {processes}; dots: "
        f"median over processes{tail if beyond else ''}.",
        data,
        {
            "xaxis": {
                "title": {"text": "µs" + (", logarithmic" if long_tail else "")},
                **(log_axis(low, high, span=True) if long_tail else {"range": [digits(low), digits(high)]}),
            },
            "yaxis": {"title": {"text": "share of queries"}, "tickformat": ".0%", "range": [0, 1.03]},
            "showlegend": False,
        },
    )


def best_throughput(profile: Profile | None) -> tuple[Throughput, float] | None:
    """The batch size with the highest median samples/s over processes, and that median."""
    if profile is None or not profile.throughput:
        return None
    best = max(profile.throughput, key=lambda one: statistics.median(one.samples_per_second))
    return best, statistics.median(best.samples_per_second)


def throughput(profile: Profile | None) -> Piece:
    """Samples per second by batch size: a dot for each process, a line through the medians."""
    if profile is None or not profile.throughput:
        return Absent("Throughput", "No throughput was measured in this run.")
    ordered = sorted(profile.throughput, key=lambda one: one.batch)
    batches = [one.batch for one in ordered]
    median = [digits(statistics.median(one.samples_per_second)) for one in ordered]
    every = [value for one in ordered for value in one.samples_per_second]
    return Plot(
        "Throughput by batch size",
        "Held-out samples answered per second, whole batches at a time; dots: fresh processes, line: their median.",
        [
            {
                "type": "scatter",
                "mode": "lines",
                "name": "median",
                "x": batches,
                "y": median,
                "line": {"color": "--series-1", "width": 2},
                "hovertemplate": "batch %{x}: %{y:,.3s}/s<extra>median</extra>",
            },
            {
                "type": "scatter",
                "mode": "markers",
                "name": "one process",
                "x": [one.batch for one in ordered for _ in one.samples_per_second],
                "y": [digits(value) for one in ordered for value in one.samples_per_second],
                "marker": {"size": 7, "color": "--series-1", "opacity": 0.55},
                "hovertemplate": "batch %{x}: %{y:,.3s}/s<extra></extra>",
            },
        ],
        {
            "xaxis": {"title": {"text": "batch size"}, "type": "log", "tickvals": batches},
            "yaxis": {"title": {"text": "samples per second"}, **log_axis(min(every), max(every))},
        },
    )


# ---- memory


def memory(trace: MemoryTrace | None) -> Piece:
    """The child's memory over time, with its phases shaded."""
    if trace is None or not trace.samples:
        return Absent("Memory over time", "No memory was sampled in this run.")
    samples = _thin_memory(trace.samples)
    x = [digits(sample.seconds) for sample in samples]
    data = [_memory_line("resident (RSS)", x, [sample.rss for sample in samples], "--series-1")]
    if all(sample.uss is not None for sample in samples):
        data.append(_memory_line("its own alone (USS)", x, [sample.uss or 0 for sample in samples], "--series-2"))
    highest = max(trace.samples, key=lambda sample: sample.rss)
    peak = {
        "type": "scatter",
        "mode": "markers",
        "x": [digits(highest.seconds)],
        "y": [digits(highest.rss / 1e6)],
        "marker": {"size": 9, "color": "--text"},
        "name": f"peak {units.size(trace.peak)}",
        "hoverinfo": "name",
    }
    end = max(samples[-1].seconds, *(phase.end for phase in trace.phases), 0.0)
    top = max(sample.rss for sample in samples) / 1e6
    told = ", ".join(f"{phase.name} {units.seconds(phase.end - phase.start)}" for phase in trace.phases)
    return Plot(
        "Memory over time",
        f"One training (case {trace.case}, seed {trace.seed}) sampled by psutil every "
        f"{units.demand(trace.interval, 's')} in a pass of its own; {units.size(trace.baseline)} before anything was "
        f"loaded. Phases: {told or 'none reported'}.",
        [*data, peak],
        {
            "xaxis": {"title": {"text": "seconds since the process began"}, "range": [0, digits(end)]},
            "yaxis": {"title": {"text": "MB"}, "range": [0, digits(top * 1.1)]},
            "shapes": [
                {
                    "type": "rect",
                    "xref": "x",
                    "yref": "paper",
                    "x0": digits(phase.start),
                    "x1": digits(phase.end),
                    "y0": 0,
                    "y1": 1,
                    "line": {"width": 0},
                    "fillcolor": f"--phase-{index % 2 + 1}",
                    "layer": "below",
                }
                for index, phase in enumerate(trace.phases)
            ],
            "annotations": [
                label for phase in trace.phases if (label := _phase_label(phase.name, phase.start, phase.end, end))
            ],
        },
        wide=True,
    )


def _memory_line(name: str, x: list[float], y: list[int], tint: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": [digits(value / 1e6) for value in y],
        "line": {"color": tint, "width": 1.8},
        "hovertemplate": "%{y:.1f} MB at %{x:.1f} s<extra></extra>",
    }


def _thin_memory(samples: list[MemorySample]) -> list[MemorySample]:
    """At most `MEMORY_POINTS` samples: of each stretch the highest, so that no peak is lost."""
    width = -(-len(samples) // MEMORY_POINTS)
    stretches = [samples[i : i + width] for i in range(0, len(samples), width)]
    return [max(stretch, key=lambda sample: sample.rss) for stretch in stretches]


def _phase_label(name: str, start: float, end: float, whole: float) -> dict[str, Any] | None:
    """A phase's name over its shade: upright where it is wide enough, on its side where it is narrow."""
    share = (end - start) / whole if whole > 0 else 0.0
    if share < 0.03:
        return None  # no room for it; the sentence above the figure names every phase
    return {
        "text": plain(cut(name, 24)),
        "x": digits((start + end) / 2),
        "xref": "x",
        "y": 0.02,  # at the foot: the line is high wherever a phase is long
        "yref": "paper",
        "yanchor": "bottom",
        "textangle": 0 if share > 0.2 else -90,
        "showarrow": False,
        "font": {"color": "--muted", "size": 11},
    }
