"""From an exhibit of a record to a piece of a page, with one pure function for each kind."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinytorch.datasets.png import encode
from tito.bench.record import (
    Bars,
    Confusion,
    Exhibit,
    Heatmaps,
    Lines,
    Picture,
    Pictures,
    Points,
    Record,
    Table,
    Texts,
)
from tito.report import units
from tito.report.curves import seed_spread
from tito.report.figures import SERIES, colour, log_axis, title_of
from tito.report.pieces import Absent, Grid, Image, Images, Passages, Piece, Plot, cut, digits, plain, thin

LINE_POINTS = 500
GRID_SIDE = 120  # cells along an edge of a decision surface; finer grids are thinned
READABLE_CLASSES = 16  # with more classes than this, the cells have no space for counts
FEW_TICKS = 10  # up to this number of different values, an axis is labeled with them
MOST_VALUES = 20_000  # of a heatmap that the page contains as numbers too
ACROSS_LIMIT, ACROSS_LENGTH = 8, 10  # with more or longer names than this, bars are horizontal

# Color maps with an even rise in luminance and without red next to green. Sequential: five points of cividis
# (Nuñez et al. 2018, doi:10.1371/journal.pone.0199239); signed: blue, near white, orange.
SEQUENTIAL = ((0, 34, 78), (66, 78, 107), (124, 123, 120), (187, 175, 113), (254, 232, 56))
SIGNED = ((0, 82, 148), (110, 166, 210), (247, 247, 245), (240, 164, 96), (179, 80, 0))


def exhibits(record: Record) -> list[tuple[str, list[Piece]]]:
    """Return for each case that has any: its heading, its first seed's exhibits, and its spread over seeds."""
    sections = []
    for case in record.cases:
        metric = case.verdicts[0].criterion.metric if case.verdicts else ""
        spread = seed_spread(record, case, metric)
        first = case.runs[0] if case.runs else None
        pieces = [piece_of(exhibit, f"Seed {first.seed}.") for exhibit in first.exhibits] if first else []
        pieces += [spread] if spread else []
        if pieces:
            sections.append((title_of(record, case), pieces))
    return sections


def piece_of(exhibit: Exhibit, origin: str) -> Piece:
    """Return the piece that shows an exhibit; `origin` says in a few words where it comes from."""
    try:
        piece = RENDER[exhibit.kind](exhibit, origin)
        if isinstance(piece, Plot):
            json.dumps([piece.data, piece.layout], allow_nan=False)  # as in the page
        return piece
    except (ValueError, TypeError, IndexError, ArithmeticError) as error:
        return Absent(exhibit.title, f"This exhibit cannot be drawn: {error}")


def _lines(exhibit: Lines, origin: str) -> Piece:
    data: list[dict[str, Any]] = []
    for index, series in enumerate(exhibit.series):
        if len(series.x) != len(series.y):
            raise ValueError(f"series {series.name!r} has {len(series.x)} x and {len(series.y)} y")
        x, y = thin(series.x, series.y, LINE_POINTS)
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if len(x) <= 30 else "lines",
                "name": plain(series.name),
                "x": [digits(value) for value in x],
                "y": [digits(value) for value in y],
                "line": {"color": colour(index), "width": 1.8, "dash": "solid" if index < SERIES else "dash"},
                "marker": {"size": 5, "color": colour(index)},
            }
        )
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": plain(exhibit.x_title)}},
        "yaxis": {"title": {"text": plain(exhibit.y_title)}},
        "showlegend": len(data) > 1,
    }
    if exhibit.logarithmic:
        layout["xaxis"] |= _log_axis([x for series in exhibit.series for x in series.x])
        layout["yaxis"] |= _log_axis([y for series in exhibit.series for y in series.y])
    steps = "; both axes logarithmic" if exhibit.logarithmic else ""
    says = f"{exhibit.y_title} by {exhibit.x_title}{steps}. {origin}"
    many = len(data) > SERIES  # their legend would take the space of the curves
    layout |= {"height": 340 + 20 * len(data)} if many else {}
    return Plot(exhibit.title, says, data, layout, shape="tall" if many else "normal")


def _log_axis(values: list[float]) -> dict[str, Any]:
    """Return a logarithmic axis around values, labeled with them if they are few."""
    low, high = min(values), max(values)
    if low <= 0:
        raise ValueError(f"{low:g} cannot be shown on a logarithmic axis")
    axis = log_axis(low / 1.25, high * 1.25, span=True)
    few = sorted(set(values)) if len(set(values)) <= FEW_TICKS else []
    return axis | ({"tickvals": few, "ticktext": [units.integer(tick) for tick in few]} if few else {})


def _confusion(exhibit: Confusion, origin: str) -> Piece:
    counts = np.array(exhibit.counts)
    n = len(exhibit.classes)
    if counts.shape != (n, n):
        raise ValueError(f"{n} classes need {n} x {n} counts, not {counts.shape}")
    wrong = int(counts.sum() - np.trace(counts))
    names = [plain(cut(name, 16)) for name in exhibit.classes]
    says = (
        f"Rows: true class; columns: predicted class. {units.integer(int(counts.sum()))} samples, "
        f"{units.integer(wrong)} of them wrong (off the diagonal). Color: logarithm of the count. {origin}"
    )
    cells = {
        "type": "heatmap",
        "x": names,
        "y": names,
        "z": [[digits(value, 3) for value in row] for row in np.log1p(counts).tolist()],
        "text": counts.tolist(),
        "hovertemplate": "true %{y}, predicted %{x}: %{text}<extra></extra>",
        "colorscale": [[0, "--heat-0"], [0.5, "--heat-1"], [1, "--heat-2"]],
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
    }
    if n <= READABLE_CLASSES:
        cells["texttemplate"] = "%{text}"
        cells["textfont"] = {"size": 11 if n <= 10 else 9}
    axis = {"type": "category", "showgrid": False, "ticks": "", "constrain": "domain"}
    layout = {
        "xaxis": {**axis, "title": {"text": "predicted class"}, "side": "bottom"},
        "yaxis": {**axis, "title": {"text": "true class"}, "autorange": "reversed", "scaleanchor": "x"},
    }
    return Plot(exhibit.title, says, [cells], layout, shape="square")


def _pictures(exhibit: Pictures, origin: str) -> Piece:
    images = [Image(_address(picture), picture.caption) for picture in exhibit.pictures]
    count = "One image" if len(images) == 1 else f"{len(images)} images"
    return Images(exhibit.title, f"{count}, enlarged without smoothing. {origin}", images)


def _address(picture: Picture) -> str:
    if not picture.png:
        raise ValueError(picture.problem or "a picture is empty")
    return f"data:image/png;base64,{picture.png}"


def data_png(pixels: np.ndarray) -> str:
    """Return a uint8 image as a data: address, so that the page needs no other file."""
    return "data:image/png;base64," + base64.b64encode(encode(np.ascontiguousarray(pixels))).decode("ascii")


def _points(exhibit: Points, origin: str) -> Piece:
    if not len(exhibit.x) == len(exhibit.y) == len(exhibit.label):
        raise ValueError(f"{len(exhibit.x)} x, {len(exhibit.y)} y and {len(exhibit.label)} labels")
    data = _surface(exhibit) if exhibit.grid else []
    surface = ["; shading: the model's output over the plane", ", line: the decision boundary"][: len(data)]
    symbols = ("circle", "square", "diamond", "cross", "triangle-up", "star")
    for index, label in enumerate(sorted(set(exhibit.label))):
        chosen = [i for i, other in enumerate(exhibit.label) if other == label]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": f"class {label}",
                "x": [digits(exhibit.x[i]) for i in chosen],
                "y": [digits(exhibit.y[i]) for i in chosen],
                "marker": {
                    "size": 11 if len(exhibit.x) <= 20 else 6,
                    "symbol": symbols[index % len(symbols)],
                    "color": colour(index),
                    "line": {"width": 1, "color": "--card"},
                },
            }
        )
    axis = {"zeroline": False, "showgrid": False}
    layout = {"xaxis": axis, "yaxis": axis}
    return Plot(
        exhibit.title, f"{len(exhibit.x)} points by class{''.join(surface)}. {origin}", data, layout, shape="square"
    )


def _surface(exhibit: Points) -> list[dict[str, Any]]:
    """Return the model's output over the plane, and the line where it crosses one half (or zero, if it is signed)."""
    z = np.array(exhibit.grid, dtype=float)
    if z.shape != (len(exhibit.grid_y), len(exhibit.grid_x)):
        raise ValueError(f"a grid of {z.shape} for {len(exhibit.grid_y)} y and {len(exhibit.grid_x)} x")
    rows, columns = (slice(None, None, -(-side // GRID_SIDE)) for side in z.shape)
    z = z[rows, columns]
    middle = 0.0 if z.min() < 0 else 0.5
    reach = 0.5 if z.min() >= 0 and z.max() <= 1 else float(max(abs(z - middle).max(), 1e-9))
    shared = {
        "x": [digits(value) for value in exhibit.grid_x[columns]],
        "y": [digits(value) for value in exhibit.grid_y[rows]],
        "z": [[digits(value, 4) for value in row] for row in z.tolist()],
        "showscale": False,
        "hoverinfo": "skip",
        "showlegend": False,
    }
    shade = {
        **shared,
        "type": "heatmap",
        "zmin": middle - reach,
        "zmax": middle + reach,
        "colorscale": [[0, "--shade-0"], [0.5, "--card"], [1, "--shade-1"]],
        "zsmooth": "best",
    }
    border = {
        **shared,
        "type": "contour",
        "contours": {"coloring": "none", "start": middle, "end": middle, "size": 1},
        "line": {"color": "--text", "width": 1.5},
    }
    return [shade, border] if z.min() < middle < z.max() else [shade]


def _heatmaps(exhibit: Heatmaps, origin: str) -> Piece:
    """Return all matrices in one color scale, as pictures, which stay sharp and small even for many attention maps."""
    matrices = [np.array(matrix, dtype=float) for matrix in exhibit.matrices]
    if len(matrices) != len(exhibit.names) or any(m.ndim != 2 or not m.size for m in matrices):
        raise ValueError(f"{len(exhibit.names)} names for {len(matrices)} matrices, each must have rows and columns")
    low, high = min(float(m.min()) for m in matrices), max(float(m.max()) for m in matrices)
    signed = low < 0 < high
    if signed:
        high = max(-low, high)
        low = -high
    ramp = SIGNED if signed else SEQUENTIAL
    images = [
        Image(data_png(tint(matrix, low, high, ramp)), name)
        for matrix, name in zip(matrices, exhibit.names, strict=True)
    ]
    gradient = ", ".join(f"rgb({r} {g} {b})" for r, g, b in ramp)
    few = sum(matrix.size for matrix in matrices) <= MOST_VALUES
    values = [[[digits(value, 4) for value in row] for row in matrix.tolist()] for matrix in matrices] if few else None
    where = "" if few else " The values are in the record."
    says = f"Across: {exhibit.x_title}; down: {exhibit.y_title}; one color scale for all. {origin}{where}"
    scale = (units.significant(low), units.significant(high), gradient)
    return Images(exhibit.title, says, images, scale=scale, values=values)


def tint(matrix: np.ndarray, low: float, high: float, ramp: tuple[tuple[int, int, int], ...]) -> np.ndarray:
    """Return a matrix (H, W) as colors (H, W, 3), linear between the points of the ramp."""
    share = np.clip((matrix - low) / (high - low or 1.0), 0, 1)
    stops = np.linspace(0, 1, len(ramp))
    channels = [np.interp(share, stops, [point[c] for point in ramp]) for c in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def _bars(exhibit: Bars, origin: str) -> Piece:
    for name, values in exhibit.groups.items():
        if len(values) != len(exhibit.names):
            raise ValueError(f"group {name!r} has {len(values)} values for {len(exhibit.names)} names")
    names = [plain(cut(name, 40)) for name in exhibit.names]
    lying = len(names) > ACROSS_LIMIT or max(map(len, names), default=0) > ACROSS_LENGTH
    data = [
        {
            "type": "bar",
            "name": plain(group),
            "orientation": "h" if lying else "v",
            ("y" if lying else "x"): names,
            ("x" if lying else "y"): [digits(value) for value in values],
            "marker": {"color": colour(index)},
            **(_labels(values) if exhibit.logarithmic else {}),
        }
        for index, (group, values) in enumerate(exhibit.groups.items())
    ]
    named = {"type": "category", "showgrid": False, **({"autorange": "reversed"} if lying else {})}
    measured = {"title": {"text": plain(exhibit.y_title)}}
    if exhibit.logarithmic:
        measured |= _log_length([value for values in exhibit.groups.values() for value in values], lying)
    layout: dict[str, Any] = {
        "xaxis": measured if lying else named,
        "yaxis": named if lying else measured,
        "barmode": "group",
        "bargap": 0.3,
        "showlegend": len(data) > 1,
    }
    if lying:
        layout["height"] = 110 + len(names) * (10 + 16 * max(1, len(data)))
    steps = "; each grid line is ten times the previous one" if exhibit.logarithmic else ""
    says = f"{'Length' if lying else 'Height'}: {exhibit.y_title}{steps}. {origin}"
    return Plot(exhibit.title, says, data, layout, shape="tall" if lying else "normal")


def _labels(values: list[float]) -> dict[str, Any]:
    """Return labels with the values, since the length of a bar on a logarithmic axis is hard to read."""
    numbers = [units.significant(value) for value in values]
    return {"text": numbers, "textposition": "outside", "cliponaxis": False, "textfont": {"size": 11}}


def _log_length(values: list[float], lying: bool) -> dict[str, Any]:
    """Return a logarithmic axis from a whole decade below the smallest bar, with room for the numbers above."""
    if min(values) <= 0:
        raise ValueError(f"{min(values):g} cannot be shown on a logarithmic axis")
    low, high = math.floor(math.log10(min(values) / 1.5)), math.log10(max(values)) + (0.6 if lying else 0.3)
    ticks = [digits(10.0**decade) for decade in range(low, math.floor(high) + 1)]
    labels = [units.short(tick) for tick in ticks]
    return {"type": "log", "tickvals": ticks, "ticktext": labels, "range": [low, digits(high)]}


def _texts(exhibit: Texts, origin: str) -> Piece:
    return Passages(exhibit.title, f"The model's output, verbatim. {origin}", list(exhibit.texts))


def _table(exhibit: Table, origin: str) -> Piece:
    if any(len(row) != len(exhibit.columns) for row in exhibit.rows):
        raise ValueError(f"a row does not have {len(exhibit.columns)} cells, one for each column")
    numeric = {
        i
        for i in range(len(exhibit.columns))
        if exhibit.rows and all(not isinstance(row[i], str) for row in exhibit.rows)
    }
    rows = [[units.cell(value) for value in row] for row in exhibit.rows]
    return Grid(exhibit.title, origin, exhibit.columns, rows, frozenset(numeric), wide=len(exhibit.columns) > 4)


RENDER: dict[str, Callable[[Any, str], Piece]] = {
    "lines": _lines,
    "confusion": _confusion,
    "pictures": _pictures,
    "points": _points,
    "heatmaps": _heatmaps,
    "bars": _bars,
    "texts": _texts,
    "table": _table,
}
