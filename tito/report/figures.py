"""From a record's profile to Plotly figures, as pure functions: latency, throughput, and memory.

Learning curves are in `curves`, the flame graph is in `flame`, and exhibits are in `exhibits`. Each function returns
plain data (`pieces`). Figures are dicts, not Plotly objects, so that nothing heavy is imported and the same record
always yields the same page.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from tito.bench.record import CaseResult, LatencyRun, MemorySample, MemoryTrace, Phase, Profile, Record, Throughput
from tito.bench.suite import Metric
from tito.report import units
from tito.report.pieces import Absent, Piece, Plot, cut, digits, plain

ECDF_POINTS = 400  # a quarter of them are the slowest samples, one by one, because p99 is about the tail
MEMORY_POINTS = 500
FEWEST_SAMPLES = 20  # of a memory curve: with fewer, it shows when psutil looked rather than how memory grew
SERIES = 6  # colors --series-1 ... --series-6

BUILT_IN = {
    "train_seconds": Metric(title="Training time", unit="s"),
    "load_seconds": Metric(title="Loading time", unit="s"),
    "evaluate_seconds": Metric(title="Evaluation time", unit="s"),
}


def log_axis(low: float, high: float, span: bool = False) -> dict[str, Any]:
    """Return a logarithmic axis with labels at 1, 2, and 5 of each decade, or only at decades if these are many.

    `span` fixes the axis to low ... high.
    """
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high < 100 * low else (1,)
    ticks = [digits(step * 10.0**decade) for decade in decades for step in steps]
    fixed = {"range": [digits(math.log10(low)), digits(math.log10(high))]} if span else {}
    return {"type": "log", "tickvals": ticks, "ticktext": [units.short(tick) for tick in ticks], **fixed}


def metric_of(record: Record, name: str) -> Metric:
    """Return the meaning of a metric, from the suite or from the harness."""
    fallback = Metric(title=name.replace("_", " ").capitalize(), unit="")
    return record.metrics.get(name) or BUILT_IN.get(name) or fallback


def title_of(record: Record, case: CaseResult) -> str:
    """Return a case's title, with its track if the suite has tracks: INT8, calibrated (MNIST)."""
    track = case.parameters.get(record.overview.group) if record.overview else None
    return f"{case.title} ({track})" if track else case.title


def colour(index: int) -> str:
    """Return the CSS variable of the n-th series' color."""
    return f"--series-{index % SERIES + 1}"


def ecdf(samples: Sequence[float], limit: int = ECDF_POINTS) -> tuple[list[float], list[float]]:
    """Return the empirical distribution F(x) = share of samples <= x, thinned except for the slowest samples."""
    ordered = sorted(samples)
    n = len(ordered)
    tail = min(n, limit // 4)
    body = np.linspace(0, n - 1, min(n, limit - tail)).round().astype(int).tolist()
    chosen = sorted({*body, *range(n - tail, n)})
    return [digits(ordered[i]) for i in chosen], [digits((i + 1) / n, 6) for i in chosen]


def percentiles(runs: Sequence[LatencyRun]) -> dict[str, float]:
    """Return p50, p90, and p99 in µs, each as the median over the fresh processes."""
    return {
        "p50": statistics.median(run.p50_us for run in runs),
        "p90": statistics.median(run.p90_us for run in runs),
        "p99": statistics.median(run.p99_us for run in runs),
    }


def latency(profile: Profile | None, of: str = "") -> Piece:
    """Return the latency distribution of single queries, one line for each process; `of` names the case."""
    title = f"Latency of one query{of}"
    if profile is None or not profile.latency:
        return Absent(title, "No latency was measured in this run.")
    runs = profile.latency
    marks = percentiles(runs)
    every = [sample for run in runs for sample in run.samples_us]
    low, last = 0.97 * min(every), max(run.p99_us for run in runs)
    high = min(last + 0.6 * (last - low), 1.03 * max(every))  # slow samples must not squeeze the rest into a corner
    long_tail = high > 5 * marks["p50"]
    beyond = sum(sample > high for sample in every)
    tail = f"; {beyond} of all samples are beyond the axis, the slowest at {units.microseconds(max(every))}"
    queries = units.integer(len(runs[0].samples_us))
    processes = "one fresh process" if len(runs) == 1 else f"each of {len(runs)} fresh processes (one line each)"
    return Plot(
        title,
        f"Share of queries answered within a time; {queries} single queries after warm-up in {processes}; dots: "
        f"median over processes{tail if beyond else ''}.",
        [*(_latency_line(number, run) for number, run in enumerate(runs, start=1)), _percentile_dots(marks)],
        {
            "xaxis": {
                "title": {"text": "µs" + (", logarithmic" if long_tail else "")},
                **(log_axis(low, high, span=True) if long_tail else {"range": [digits(low), digits(high)]}),
            },
            "yaxis": {"title": {"text": "share of queries"}, "tickformat": ".0%", "range": [0, 1.03]},
            "showlegend": False,
        },
    )


def _latency_line(number: int, run: LatencyRun) -> dict[str, Any]:
    x, y = ecdf(run.samples_us)
    return {
        "type": "scatter",
        "mode": "lines",
        "line": {"shape": "hv", "width": 1.6, "color": colour(number - 1)},
        "name": f"process {number}",
        "x": x,
        "y": y,
        "hovertemplate": "%{y:.1%} within %{x} µs<extra>process " + str(number) + "</extra>",
    }


def _percentile_dots(marks: dict[str, float]) -> dict[str, Any]:
    return {
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


def best_throughput(profile: Profile | None) -> tuple[Throughput, float] | None:
    """Return the batch size with the highest median samples/s over processes, and that median."""
    if profile is None or not profile.throughput:
        return None
    best = max(profile.throughput, key=lambda one: statistics.median(one.samples_per_second))
    return best, statistics.median(best.samples_per_second)


def throughput(profile: Profile | None, of: str = "") -> Piece:
    """Return samples per second by batch size: a dot for each process, a line through the medians."""
    title = f"Throughput by batch size{of}"
    if profile is None or not profile.throughput:
        return Absent(title, "No throughput was measured in this run.")
    ordered = sorted(profile.throughput, key=lambda one: one.batch)
    batches = [one.batch for one in ordered]
    median = [digits(statistics.median(one.samples_per_second)) for one in ordered]
    every = [value for one in ordered for value in one.samples_per_second]
    return Plot(
        title,
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


def memory(trace: MemoryTrace | None, of: str = "") -> Piece:
    """Return the child's memory over time, with its phases shaded."""
    title = f"Memory over time{of}"
    if trace is None or not trace.samples:
        return Absent(title, "No memory was sampled in this run.")
    if len(trace.samples) < FEWEST_SAMPLES:
        count = f"{len(trace.samples)} sample{'s' * (len(trace.samples) != 1)}"
        return Absent(
            title, f"Left out: the process was so short that psutil took {count}; a curve needs {FEWEST_SAMPLES}."
        )
    served = any(phase.name == "serve" for phase in trace.phases)
    what = "The trained model, answering single queries" if served else "One training"
    samples = _thin_memory(trace.samples)
    x = [digits(sample.seconds) for sample in samples]
    data = [_memory_line("resident (RSS)", x, [sample.rss for sample in samples], "--series-1")]
    if all(sample.uss is not None for sample in samples):
        data.append(_memory_line("not shared (USS)", x, [sample.uss or 0 for sample in samples], "--series-2"))
    data += [*_highest_so_far(trace), _peak_dot(trace)]
    start = min([samples[0].seconds, *(phase.start for phase in trace.phases)])
    end = max([samples[-1].seconds, *(phase.end for phase in trace.phases)])
    top = max(trace.peak, *(sample.rss for sample in samples)) / 1e6
    told = ", ".join(f"{phase.name} {units.seconds(phase.end - phase.start)}" for phase in trace.phases)
    labels = (_phase_label(phase.name, phase.start, phase.end, end - start) for phase in trace.phases)
    return Plot(
        title,
        f"{what} (case {trace.case}, seed {trace.seed}) sampled by psutil every "
        f"{units.demand(trace.interval, 's')}; {units.size(trace.baseline)} before anything was "
        f"loaded. Phases: {told or 'none reported'}.",
        data,
        {
            "xaxis": {"title": {"text": "seconds since the process started"}, "range": [digits(start), digits(end)]},
            "yaxis": {"title": {"text": "MB"}, "range": [0, digits(top * 1.1)]},
            "shapes": [_phase_shade(index, phase) for index, phase in enumerate(trace.phases)],
            "annotations": [label for label in labels if label],
        },
        wide=True,
    )


def _peak_dot(trace: MemoryTrace) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers+text",
        "x": [digits(_peak_seconds(trace))],
        "y": [digits(trace.peak / 1e6)],
        "text": [f"peak {units.size(trace.peak)}"],
        "textposition": "top left",
        "marker": {"size": 9, "color": "--text"},
        "cliponaxis": False,
        "name": f"peak {units.size(trace.peak)}",
        "hoverinfo": "name",
        "showlegend": False,
    }


def _phase_shade(index: int, phase: Phase) -> dict[str, Any]:
    return {
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


def peak_phase(trace: MemoryTrace) -> str | None:
    """Return the phase of the memory peak: the first at whose end the kernel's high-water mark had its last value.

    If the kernel keeps no mark, it is the phase of the highest sample.
    """
    marks = [phase.peak for phase in trace.phases if phase.peak is not None]
    if marks:
        return next(phase.name for phase in trace.phases if phase.peak == max(marks))
    highest = max(trace.samples, key=lambda sample: sample.rss).seconds
    return next((phase.name for phase in trace.phases if phase.start <= highest <= phase.end), None)


def _peak_seconds(trace: MemoryTrace) -> float:
    """Return the time of the highest sample in the peak's phase, or the middle of a phase too short for a sample."""
    phase = next((phase for phase in trace.phases if phase.name == peak_phase(trace)), None)
    if phase is None:
        return max(trace.samples, key=lambda sample: sample.rss).seconds
    inside = [sample for sample in trace.samples if phase.start <= sample.seconds <= phase.end]
    return max(inside, key=lambda sample: sample.rss).seconds if inside else (phase.start + phase.end) / 2


def _memory_line(name: str, x: list[float], y: list[int], tint: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines" if len(x) > 1 else "markers",
        "name": name,
        "x": x,
        "y": [digits(value / 1e6) for value in y],
        "line": {"color": tint, "width": 1.8},
        "hovertemplate": "%{y:.1f} MB at %{x:.1f} s<extra></extra>",
    }


def _highest_so_far(trace: MemoryTrace) -> list[dict[str, Any]]:
    """Return the kernel's high-water mark at the end of each phase; even the shortest phase has one."""
    marks = [(phase.end, phase.peak) for phase in trace.phases if phase.peak is not None]
    if not marks:
        return []
    x, y = [digits(end) for end, _ in marks], [peak for _, peak in marks]
    line = _memory_line("peak so far", x, y, "--series-3")
    return [line | {"mode": "lines+markers", "line": {"color": "--series-3", "width": 1.2, "dash": "dot"}}]


def _thin_memory(samples: list[MemorySample]) -> list[MemorySample]:
    """Return at most `MEMORY_POINTS` samples: the highest of each stretch, so that no peak is lost."""
    width = -(-len(samples) // MEMORY_POINTS)
    stretches = [samples[i : i + width] for i in range(0, len(samples), width)]
    return [max(stretch, key=lambda sample: sample.rss) for stretch in stretches]


def _phase_label(name: str, start: float, end: float, whole: float) -> dict[str, Any] | None:
    """Return a phase's name over its shade: horizontal if it is wide enough, vertical if it is narrow."""
    share = (end - start) / whole if whole > 0 else 0.0
    if share < 0.03:
        return None  # there is no space for the name; the text above the figure lists all phases
    return {
        "text": plain(cut(name, 24)),
        "x": digits((start + end) / 2),
        "xref": "x",
        "y": 0.02,  # at the bottom: the line is high wherever a phase is long
        "yref": "paper",
        "yanchor": "bottom",
        "textangle": 0 if share > 0.2 else -90,
        "showarrow": False,
        "font": {"color": "--muted", "size": 11},
    }
