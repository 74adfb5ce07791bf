"""The summary of a suite: its newest run, its newest full run where that is another, its history, and all its runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tito.bench.record import Record
from tito.bench.suite import Suite
from tito.report import units
from tito.report.figures import metric_of, percentiles
from tito.report.headline import headline, training_time
from tito.report.history import backend_of, history, primary
from tito.report.pieces import NONE
from tito.report.record_page import WORD, facts, kinds
from tito.report.verdicts import tally, worst_first

SHOWN = 20  # runs of the table; earlier ones are folded


@dataclass(frozen=True)
class Run:
    """A run as a row of the table of all runs."""

    href: str
    created: datetime
    status: str
    word: str
    kind: str  # full, quick, altered
    figures: list[str]
    backend: str
    commit: str
    machine: str


@dataclass(frozen=True)
class Usual:
    """The newest full run, where a newer run of another kind precedes it."""

    record: Record
    href: str
    word: str
    tally: str


def href_of(record: Record) -> str:
    """Return the address of a record's page from the folder of the reports."""
    return f"{record.suite}/{record.id}.html"


def in_order(records: Sequence[Record]) -> list[Record]:
    """Return runs oldest first. Those from a clock set to the future come first, so that they hide no other."""
    limit = datetime.now(UTC) + timedelta(days=1)
    return sorted(records, key=lambda record: (record.created <= limit, record.created))


def newest_full(records: Sequence[Record]) -> Record | None:
    """Return the newest run of the whole, unchanged suite, if there is one."""
    return next((record for record in reversed(in_order(records)) if record.full), None)


def summary(runs: Sequence[Record], suite: Suite | None) -> dict[str, Any]:
    """Return what the template suite.html.j2 shows of a suite's runs, at least one, and of the suite if it is known."""
    ordered = in_order(runs)
    newest, full = ordered[-1], newest_full(runs)
    lead = full or newest
    return {
        "newest": newest,
        "word": WORD[newest.status],
        "href": href_of(newest),
        "kinds": kinds(newest),
        "tally": tally(newest),
        "rows": worst_first(newest),
        "facts": facts(newest),
        "usual": Usual(full, href_of(full), WORD[full.status], tally(full)) if full and full is not newest else None,
        "headline": headline(lead),
        "history": history(runs, lead),
        "heads": _heads(lead),
        "runs": [_run(record, lead) for record in reversed(ordered)],
        "shown": SHOWN,
        "commands": commands(newest.suite, suite),
    }


def commands(name: str, suite: Suite | None) -> list[tuple[str, str]]:
    """Return what to type to run a suite, in full and quickly, each with about how long it takes."""
    duration = suite.duration if suite else None
    return [
        (f"tito suite run {name}", _takes(duration.full if duration else None)),
        (f"tito suite run {name} --quick", _takes(duration.quick if duration else None)),
    ]


def _takes(seconds: float | None) -> str:
    return f"about {units.about(seconds)} on two cores" if seconds else ""


def _heads(lead: Record) -> list[str]:
    """Return the heads of the columns of figures."""
    found = primary(lead)
    time = training_time(found[0]) if found else None
    quality = [metric_of(lead, found[1]).title] if found else []
    return [*quality, "Latency p50", time.title if time else "Training time"]


def _run(record: Record, lead: Record) -> Run:
    source = record.provenance
    return Run(
        href=href_of(record),
        created=record.created,
        status=record.status,
        word=WORD[record.status],
        kind=kind_of(record),
        figures=_figures(record, lead),
        backend=backend_of(record),
        commit=f"{source.commit[:7]}{'+' if source.dirty else ''}" if source.commit else NONE,
        machine=source.machine.fingerprint[:8],
    )


def kind_of(record: Record) -> str:
    """Return whether a run was full, quick, or altered."""
    return ", ".join(["quick"] * record.quick + ["altered"] * bool(record.altered)) or "full"


def _figures(record: Record, lead: Record) -> list[str]:
    """Return the figures of the case and the metric that represent the suite in the run `lead`."""
    found = primary(lead)
    case = next((case for case in record.cases if found and case.name == found[0].name), None)
    texts = []
    if found:
        known = case.summary.get(found[1]) if case else None
        texts.append(units.quantity(known.mean, metric_of(record, found[1]).unit) if known else NONE)
    latency = record.profile.latency if record.profile else []
    training = training_time(case) if case else None
    return [
        *texts,
        units.microseconds(percentiles(latency)["p50"]) if latency else NONE,
        training.value if training else NONE,
    ]
