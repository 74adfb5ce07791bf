"""A row of a leaderboard as text: the page and the terminal show the same. Pure functions of rows and receipts."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from tito.compete.ranking import CRITERIA, Criterion, Row, Standing
from tito.compete.receipt import QualityMetric, Receipt
from tito.report import units

NAMES: dict[Criterion, str] = {"latency": "Latency", "size": "Size", "quality": "Quality"}
NONE = "–"
BATCH, FILES, MEMORY = "Batch of 64", "Model files", "Peak memory"
Line = tuple[str, str, str, str]  # a name, the entry's figure, the reference's, and how they compare
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
        return Cell(level(own.metric, own.value), f"{100 * low:.2f}–{level(own.metric, high)}")
    return Cell(level(own.metric, own.value), f"{low:.4f}–{level(own.metric, high)}")


def level(metric: QualityMetric, value: float) -> str:
    """Return a quality with its unit: 98.87 %, 3.4210 nats."""
    return f"{100 * value:.2f}{units.THIN}%" if metric == "accuracy" else f"{value:.4f}{units.THIN}nats"


def lost(metric: QualityMetric, lost: float) -> str:
    """Return how much worse than the reference an entry is, or how much better: "0.10 points lost"."""
    unit, scale, digits = ("points", 100, 2) if metric == "accuracy" else ("nats", 1, 4)
    amount = f"{abs(lost) * scale:.{digits}f}"
    if float(amount) == 0:
        return f"no {unit} lost"
    return f"{amount} {unit} {'lost' if lost > 0 else 'gained'}"


def compared(receipt: Receipt) -> list[Line]:
    """Return an entry's figures next to the reference's. Times are medians over processes."""
    rows = []
    if receipt.quality:
        own = receipt.quality
        rows.append(quality_line(own.metric, own.value, own.reference, own.lost))
    for name, field in (("p50", "p50_us"), ("p90", "p90_us"), ("p99", "p99_us"), (BATCH, "batch_us")):
        pairs = [(getattr(child.own, field), getattr(child.reference, field)) for child in receipt.times]
        if pairs and all(value is not None for pair in pairs for value in pair):
            rows.append(time_line(name, *(statistics.median(side) for side in zip(*pairs, strict=True))))
    if receipt.file_bytes and receipt.reference_bytes:
        rows.append(bytes_line(FILES, receipt.file_bytes, receipt.reference_bytes))
    if receipt.memory_bytes and receipt.reference_memory_bytes:
        rows.append(bytes_line(MEMORY, receipt.memory_bytes, receipt.reference_memory_bytes))
    return rows


def quality_line(metric: QualityMetric, own: float, reference: float, lost_: float) -> Line:
    """Return the quality of an entry, of the reference, and how much is lost."""
    name = "Test accuracy" if metric == "accuracy" else "Validation loss"
    return name, level(metric, own), level(metric, reference), lost(metric, lost_)


def time_line(name: str, own: float, reference: float) -> Line:
    """Return two times in µs, and the speedup."""
    return name, units.microseconds(own), units.microseconds(reference), times(reference / own)


def bytes_line(name: str, own: float, reference: float) -> Line:
    """Return two sizes, and the share."""
    return name, units.size(own), units.size(reference), share_of(own, reference)


def as_document(standing: Standing, track: str | None = None) -> dict[str, Any]:
    """Return a standing as plain data, for `tito leaderboard --json`; only one track's boards if it is given."""
    return {
        "ground": standing.ground and {"id": standing.ground.id, **standing.ground.model_dump()},
        "boards": [
            {"track": board.track, "division": board.division, "entries": [_as_row(row) for row in board.rows]}
            for board in standing.boards
            if track in (None, board.track)
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
