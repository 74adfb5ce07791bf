"""The gates and aims of a metric as lines in its figures, and an axis that does not magnify noise. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tito.bench.judge import interval_of
from tito.bench.record import CaseResult, Verdict
from tito.report import units
from tito.report.pieces import digits, plain

AIR = 0.06  # of the axis, around its outermost value
LEAST = 0.02  # of the value: two processes of the same code differ by as much (benchmarking.SMALLEST_EFFECT)
NEAR = 0.08  # of the axis: two lines that are closer than this have their words on different sides
VERTICAL = 0.25  # of an x axis: the words of a line in this last part are at its left
FAR = 3.0  # times the values: a requirement further away from them is off the axis, unless the metric is a share


def required(case: CaseResult, names: Sequence[str]) -> list[Verdict]:
    """Return the gates and aims on any of these metrics, gates first."""
    there = [verdict for verdict in case.verdicts if verdict.criterion.metric in names]
    return sorted(there, key=lambda verdict: verdict.role == "aim")


def marks(
    verdicts: Sequence[Verdict],
    unit: str,
    axis: tuple[float, float],
    *,
    vertical: bool = False,
    left: bool = False,
    factor: float = 1.0,
) -> dict[str, list[dict[str, Any]]]:
    """Return the requirements as Plotly's shapes and annotations: a line across the figure with its words at one end.

    Args:
        axis: the ends of the metric's axis. Where two lines are close, the words of the lower one are below it.
        vertical: whether the metric is on the x axis.
        left: whether the words are at the left end, where the figure has room there.
        factor: what the values of the figure were multiplied by, e.g. 1000 for seconds that are drawn in milliseconds.
    """
    along, across = ("y", "x") if vertical else ("x", "y")
    shapes, annotations = [], []
    values = sorted({verdict.criterion.value for verdict in verdicts})
    near = NEAR * (axis[1] - axis[0])
    for verdict in verdicts:
        limit = verdict.criterion.value
        value = digits(limit * factor, 10)
        dash = "dash" if verdict.role == "gate" else "dot"
        line = {"type": "line", f"{along}ref": "paper", f"{along}0": 0, f"{along}1": 1, f"{across}0": value}
        shapes.append({**line, f"{across}1": value, "line": {"color": "--muted", "width": 1.2, "dash": dash}})
        sign = units.SIGN[verdict.criterion.direction]
        text = plain(f"{verdict.role} {sign} {units.demand(limit, unit)}")
        below = any(0 < other - limit < near for other in values)
        if vertical:
            place: dict[str, Any] = {"x": value, "y": 1, "yref": "paper", "yanchor": "top"}
            place["xanchor"] = "right" if below or limit > axis[1] - VERTICAL * (axis[1] - axis[0]) else "left"
        else:
            place = {"x": 0 if left else 1, "y": value, "xref": "paper", "xanchor": "left" if left else "right"}
            place["yanchor"] = "top" if below else "bottom"
        font = {"color": "--muted", "size": 11}
        annotations.append({"text": text, **place, "showarrow": False, "font": font})
    return {"shapes": shapes, "annotations": annotations}


def reach(
    values: Sequence[float], verdicts: Sequence[Verdict], unit: str, case: CaseResult | None = None, name: str = ""
) -> tuple[float, float]:
    """Return the axis of a metric: its values, its requirements, and never less than what chance alone explains.

    For the share of items answered correctly, that is the binomial interval; otherwise LEAST of the value. A
    requirement far from the values, such as a minute for a training of a second, does not extend the axis.
    """
    low, high = min(values), max(values)
    interval = interval_of(case, name) if case else None
    middle = (low + high) / 2
    half = max(middle - interval[0], interval[1] - middle) if interval else LEAST / 2 * abs(middle)
    most = max([1.0, *(verdict.criterion.value for verdict in verdicts)])  # a gate of 110 % is drawn, too
    share = unit == "%" and low >= 0 and high <= 1
    low, high = min(low, middle - half), max(high, middle + half)
    if low == high:
        low, high = low - 1.0, high + 1.0
    near = FAR * max(abs(low), abs(high))
    wanted = [verdict.criterion.value for verdict in verdicts]
    within = [value for value in wanted if unit == "%" or low - near <= value <= high + near]
    low, high = min([low, *within]), max([high, *within])
    air = AIR * (high - low)
    if share:
        return max(0.0, low - air), min(most, high + air)
    return low - air, high + air


def shown(verdicts: Sequence[Verdict], axis: tuple[float, float]) -> list[Verdict]:
    """Return the requirements within an axis."""
    return [verdict for verdict in verdicts if axis[0] <= verdict.criterion.value <= axis[1]]
