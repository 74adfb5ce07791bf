"""The flame graph: py-spy's collapsed stacks as boxes of HTML, root at the top; flame.js adds zoom and search."""

from __future__ import annotations

import re
from collections import defaultdict

from tito.bench.record import Stacks
from tito.report import units
from tito.report.pieces import Absent, Box, Flame, Grid, Piece, cut

SMALLEST = 0.002  # a frame with a smaller share is not drawn; its parent's total includes it
MOST_FRAMES = 40  # in the table of functions
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
    below = (
        f" Omitted: the {len(shared)} frames with which every stack begins, the last of them {label(shared[-1])}."
        if shared
        else ""
    )
    return Flame(
        title,
        f"Where the time goes: each box is a function, as wide as its share of {units.integer(whole)} stacks that "
        f"{stacks.tool} took at {stacks.rate_hz} Hz in {units.seconds(stacks.seconds)}, in a pass that is not timed. "
        f"A box enlarges when it is chosen.{below}",
        _boxes(kept, totals),
        1 + max(len(path) for path in kept),
        own_time(collapsed),
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
    function, file = parts(frame)
    return f"{function} ({file})" if file else function


def parts(frame: str) -> tuple[str, str]:
    """Return a frame's function and its file:line, without the file's folders."""
    found = FRAME.match(frame)
    if not found:
        return frame, ""
    file = found["file"].replace("\\", "/").rsplit("/", 1)[-1]
    return found["function"], f"{file}:{found['line']}" if found["line"] else file


def _shared(paths: list[Path]) -> Path:
    """Return the frames with which every stack begins (the harness's); at least one frame of each stack remains."""
    first, last = min(paths), max(paths)
    limit = min(len(path) for path in paths) - 1
    same = 0
    while same < limit and first[same] == last[same]:
        same += 1
    return first[:same]


def _boxes(kept: list[Path], totals: dict[Path, int]) -> list[Box]:
    """Return a box for each path, below its caller's, from left to right in the order of the paths."""
    whole = totals[()]
    used: dict[Path, int] = {}  # samples left of the next callee's box
    boxes = []
    for path in kept:
        caller = path[:-1]
        left = used.setdefault(caller, 0) if path else 0
        used[path] = left
        if path:
            used[caller] += totals[path]
        function, file = parts(path[-1]) if path else ("all", "")
        boxes.append(
            Box(
                _percent(left, whole),
                _percent(totals[path], whole),
                len(path),
                _origin(path[-1]) if path else "root",
                cut(function, 120),
                cut(file, 120),
                totals[path],
                f"{totals[path] / whole:.1%}",
            )
        )
    return boxes


def _percent(count: int, whole: int) -> str:
    return f"{100 * count / whole:.4g}%"


def own_time(collapsed: list[tuple[Path, int]]) -> Grid:
    """Return the frames with the most samples of their own, that is, in which a stack ends."""
    own: dict[str, int] = defaultdict(int)
    total: dict[str, int] = defaultdict(int)
    for path, n in collapsed:
        own[path[-1]] += n
        for frame in set(path):
            total[frame] += n
    whole = sum(own.values())
    most = sorted(own, key=lambda frame: (-own[frame], frame))[:MOST_FRAMES]
    rows = [[*parts(frame), f"{own[frame] / whole:.1%}", f"{total[frame] / whole:.1%}"] for frame in most]
    left_out = f"the {len(rows)} of {len(own)} functions with the most; " if len(rows) < len(own) else ""
    says = f"Time of each function's own, without its callees: {left_out}{units.integer(whole)} samples."
    return Grid("Time by function", says, ["function", "file", "own", "with callees"], rows, frozenset((2, 3)))


def _origin(frame: str) -> str:
    """Return who wrote a frame's code: the framework, NumPy, or others."""
    if "tinytorch" in frame:
        return "own"
    return "numpy" if "numpy" in frame else "other"
