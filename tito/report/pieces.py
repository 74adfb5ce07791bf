"""What a page consists of: plain data that a template shows, independent of records, Plotly, and HTML."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Plot:
    """A Plotly figure. Colors are names of CSS variables ("--series-1"), resolved when it is drawn."""

    title: str
    says: str  # one sentence: what the figure shows, and how it was measured
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    shape: Literal["normal", "square", "tall"] = "normal"
    wide: bool = False
    kind: Literal["plot"] = field(default="plot", init=False)


@dataclass(frozen=True)
class Image:
    src: str  # a data: address
    caption: str


@dataclass(frozen=True)
class Images:
    """Small pictures side by side, enlarged without smoothing."""

    title: str
    says: str
    images: list[Image]
    scale: tuple[str, str, str] | None = None  # lowest value, highest value, CSS gradient between them
    values: list[list[list[float]]] | None = None  # what the colors of a heatmap stand for, one matrix for each image
    wide: bool = True
    kind: Literal["images"] = field(default="images", init=False)


@dataclass(frozen=True)
class Passages:
    """Texts under headings."""

    title: str
    says: str
    texts: list[tuple[str, str]]
    wide: bool = True
    kind: Literal["texts"] = field(default="texts", init=False)


@dataclass(frozen=True)
class Grid:
    """A table. Columns in `numeric` are aligned right, cells in `missed` (row, column) are red.

    `below` holds a small line below a cell (row, column), `notes` a line of text about a row, which stands below the
    table, and `meanings` the full names of the columns, where their heads are short.
    """

    title: str
    says: str
    columns: list[str]
    rows: list[list[str]]
    numeric: frozenset[int] = frozenset()
    missed: frozenset[tuple[int, int]] = frozenset()
    below: Mapping[tuple[int, int], str] = field(default_factory=dict)
    notes: Mapping[int, str] = field(default_factory=dict)
    meanings: Sequence[str] = ()
    wide: bool = False
    kind: Literal["table"] = field(default="table", init=False)


@dataclass(frozen=True)
class Tile:
    """One figure, large, with a few words around it."""

    title: str
    value: str
    note: str
    mark: str = ""  # distinguishes figures with the same title: p50, p90
    case: str = ""  # the case that it belongs to, where a group holds several
    key: str = ""  # the figure's name among those of the record, as in tito.bench.quantities
    change: str = ""  # against the same figure of earlier runs
    word: str = ""  # whether that is better, worse, or as usual


@dataclass(frozen=True)
class Tiles:
    """Figures side by side; the title names the case or the track that they belong to."""

    title: str
    says: str
    tiles: list[Tile]
    wide: bool = True
    kind: Literal["tiles"] = field(default="tiles", init=False)


@dataclass(frozen=True)
class Box:
    """One function of a flame graph: where it is, in percent of the width, and what it says."""

    left: str
    width: str
    depth: int
    css: str  # who wrote the code: own, numpy, or other
    function: str
    file: str  # with its line
    samples: int
    share: str


@dataclass(frozen=True)
class Flame:
    """A flame graph: boxes in rows, callers above callees, and the frames with the most time of their own."""

    title: str
    says: str
    boxes: list[Box]
    rows: int
    table: Grid
    wide: bool = True
    kind: Literal["flame"] = field(default="flame", init=False)


@dataclass(frozen=True)
class Absent:
    """A section without data, and one line that says why."""

    title: str
    says: str
    wide: bool = False
    kind: Literal["absent"] = field(default="absent", init=False)


Piece = Plot | Images | Passages | Grid | Tiles | Flame | Absent


NONE = "–"  # a figure that is not there


def plain(text: str) -> str:
    """Return text escaped for Plotly, which interprets a part of HTML in every label."""
    return html.escape(text, quote=False)


def cut(text: str, length: int) -> str:
    """Return text of at most `length` characters."""
    return text if len(text) <= length else text[: length - 1] + "…"


def thin(x: Sequence[float], y: Sequence[float], limit: int) -> tuple[list[float], list[float]]:
    """Return every n-th point of a line, at most `limit` of them, including the last."""
    if len(x) <= limit:
        return list(x), list(y)
    step = -(-(len(x) - 1) // (limit - 1))
    chosen = sorted({*range(0, len(x), step), len(x) - 1})[-limit:]
    return [x[i] for i in chosen], [y[i] for i in chosen]


def digits(value: float, count: int = 5) -> float:
    """Return a number with few digits, so that pages stay small."""
    return float(f"{value:.{count}g}")
