"""The course of training: learning curves over epochs, steps, or time, and a metric over the seeds. Pure functions."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from tito.bench.record import CaseResult, Record
from tito.report.criteria import marks, reach, required, shown
from tito.report.figures import colour, log_axis, metric_of, title_of
from tito.report.pieces import Absent, Piece, Plot, digits, plain, thin

CURVE_POINTS = 300
ROOM = 0.3  # of a figure's width, for the words of a gate or an aim
SEPARATE_SEEDS = 6  # more curves than this are shown as a median and a band
# What a curve's points are counted by: the first of these that it has; "seconds" adds a second figure.
STEP_KEYS = ("epoch", "step", "iteration", "update")
TIME_KEY = "seconds"
SPLITS = {"train": "train", "validation": "validation", "val": "validation", "valid": "validation", "test": "test"}
SETTINGS = {"lr": "learning rate", "learning_rate": "learning rate"}  # settings, shown after the results

Line = tuple[int, list[float], list[float]]  # seed, x, y


def learning_curves(record: Record) -> list[Piece]:
    """Return one figure for each case and quantity (loss, accuracy, ...), training next to validation."""
    pieces = [piece for case in record.cases for piece in _curves_of(record, case)]
    return pieces or [Absent("Learning curves", "No learning curve: no training of this run reported one.")]


def _curves_of(record: Record, case: CaseResult) -> list[Piece]:
    runs = [(run.seed, run.curve) for run in case.runs if run.curve]
    if not runs:
        return []
    keys = {key: None for _, curve in runs for point in curve for key in point}
    steps = next((key for key in STEP_KEYS if key in keys), None)
    # Against time, the points of different seeds share no x, so many seeds have no band.
    time = TIME_KEY if TIME_KEY in keys and (len(runs) <= SEPARATE_SEEDS or not steps) else None
    axes = [key for key in (steps, time) if key] or [""]
    quantities: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        if key not in STEP_KEYS and key != TIME_KEY:
            quantities[_split(key)[1]].append(key)
    for name in SETTINGS.keys() & quantities.keys():
        if len({point[key] for _, curve in runs for point in curve for key in quantities[name] if key in point}) < 2:
            del quantities[name]  # a setting that never changed has no curve
    judged = case.verdicts[0].criterion.metric if case.verdicts else ""
    timed = judged if judged in quantities else next(iter(quantities), "")  # one figure against time is enough
    several = len(record.cases) > 1
    return [
        _curve_plot(record, case, runs, axis, name, quantities[name], several)
        for name in sorted(quantities, key=lambda name: name in SETTINGS)
        for axis in axes
        if axis != TIME_KEY or name == timed or len(axes) == 1
    ]


def _split(key: str) -> tuple[str, str]:
    """Return a curve's key as (split, quantity): "val_loss" is ("validation", "loss")."""
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
        label = _split(key)[0] or SETTINGS.get(key, key.replace("_", " "))
        draw = _seed_lines if len(lines) <= SEPARATE_SEEDS or axis == TIME_KEY else _seed_band
        data += draw(label, lines, index, "dot" if label == "train" and len(keys) > 1 else "solid")
    values = [value for trace in data for value in trace["y"] if value > 0]
    logarithmic = "loss" in name and bool(values) and max(values) > 30 * min(values)
    by = "point" if not axis else "time" if axis == TIME_KEY else axis
    words = SETTINGS.get(name, name.replace("_", " "))
    title = f"{words[:1].upper()}{words[1:]} by {by}" + (f": {title_of(record, case)}" if several else "")
    every = [value for trace in data for value in trace["y"]]
    limits, marked = ({}, {}) if logarithmic else _required(record, case, [name, *keys], every)
    seeds = "one seed" if len(runs) == 1 else f"{len(runs)} seeds, each in its own process"
    spread = "; line: median, band: 10th to 90th percentile" if len(runs) > SEPARATE_SEEDS else ""
    return Plot(
        title,
        f"As training reported it; {seeds}{spread}.",
        data,
        {
            "xaxis": {
                "title": {"text": "seconds of training" if axis == TIME_KEY else plain(axis or "point")},
                **({"dtick": 1} if axis != TIME_KEY and _reach(data) <= 10 else {}),  # whole epochs only
            },
            "yaxis": {
                "title": {"text": plain(words)},
                **(log_axis(min(values), max(values)) if logarithmic else {}),
                **limits,
                **({"tickformat": ",.6~p"} if share else {}),
            },
            "showlegend": len({trace["name"] for trace in data}) > 1,
            **marked,
        },
    )


def _required(
    record: Record, case: CaseResult, names: list[str], values: list[float]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the axis and the lines of the gates and aims on these metrics; nothing without any."""
    found = required(case, names)
    if not found or not values:
        return {}, {}
    unit = metric_of(record, found[0].criterion.metric).unit
    axis = reach(values, found, unit)
    return {"range": list(axis)}, marks(shown(found, axis), unit, axis, left=True)


def _reach(data: list[dict[str, Any]]) -> float:
    every = [x for trace in data for x in trace["x"]]
    return max(every) - min(every)


def _shares(record: Record) -> list[str]:
    return [name for name, metric in record.metrics.items() if metric.unit == "%"]


def _points(curve: list[dict[str, float]], axis: str, key: str) -> tuple[list[float], list[float]]:
    there = [
        (point.get(axis, index) if axis else index, point[key]) for index, point in enumerate(curve) if key in point
    ]
    x, y = thin([digits(a) for a, _ in there], [digits(b) for _, b in there], CURVE_POINTS)
    return x, y


def _seed_lines(label: str, lines: list[Line], index: int, dash: str) -> list[dict[str, Any]]:
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
            "line": {"color": colour(index), "width": 1.6, "dash": dash},
            "hovertemplate": f"%{{y}}<extra>seed {seed}</extra>",
            **({"meta": f"seed {seed}"} if len(lines) > 1 else {}),
        }
        for first, (seed, x, y) in enumerate(lines)
    ]


def _seed_band(label: str, lines: list[Line], index: int, dash: str) -> list[dict[str, Any]]:
    at: dict[float, list[float]] = defaultdict(list)
    for _, xs, ys in lines:
        for a, b in zip(xs, ys, strict=True):
            at[a].append(b)
    x = sorted(at)
    low, middle, high = ([digits(float(np.quantile(at[a], q))) for a in x] for q in (0.1, 0.5, 0.9))
    line = {"color": colour(index), "width": 0, "dash": dash}
    shared = {"type": "scatter", "mode": "lines", "name": plain(label), "legendgroup": plain(label), "x": x}
    edge = {**shared, "line": line, "showlegend": False, "hoverinfo": "skip"}
    return [
        {**edge, "y": low},
        {**edge, "y": high, "fill": "tonexty", "fillcolor": f"{colour(index)}-band"},
        {**shared, "y": middle, "line": {**line, "width": 2}, "showlegend": True},
    ]


def seed_spread(record: Record, case: CaseResult, name: str) -> Piece | None:
    """Return the distribution of a metric over the seeds: a dot for each seed, or a histogram from 20 seeds on."""
    there = [(run.seed, run.metrics[name]) for run in case.runs if name in run.metrics]
    if len(there) < 2:
        return None
    metric = metric_of(record, name)
    axis: dict[str, Any] = {"title": {"text": plain(metric.title)}}
    axis |= {"tickformat": ",.6~p"} if metric.unit == "%" else {}
    values, found = [value for _, value in there], required(case, [name])
    low, high = reach(values, found, metric.unit, case, name)
    axis["range"] = [low, high]
    wanted = shown(found, (low, high))
    marked = marks(wanted, metric.unit, (low, high), vertical=len(there) >= 20)
    if len(there) < 20:
        data: list[dict[str, Any]] = [
            {
                "type": "scatter",
                "mode": "markers",
                "x": [str(seed) for seed, _ in there],
                "y": values,
                "marker": {"size": 10, "color": "--series-1"},
                "cliponaxis": False,
                "hovertemplate": "seed %{x}: %{y}<extra></extra>",
            }
        ]
        seeds: dict[str, Any] = {"title": {"text": "seed"}, "type": "category"}
        if wanted:  # room for their words, right of the last seed
            seeds["range"] = [-0.5, len(there) - 0.5 + ROOM * len(there)]
        layout: dict[str, Any] = {"xaxis": seeds, "yaxis": axis}
    else:
        counts, edges = np.histogram(values, bins=20, range=reach(values, [], metric.unit))
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
        tallest = {"range": [0, digits((1.2 if wanted else 1.05) * float(counts.max()))]}  # room above the bars
        layout = {"xaxis": axis, "yaxis": {"title": {"text": "seeds"}, **tallest}, "bargap": 0.05}
    says = f"{title_of(record, case)}: {len(there)} seeds, each trained in its own process."
    return Plot(f"{metric.title} over seeds", says, data, {**layout, **marked, "showlegend": False})
