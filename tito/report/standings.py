"""A row of a leaderboard as text: the page and the terminal show the same. Pure functions of rows and receipts."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from tito.compete.ranking import CRITERIA, Criterion, Row, Standing
from tito.compete.receipt import Quality, Receipt
from tito.report import units

NAMES: dict[Criterion, str] = {"latency": "Latency", "size": "Size", "quality": "Quality"}
NONE = "–"
# Sentences that stand wherever results are shown
PUBLIC = "The test splits are public. Nothing proves that an entry of the open division was not trained on them."
TRADEMARK = (
    "MLPerf is a trademark of MLCommons. These are not MLPerf results: "
    "MLCommons has neither reviewed nor verified them."
)


@dataclass(frozen=True)
class Cell:
    """A figure and, in smaller type, its interval or what it is relative to."""

    value: str
    detail: str = ""


def ratio(row: Row) -> Cell:
    """Return how many times as fast as the reference an entry is, with the interval."""
    if row.ratio is None or row.ratio_interval is None:
        return Cell(NONE)
    return Cell(times(row.ratio), interval(row.ratio_interval.low, row.ratio_interval.high))


def quality(row: Row) -> Cell:
    """Return an entry's quality, with the interval."""
    own = row.receipt.quality
    if own is None or row.quality_interval is None:
        return Cell(NONE)
    low, high = row.quality_interval.low, row.quality_interval.high
    if own.metric == "accuracy":
        return Cell(level(own, own.value), f"{100 * low:.2f}–{level(own, high)}")
    return Cell(level(own, own.value), f"{low:.4f}–{level(own, high)}")


def level(quality: Quality, value: float) -> str:
    """Return a quality with its unit: 98.87 %, 3.4210 nats."""
    return f"{100 * value:.2f}{units.THIN}%" if quality.metric == "accuracy" else f"{value:.4f}{units.THIN}nats"


def lost(quality: Quality) -> str:
    """Return how much worse than the reference an entry is, or how much better: "0.10 points lost"."""
    unit, scale, digits = ("points", 100, 2) if quality.metric == "accuracy" else ("nats", 1, 4)
    amount = f"{abs(quality.lost) * scale:.{digits}f}"
    if float(amount) == 0:
        return f"no {unit} lost"
    return f"{amount} {unit} {'lost' if quality.lost > 0 else 'gained'}"


def compared(receipt: Receipt) -> list[tuple[str, str, str, str]]:
    """Return an entry's figures next to the reference's: name, entry, reference, and how they compare.

    Times are medians over processes.
    """
    rows = []
    if receipt.quality:
        own = receipt.quality
        name = "Test accuracy" if own.metric == "accuracy" else "Validation loss"
        rows.append((name, level(own, own.value), level(own, own.reference), lost(own)))
    for name, field in (("p50", "p50_us"), ("p90", "p90_us"), ("p99", "p99_us"), ("Batch of 64", "batch_us")):
        pairs = [(getattr(child.own, field), getattr(child.reference, field)) for child in receipt.times]
        if pairs and all(value is not None for pair in pairs for value in pair):
            entry, reference = (statistics.median(side) for side in zip(*pairs, strict=True))
            rows.append((name, units.microseconds(entry), units.microseconds(reference), times(reference / entry)))
    for name, entry, reference in (
        ("Model files", receipt.file_bytes, receipt.reference_bytes),
        ("Peak memory", receipt.memory_bytes, receipt.reference_memory_bytes),
    ):
        if entry and reference:
            rows.append((name, units.size(entry), units.size(reference), share_of(entry, reference)))
    return rows


def as_document(standing: Standing) -> dict[str, Any]:
    """Return a standing as plain data, for `tito leaderboard --json`."""
    return {
        "ground": standing.ground and {"id": standing.ground.id, **standing.ground.model_dump()},
        "boards": [
            {"track": board.track, "division": board.division, "entries": [_as_row(row) for row in board.rows]}
            for board in standing.boards
        ],
        "refused": [
            {"entry": receipt.entry, "problems": [problem.model_dump() for problem in receipt.problems]}
            for receipt in standing.refused
        ],
        "stale": [{"entry": one.entry, "reason": one.reason} for one in standing.stale],
        "pending": [{"entry": one.entry, "reason": one.reason} for one in standing.pending],
    }


def _as_row(row: Row) -> dict[str, Any]:
    receipt = row.receipt
    return {
        "entry": receipt.entry,
        "title": receipt.title,
        "techniques": receipt.techniques,
        "receipt": receipt.id,
        "ranks": {name: {"rank": place.rank, "group": place.group} for name, place in row.places.items()},
        "front": row.front,
        "quality_gate_met": receipt.quality_gate_met,
        "speedup": row.ratio,
        "speedup_interval": row.ratio_interval and [row.ratio_interval.low, row.ratio_interval.high],
        "quality": row.quality,
        "quality_interval": row.quality_interval and [row.quality_interval.low, row.quality_interval.high],
        "bytes": row.size,
    }


def size(receipt: Receipt) -> Cell:
    """Return the bytes of the two model files, and their share of the reference's."""
    if receipt.file_bytes is None:
        return Cell(NONE)
    share = f"{share_of(receipt.file_bytes, receipt.reference_bytes)} of reference" if receipt.reference_bytes else ""
    return Cell(units.size(receipt.file_bytes), share)


def share_of(own: float, reference: float | None) -> str:
    """Return a value relative to the reference's: 25.3 %."""
    return f"{units.significant(100 * own / reference)}{units.THIN}%" if reference else ""


def times(value: float) -> str:
    """Return a ratio: 2.50×, 0.97×, 12.4×."""
    return f"{_ratio(value)}×"


def interval(low: float, high: float) -> str:
    """Return an interval of a ratio: 2.47–2.53×."""
    return f"{_ratio(low)}–{times(high)}"


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value < 10 else units.significant(value)


def place(row: Row, criterion: Criterion) -> Cell:
    """Return an entry's rank, and its tie group; none without a value."""
    found = row.places.get(criterion)
    return Cell(str(found.rank), str(found.group)) if found else Cell(NONE)


def why_unranked(row: Row) -> str:
    """Return why an entry has no rank by latency or size, if it has none."""
    if not row.receipt.quality_gate_met:
        return "quality gate missed"
    missing = [NAMES[one].lower() for one in CRITERIA if one not in row.places]
    return f"no {' and no '.join(missing)} measured" if missing else ""


def counts(standing: Standing) -> list[tuple[str, int]]:
    """Return how many entries are in each state."""
    verified = sum(len(board.rows) for board in standing.boards)
    return [
        ("verified", verified),
        ("refused", len(standing.refused)),
        ("stale", len(standing.stale)),
        ("pending", len(standing.pending)),
    ]
