"""The runs that pages are made of: all of them in short, and the few whole records that a page shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tito.bench.entry import Entry, entry_of, in_order
from tito.bench.record import Record


@dataclass(frozen=True)
class Library:
    """All runs, oldest first, how to load the record of one, and how a command of tito is typed here."""

    entries: Sequence[Entry]
    load: Callable[[Entry], Record]
    typed: Callable[[str], str] = str

    @classmethod
    def of(cls, records: Sequence[Record]) -> Library:
        """Return a library of records that are loaded already."""
        known = {(record.suite, record.id): record for record in records}
        return cls([entry_of(record) for record in in_order(records)], lambda entry: known[entry.suite, entry.id])

    def by_suite(self) -> dict[str, list[Entry]]:
        """Return the runs of each suite, oldest first, in the order of the years."""
        found: dict[str, list[Entry]] = {}
        for entry in sorted(self.entries, key=lambda entry: (entry.year, entry.suite)):
            found.setdefault(entry.suite, []).append(entry)
        return found


def newest_full(runs: Sequence[Entry]) -> Entry | None:
    """Return the newest run of the whole, unchanged suite, if there is one; `runs` are oldest first."""
    return next((run for run in reversed(runs) if not (run.quick or run.altered or run.mine)), None)


def href_of(run: Record | Entry) -> str:
    """Return the address of a run's page from the folder of the reports."""
    return f"{run.suite}/{run.id}.html"
