"""The flame graph: py-spy's collapsed stacks as a Plotly icicle, root at the top."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from tito.bench.record import Stacks
from tito.report import units
from tito.report.pieces import Absent, Piece, Plot, cut, plain

SMALLEST = 0.002  # a frame with a smaller share is not drawn; its parent's total includes it
ROW = 24  # pixels for a level
CHARACTER, WIDTH = 6.5, 1100  # pixels of a character and of the widest page
FRAME = re.compile(r"^(?P<function>.*?) \((?P<file>[^()]*?)(?::(?P<line>\d+))?\)$")

Path = tuple[str, ...]


def flame_graph(stacks: Stacks | None, of: str = "") -> Piece:
    """Return where the time goes: each box is a function, as wide as its share of the samples."""
    title = f"Flame graph{of}"
    if stacks is None or not stacks.collapsed:
        return Absent(title, "No stacks were sampled in this run.")
    collapsed = [(tuple(frame for frame in stack.split(";") if frame), n) for stack, n in stacks.collapsed]
    shared = _shared([path for path, _ in collapsed])
    totals = frame_totals([(path[len(shared) :], n) for path, n in collapsed])
    whole = totals[()]
    kept = [path for path, n in totals.items() if n >= SMALLEST * whole]
    depth = max(len(path) for path in kept)
    below = (
        f" Omitted: the {len(shared)} frames with which every stack begins, the last of them {label(shared[-1])}."
        if shared
        else ""
    )
    return Plot(
        title,
        f"Where the time goes: each box is a function, as wide as its share of {units.integer(whole)} stacks that "
        f"{stacks.tool} took at {stacks.rate_hz} Hz in {units.seconds(stacks.seconds)}, in a pass that is not timed. "
        f"Click a box to enlarge it.{below}",
        [_icicle(kept, totals)],
        {
            "height": 60 + ROW * (depth + 1),
            "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
            "uniformtext": {"minsize": 10, "mode": "hide"},
        },
        shape="tall",
        wide=True,
    )


def frame_totals(collapsed: list[tuple[Path, int]]) -> dict[Path, int]:
    """Return the samples in each frame and its callees; the root () has all of them. Parents come first."""
    totals: dict[Path, int] = defaultdict(int)
    for path, n in collapsed:
        for depth in range(len(path) + 1):
            totals[path[:depth]] += n
    return dict(sorted(totals.items(), key=lambda item: (len(item[0]), -item[1])))


def label(frame: str) -> str:
    """Return a frame as function (file:line), without the file's folders."""
    found = FRAME.match(frame)
    if not found:
        return frame
    file = found["file"].replace("\\", "/").rsplit("/", 1)[-1]
    return f"{found['function']} ({file}:{found['line']})" if found["line"] else f"{found['function']} ({file})"


def _shared(paths: list[Path]) -> Path:
    """Return the frames with which every stack begins (the harness's); at least one frame of each stack remains."""
    first, last = min(paths), max(paths)
    limit = min(len(path) for path in paths) - 1
    same = 0
    while same < limit and first[same] == last[same]:
        same += 1
    return first[:same]


def _icicle(kept: list[Path], totals: dict[Path, int]) -> dict[str, Any]:
    number = {path: str(index) for index, path in enumerate(kept)}
    return {
        "type": "icicle",
        "branchvalues": "total",
        "ids": [number[path] for path in kept],
        "parents": [number[path[:-1]] if path else "" for path in kept],
        "labels": [plain(cut(label(path[-1]), 120)) if path else "all" for path in kept],
        "text": [plain(_fitting(path[-1], totals[path] / totals[()])) if path else "all" for path in kept],
        "textinfo": "text",
        "values": [totals[path] for path in kept],
        "marker": {
            "colors": [_colour(path[-1]) if path else "--flame-root" for path in kept],
            "line": {"color": "--card", "width": 1},
        },
        "tiling": {"orientation": "v", "pad": 0},
        "pathbar": {"visible": False},
        "textposition": "middle left",
        "textfont": {"color": "--flame-text", "size": 12},
        "hovertemplate": "%{label}<br>%{value} samples, %{percentRoot:.1%} of all<extra></extra>",
        "sort": False,
    }


def _fitting(frame: str, share: float) -> str:
    """Return the text of a box: the whole label if it fits on a wide page, otherwise only the function."""
    whole = label(frame)
    found = FRAME.match(frame)
    return found["function"] if found and len(whole) * CHARACTER > share * WIDTH else cut(whole, 120)


def _colour(frame: str) -> str:
    """Return a frame's color, which sets the framework's frames apart from NumPy's and from all others."""
    if "tinytorch" in frame:
        return "--flame-own"
    return "--flame-numpy" if "numpy" in frame else "--flame-other"
