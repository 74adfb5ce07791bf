"""A record in short, as a list and a history need it: one line of a few hundred bytes. Pure functions of a record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeVar

from pydantic import AwareDatetime

from tito.bench.quantities import OF_PROFILE, PROFILE, TIMES, quantities
from tito.bench.record import Record
from tito.process.documents import Frozen


class Entry(Frozen):
    """What a list and a history show of one record."""

    id: str
    suite: str
    year: int
    created: AwareDatetime
    status: Literal["passed", "gate missed", "failed"]
    quick: bool
    altered: list[str]
    mine: bool
    noisy: bool
    note: str
    commit: str | None
    dirty: bool | None
    backend: str
    machine: str  # its fingerprint
    version: str  # the SHA-256 of the suite
    ground: str  # a hash of everything that must be equal for two records to be compared
    first: str  # the key of the figure that represents the record in a list; empty if it has none
    figures: dict[str, float]  # by key, as in `tito.bench.quantities`
    units: dict[str, str]  # of the suite's metrics, by name

    @property
    def in_history(self) -> bool:
        """Whether the run counts in a history: without alterations, on a quiet machine, the reference's code."""
        return self.status != "failed" and not self.altered and not self.mine and not self.noisy

    def key_of(self, metric: str) -> str:
        """Return the key of a figure that is given by its key or by a metric's name alone; empty if there is none.

        A name alone means the case that represents the record, or else the first case that has the metric.
        """
        if metric in self.figures:
            return metric
        preferred = f"{self.first.partition('.')[0]}.{metric}"
        found = (key for key in self.figures if key.partition(".")[2] == metric)
        return preferred if preferred in self.figures else next(found, "")

    def unit_of(self, metric: str) -> str:
        """Return the unit of a metric by its name, as in a suite.yaml."""
        known = TIMES | PROFILE | {OF_PROFILE + name: one for name, one in PROFILE.items()}
        return self.units.get(metric) or (known[metric].unit if metric in known else "")


Run = TypeVar("Run", Entry, Record)


def entry_of(record: Record) -> Entry:
    """Return a record in short."""
    source = record.provenance
    return Entry(
        id=record.id,
        suite=record.suite,
        year=record.year,
        created=record.created,
        status=record.status,
        quick=record.quick,
        altered=record.altered,
        mine=record.mine is not None,
        noisy=is_noisy(record),
        note=record.note,
        commit=source.commit,
        dirty=source.dirty,
        backend=backend_of(record),
        machine=source.machine.fingerprint,
        version=source.suite_sha256,
        ground=hashlib.sha256(json.dumps(ground(record), sort_keys=True).encode()).hexdigest()[:16],
        first=_first(record),
        figures={key: quantity.value for key, quantity in quantities(record).items()},
        units={name: metric.unit for name, metric in record.metrics.items()},
    )


def is_noisy(record: Record) -> bool:
    """Whether the machine was too busy during the run for its times to count."""
    return record.noise.noisy


def backend_of(record: Record) -> str:
    """Return the kernel backend of a record; older ones, which name none, used NumPy."""
    return record.provenance.backend.name if record.provenance.backend else "numpy"


def ground(record: Record) -> dict[str, str]:
    """Return what must be equal for two records to be compared, by the name that a refusal shows."""
    source = record.provenance
    named = {f"setting {name}": value for name, value in source.environment.items()}
    return named | {
        "suite": record.suite,
        "suite's SHA-256": source.suite_sha256,
        "machine": source.machine.fingerprint,
        "backend": backend_of(record),
        "BLAS kernel": source.blas.used,
        "length": "quick" if record.quick else "full",
        "alterations": ", ".join(record.altered) or "none",
        "code": "the learner's" if record.mine else "the reference's",
    }


def differences(a: Record, b: Record) -> list[str]:
    """Return what keeps two records from being compared, one item each: "machine (3f2a / 91bc)"; empty if nothing."""
    one, other = ground(a), ground(b)
    return [
        f"{name} ({_short(name, one.get(name))} / {_short(name, other.get(name))})"
        for name in dict.fromkeys([*one, *other])
        if one.get(name) != other.get(name)
    ]


def _short(name: str, value: str | None) -> str:
    if value is None:
        return "not set"
    return value[:12] if name == "suite's SHA-256" else value


def in_order(runs: Iterable[Run], now: datetime | None = None) -> list[Run]:
    """Return runs oldest first. Those dated in the future come before all: a clock was wrong, and nobody knows when."""
    limit = latest_believable(now)
    return sorted(runs, key=lambda run: (run.created <= limit, run.created))


def latest_believable(now: datetime | None = None) -> datetime:
    """Return the latest time at which a run can have been made: clocks of other machines may be a day ahead."""
    return (now or datetime.now(UTC)) + timedelta(days=1)


def _first(record: Record) -> str:
    """Return the key of the figure that a list shows: the first gate's metric of the last case."""
    for case in record.cases[-1:]:
        for verdict in case.verdicts:
            if verdict.role == "gate" and verdict.measured is not None:
                return f"{case.name}.{verdict.criterion.metric}"
    return ""
