"""From receipts to ranks: boards with tie groups and fronts, and what is refused, stale, or pending. Pure functions.

A tie group is its first entry and all entries that the first does not beat (`intervals`). Ranks count entries, so two
tied leaders are followed by rank 3. An entry without a value has no rank. One that misses the quality gate is ranked by
quality only: without the gate an empty model would win.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeVar

from tinytorch.benchmarking import Interval
from tito.compete.intervals import ItemQuality, Latency, latency_of, qualities_of
from tito.compete.receipt import Ground, Receipt, SelfTest

Criterion = Literal["latency", "size", "quality"]
CRITERIA: tuple[Criterion, ...] = ("latency", "size", "quality")
DIVISIONS = ("closed", "open")
Item = TypeVar("Item")


@dataclass(frozen=True)
class Place:
    """A rank by one criterion; all members of a group share it. The first group is 1."""

    rank: int
    group: int


@dataclass(frozen=True)
class Row:
    """One verified entry."""

    receipt: Receipt
    ratio: float | None  # latency, reference to entry; None without enough processes
    ratio_interval: Interval | None
    quality: float | None
    quality_interval: Interval | None
    size: int | None  # bytes of the two model files
    places: Mapping[Criterion, Place]  # by the criteria in which the entry has a rank
    front: bool  # no other entry beats it in one criterion without losing another


@dataclass(frozen=True)
class Board:
    """The verified entries of one track and division, ordered by latency rank; entries without one come last."""

    track: str
    division: str
    rows: Sequence[Row]

    def by(self, criterion: Criterion) -> list[Row]:
        """Return the rows that have a rank by a criterion, best first; in a group the older receipt leads."""
        return sorted((row for row in self.rows if criterion in row.places), key=lambda row: _order(row, criterion))

    @cached_property
    def groups(self) -> Mapping[Criterion, Counter[int]]:
        """How many entries each tie group has, by criterion."""
        return {one: Counter(row.places[one].group for row in self.rows if one in row.places) for one in CRITERIA}


@dataclass(frozen=True)
class Entry:
    """An entry as it is in the shared folder now."""

    id: str
    model_sha256: str | None = None  # None if the manifest is unreadable
    track: str | None = None
    division: str | None = None
    title: str = ""
    problem: str = ""  # why the manifest is unreadable
    manifest_sha256: str | None = None


@dataclass(frozen=True)
class Unranked:
    """An entry without a valid receipt of this ground, and why."""

    entry: str
    reason: str
    track: str | None = None
    division: str | None = None
    title: str = ""
    receipt: Receipt | None = None  # the newest one, of another ground or model


@dataclass(frozen=True)
class Standing:
    """All that the receipts say: what the table and the page show."""

    ground: Ground | None  # None without receipts
    boards: Sequence[Board]
    refused: Sequence[Receipt]
    stale: Sequence[Unranked]
    pending: Sequence[Unranked]
    self_tests: Mapping[str, SelfTest]  # the newest of each track
    history: Mapping[str, Sequence[Receipt]] = field(default_factory=dict)  # all receipts of each entry, newest first


def standing(receipts: Iterable[Receipt], entries: Iterable[Entry], ground_id: str | None = None) -> Standing:
    """Rank what is in the shared folder, on one ground: by default, that of the newest receipt.

    Args:
        receipts: every receipt whose seal is valid.
        entries: what the shared folder holds now; a receipt of an entry that is gone ranks nothing.
    """
    history: dict[str, list[Receipt]] = defaultdict(list)
    for receipt in sorted(receipts, key=_age, reverse=True):
        history[receipt.entry].append(receipt)
    ground = _ground(history, ground_id)
    known = {entry.id: entry for entry in entries}
    counted: list[Receipt] = []
    stale: list[Unranked] = []
    pending: list[Unranked] = []
    for entry in sorted(known.values(), key=lambda entry: entry.id):
        own = history.get(entry.id, [])
        valid, reason = _valid(entry, own, ground)
        if valid:
            counted.append(valid)
        else:
            newest = own[0] if own else None
            (stale if own else pending).append(_unranked(entry, reason, newest))
    gone = sorted(history.keys() - known.keys())
    stale += [_unranked(Entry(id), "the entry is no longer in the folder", history[id][0]) for id in gone]
    return Standing(
        ground,
        _boards(counted),
        [receipt for receipt in counted if receipt.status == "refused"],
        stale,
        pending,
        _self_tests(history, ground),
        history,
    )


def rank(receipts: Sequence[Receipt], ground_id: str, track: str, division: str) -> Board:
    """Rank the verified entries of one track and division; of each entry the newest receipt of the ground counts."""
    newest = {
        receipt.entry: receipt
        for receipt in sorted(receipts, key=_age)
        if receipt.ground.id == ground_id and (receipt.track, receipt.division) == (track, division)
    }
    return _board(track, division, [receipt for receipt in newest.values() if receipt.status == "verified"])


def differences(old: Ground, new: Ground) -> list[str]:
    """Return why figures of two grounds do not compare."""
    shown = {"backend": "backend", "kernel": "BLAS kernel", "numpy": "NumPy"}
    changed = {
        "machine": "another machine",
        "tinytorch_sha256": "tinytorch changed",
        "rules_sha256": "the rules changed",
        "host": "another host of this kind, whose anchor does not tie",
    }
    reasons = []
    for name in Ground.model_fields:
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            reasons.append(changed.get(name) or f"{shown[name]} {before}, now {after}")
    return reasons


def tie_groups(items: Sequence[Item], beats: Callable[[Item, Item], bool]) -> list[list[Item]]:
    """Split items, best first, into groups: the first item that is left, and all others that it does not beat.

    >>> tie_groups([9.0, 8.9, 7.0], lambda a, b: a > b + 0.5)
    [[9.0, 8.9], [7.0]]
    """
    groups = []
    left = list(items)
    while left:
        first, *others = left
        beaten = [beats(first, other) for other in others]
        groups.append([first, *(item for item, lost in zip(others, beaten, strict=True) if not lost)])
        left = [item for item, lost in zip(others, beaten, strict=True) if lost]
    return groups


def median_ratio(receipt: Receipt) -> float | None:
    """Return the ratio of the medians over processes, reference to entry, however few processes there are."""
    if not receipt.times:
        return None
    own = statistics.median(child.own.p50_us for child in receipt.times)
    return statistics.median(child.reference.p50_us for child in receipt.times) / own


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A receipt with the three values that it is judged by."""

    receipt: Receipt
    latency: Latency | None
    quality: ItemQuality | None
    size: int | None

    def key(self, criterion: Criterion) -> float | None:
        """Return a number that is smaller for a better entry; None if the entry has no rank by the criterion."""
        if criterion == "quality":
            quality = self.receipt.quality
            return None if quality is None else -quality.value if quality.metric == "accuracy" else quality.value
        if not self.receipt.quality_gate_met:
            return None
        if criterion == "size":
            return self.size
        return -self.latency.ratio if self.latency else None

    def beats(self, other: _Candidate, criterion: Criterion) -> bool:
        """Whether this entry is better by the criterion's test. Both have a rank by it."""
        if criterion == "size":
            return (self.size or 0) < (other.size or 0)
        if criterion == "latency":
            return self.latency is not None and other.latency is not None and self.latency.beats(other.latency)
        return self.quality is not None and other.quality is not None and self.quality.beats(other.quality)


def _board(track: str, division: str, receipts: Sequence[Receipt]) -> Board:
    candidates = _candidates(receipts)
    places: dict[str, dict[Criterion, Place]] = {candidate.receipt.id: {} for candidate in candidates}
    for criterion in CRITERIA:
        for candidate, place in _placed(candidates, criterion):
            places[candidate.receipt.id][criterion] = place
    front = _front(candidates)
    rows = [
        Row(
            one.receipt,
            one.latency.ratio if one.latency else None,
            one.latency.interval if one.latency else None,
            one.receipt.quality.value if one.receipt.quality else None,
            one.quality.interval if one.quality else None,
            one.size,
            places[one.receipt.id],
            one.receipt.id in front,
        )
        for one in candidates
    ]
    return Board(track, division, sorted(rows, key=lambda row: _order(row, "latency")))


def _candidates(receipts: Sequence[Receipt]) -> list[_Candidate]:
    judged = [receipt for receipt in receipts if receipt.quality]
    qualities = qualities_of([receipt.quality for receipt in judged if receipt.quality])
    by_id = {receipt.id: quality for receipt, quality in zip(judged, qualities, strict=True)}
    return [_Candidate(one, latency_of(one), by_id.get(one.id), one.file_bytes) for one in receipts]


def _placed(candidates: Sequence[_Candidate], criterion: Criterion) -> list[tuple[_Candidate, Place]]:
    """Return the candidates that have a value, with their places."""
    able = [(key, one) for one in candidates if (key := one.key(criterion)) is not None]
    ordered = [one for _, one in sorted(able, key=lambda pair: (pair[0], *_age(pair[1].receipt)))]
    placed: list[tuple[_Candidate, Place]] = []
    for number, group in enumerate(tie_groups(ordered, lambda a, b: a.beats(b, criterion)), start=1):
        place = Place(len(placed) + 1, number)
        placed += [(one, place) for one in group]
    return placed


def _front(candidates: Sequence[_Candidate]) -> set[str]:
    """Return the ids of those that no other one beats in one criterion without losing another."""
    able = [one for one in candidates if all(one.key(criterion) is not None for criterion in CRITERIA)]
    able.sort(key=lambda one: (one.key("latency"), one.size))  # those that dominate many come first
    return {one.receipt.id for one in able if not any(_dominates(other, one) for other in able if other is not one)}


def _dominates(a: _Candidate, b: _Candidate) -> bool:
    ordered: tuple[Criterion, ...] = ("size", "latency", "quality")  # the cheapest test first
    return not any(b.beats(a, criterion) for criterion in ordered) and any(a.beats(b, one) for one in ordered)


def _boards(receipts: Sequence[Receipt]) -> list[Board]:
    """Return a board for each track and division that has a verified entry."""
    verified: dict[tuple[str, str], list[Receipt]] = defaultdict(list)
    for receipt in receipts:
        if receipt.status == "verified" and receipt.track and receipt.division:
            verified[receipt.track, receipt.division].append(receipt)
    return [_board(track, division, own) for (track, division), own in sorted(verified.items())]


def _ground(history: Mapping[str, Sequence[Receipt]], ground_id: str | None) -> Ground | None:
    every = [receipt for own in history.values() for receipt in own if ground_id in (None, receipt.ground.id)]
    return max(every, key=_age).ground if every else None


def _valid(entry: Entry, receipts: Sequence[Receipt], ground: Ground | None) -> tuple[Receipt | None, str]:
    """Return the newest receipt of the ground if it is one of these very files; else why there is none."""
    if not receipts or ground is None:
        return None, entry.problem or "not verified yet"
    own = [receipt for receipt in receipts if receipt.ground == ground]
    if not own:
        return None, "; ".join(differences(receipts[0].ground, ground))
    if entry.model_sha256 not in (None, own[0].model_sha256):
        return None, "the model changed after it was verified"
    if entry.manifest_sha256 not in (None, own[0].manifest_sha256):
        return None, "the manifest changed after it was verified"
    return own[0], ""


def _unranked(entry: Entry, reason: str, receipt: Receipt | None) -> Unranked:
    return Unranked(
        entry.id,
        reason,
        entry.track or (receipt.track if receipt else None),
        entry.division or (receipt.division if receipt else None),
        entry.title or (receipt.title if receipt else ""),
        receipt,
    )


def _self_tests(history: Mapping[str, Sequence[Receipt]], ground: Ground | None) -> dict[str, SelfTest]:
    """Return the newest self-test of each track on the ground."""
    found: dict[str, SelfTest] = {}
    every = (receipt for own in history.values() for receipt in own if receipt.ground == ground)
    for receipt in sorted(every, key=_age):
        if receipt.track and receipt.self_test:
            found[receipt.track] = receipt.self_test
    return dict(sorted(found.items()))


def _age(receipt: Receipt) -> tuple[float, str]:
    return receipt.created.timestamp(), receipt.id


def _order(row: Row, criterion: Criterion) -> tuple[float, float, str]:
    place = row.places.get(criterion)
    return (place.rank if place else float("inf"), *_age(row.receipt))
