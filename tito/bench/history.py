"""A run against its history: each figure against the median of the last ten comparable runs. Pure functions.

    change_against_history(record, entries)["mlp.p50_us"]  ->  Change(relative=+0.25, runs=10, ...)
    shifts_of(record, entries)                             ->  what changed for good, and since when

Comparable are runs of the same suite (by hash), on the same machine, with the same settings and kernel backend, both
quick or both full, without alterations, on a quiet machine, that did not fail.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from tito.bench.entry import Entry, entry_of, in_order, latest_believable
from tito.bench.quantities import OF_PROFILE, SHARE, Quantity, quantities
from tito.bench.record import Record
from tito.bench.shifts import Shift, find_shift

LAST = 10  # runs whose median a figure is compared with
LONGEST = 30  # runs in which a change is looked for
FEWEST = 5  # runs that a spread is computed from
# Not judged: p99 rests on a hundredth of the queries and jumps to several times its usual value at one commit; loading
# and evaluating take a few milliseconds in some suites, and their time is not what a suite is about
NOT_JUDGED = ("p99_us", f"{OF_PROFILE}p99_us", "load_seconds", "evaluate_seconds")
SMALLEST_CHANGE = 0.02  # of a ratio; a different memory layout of the same code can make a difference of up to 2%
SPREADS = 4.0  # a change within this many spreads is as usual
MAD_TO_SD = 1.4826  # of normally distributed values

Word = Literal["better", "worse", "changed", "as usual", ""]


@dataclass(frozen=True)
class Change:
    """A figure of a run, and the same figure of the comparable runs before it."""

    quantity: Quantity
    usual: float  # the median of the last comparable runs
    runs: int  # how many they are, 1 to LAST
    relative: float | None  # 0.25 for a quarter more; None for a share ("%"), and where the usual value is 0
    difference: float
    spread: float | None  # the usual deviation from the median, in the figure's unit; None with few runs
    word: Word  # "" with few runs; "changed" where the suite does not say what is better


def comparable(record: Record, runs: Sequence[Entry | Record], now: datetime | None = None) -> list[Entry]:
    """Return the comparable runs before a record, oldest first.

    Runs dated in the future are left out, because their place in the order is unknown.
    """
    own, limit = entry_of(record), latest_believable(now)
    if own.created > limit:
        return []
    entries = [run if isinstance(run, Entry) else entry_of(run) for run in runs]
    found = [run for run in entries if run.ground == own.ground and run.in_history and run.id != own.id]
    return [run for run in in_order(found, now) if run.created <= min(own.created, limit)]


def history_of(record: Record, runs: Sequence[Entry | Record], now: datetime | None = None) -> list[Entry]:
    """Return the last comparable runs, before or after a record, oldest first."""
    own, limit = entry_of(record).ground, latest_believable(now)
    entries = [run if isinstance(run, Entry) else entry_of(run) for run in runs]
    found = [run for run in entries if run.ground == own and run.in_history and run.created <= limit]
    return in_order(found, now)[-LONGEST:]


def change_against_history(
    record: Record, runs: Sequence[Entry | Record], now: datetime | None = None
) -> dict[str, Change]:
    """Return for each figure of a record its change against the median of the last ten comparable runs.

    Args:
        runs: all runs that are known; the record itself and those that are not comparable are left out.

    Returns:
        By the figure's key; figures that no comparable run has are left out.
    """
    earlier = comparable(record, runs, now)
    found = {}
    for key, quantity in quantities(record).items():
        values = [run.figures[key] for run in earlier if key in run.figures][-LAST:]
        if values:
            found[key] = change(quantity, values)
    return found


def change(quantity: Quantity, values: Sequence[float]) -> Change:
    """Return a figure's change against the median of earlier values."""
    usual = statistics.median(values)
    difference = quantity.value - usual
    relative = difference / abs(usual) if quantity.metric.unit != SHARE and usual else None
    spread = MAD_TO_SD * statistics.median(abs(value - usual) for value in values) if len(values) >= FEWEST else None
    return Change(
        quantity, usual, len(values), relative, difference, spread, _word(quantity, relative, difference, spread)
    )


def _word(quantity: Quantity, relative: float | None, difference: float, spread: float | None) -> Word:
    if spread is None:
        return ""
    small = relative is not None and abs(relative) <= SMALLEST_CHANGE
    if difference == 0 or small or abs(difference) <= SPREADS * spread:
        return "as usual"
    if not quantity.better:
        return "changed"
    return "better" if (difference > 0) == (quantity.better == "higher") else "worse"


@dataclass(frozen=True)
class Since:
    """A figure that changed for good, and the first run after the change."""

    quantity: Quantity  # of the record whose history it is
    shift: Shift
    run: Entry
    last: Entry  # the last run before the change
    word: Literal["better", "worse", "changed"]


def shifts_of(record: Record, runs: Sequence[Entry | Record], now: datetime | None = None) -> list[Since]:
    """Return the figures of a record that changed for good during the last LONGEST comparable runs, the worse first."""
    history = history_of(record, runs, now)
    found = []
    judged = {key: one for key, one in quantities(record).items() if one.name not in NOT_JUDGED}
    for key, quantity in judged.items():
        have = [run for run in history if key in run.figures]
        shift = find_shift([run.figures[key] for run in have], share=quantity.metric.unit == SHARE)
        if shift:
            more = shift.after > shift.before
            word: Literal["better", "worse", "changed"] = "changed"
            if quantity.better:
                word = "better" if more == (quantity.better == "higher") else "worse"
            found.append(Since(quantity, shift, have[shift.at], have[shift.at - 1], word))
    return sorted(found, key=lambda one: ("worse", "changed", "better").index(one.word))
