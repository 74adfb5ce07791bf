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
FAR = 3.0  # times the values: a requirement further away from them is off the axis, unless the metric is a share


def required(case: CaseResult, names: Sequence[str]) -> list[Verdict]:
    """Return the gates and aims on any of these metrics, gates first."""
    there = [verdict for verdict in case.verdicts if verdict.criterion.metric in names]
    return sorted(there, key=lambda verdict: verdict.role == "aim")


def marks(verdicts: Sequence[Verdict], unit: str, vertical: bool = False) -> dict[str, list[dict[str, Any]]]:
    """Return the requirements as Plotly's shapes and annotations: a line across the figure with its words at the end.

    Args:
        vertical: whether the metric is on the x axis.
    """
    along, across = ("y", "x") if vertical else ("x", "y")
    shapes, annotations = [], []
    for verdict in verdicts:
        value = digits(verdict.criterion.value, 10)
        dash = "dash" if verdict.role == "gate" else "dot"
        line = {"type": "line", f"{along}ref": "paper", f"{along}0": 0, f"{along}1": 1, f"{across}0": value}
        shapes.append({**line, f"{across}1": value, "line": {"color": "--muted", "width": 1.2, "dash": dash}})
        sign = units.SIGN[verdict.criterion.direction]
        text = plain(f"{verdict.role} {sign} {units.demand(verdict.criterion.value, unit)}")
        place = {"x": value, "y": 1, "yref": "paper"} if vertical else {"x": 1, "y": value, "xref": "paper"}
        anchor = {"xanchor": "left", "yanchor": "top"} if vertical else {"xanchor": "right", "yanchor": "bottom"}
        font = {"color": "--muted", "size": 11}
        annotations.append({"text": text, **place, **anchor, "showarrow": False, "font": font})
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
        return max(0.0, low - air), min(1.0, high + air)
    return low - air, high + air


def shown(verdicts: Sequence[Verdict], axis: tuple[float, float]) -> list[Verdict]:
    """Return the requirements within an axis."""
    return [verdict for verdict in verdicts if axis[0] <= verdict.criterion.value <= axis[1]]
