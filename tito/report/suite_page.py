"""The summary of a suite: its newest run, its newest full run where that is another, its history, and all its runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tito.bench.entry import Entry
from tito.bench.history import change_against_history
from tito.bench.quantities import profile_name
from tito.bench.record import Record
from tito.bench.suite import Suite
from tito.report import units
from tito.report.figures import metric_of
from tito.report.headline import headline, training_time, with_changes
from tito.report.history import history, primary, verdicts
from tito.report.library import href_of, newest_full
from tito.report.pieces import NONE
from tito.report.record_page import WORD, compared, facts, fill_rows, kinds
from tito.report.verdicts import tally, worst_first

SHOWN = 20  # runs of the table; earlier ones are folded


@dataclass(frozen=True)
class Run:
    """A run as a row of the table of all runs."""

    href: str
    created: datetime
    status: str
    word: str
    kind: str  # full, quick, altered, noisy
    figures: list[str]
    backend: str
    commit: str
    machine: str
    note: str


@dataclass(frozen=True)
class Usual:
    """The newest full run, where a newer run of another kind precedes it."""

    record: Record
    href: str
    word: str
    tally: str


def summary(
    runs: Sequence[Entry], load: Callable[[Entry], Record], suite: Suite | None, typed: Callable[[str], str] = str
) -> dict[str, Any]:
    """Return what the template suite.html.j2 shows.

    Args:
        runs: the suite's, oldest first, at least one.
        load: returns the record of one.
        suite: the suite, if it is known.
        typed: returns a command of tito as it is typed here.
    """
    last, whole = runs[-1], newest_full(runs)
    newest = load(last)
    full = load(whole) if whole and whole is not last else None
    lead = full or newest
    found = change_against_history(lead, runs)
    return {
        "newest": newest,
        "word": WORD[newest.status],
        "href": href_of(newest),
        "kinds": kinds(newest),
        "tally": tally(newest),
        "rows": worst_first(newest),
        "facts": facts(newest),
        "usual": Usual(full, href_of(full), WORD[full.status], tally(full)) if full else None,
        "headline": with_changes(headline(lead), found),
        "compared": compared(lead, runs, found)[0],
        "since": verdicts(runs, lead),
        "history": fill_rows(history(runs, lead)),
        "heads": _heads(lead),
        "runs": [_run(run, lead) for run in reversed(runs)],
        "shown": SHOWN,
        "commands": commands(newest.suite, suite, typed),
    }


def commands(name: str, suite: Suite | None, typed: Callable[[str], str] = str) -> list[tuple[str, str]]:
    """Return what to type to run a suite, in full and quickly, each with about how long it takes."""
    duration = suite.duration if suite else None
    return [
        (typed(f"tito suite run {name}"), _takes(duration.full if duration else None)),
        (typed(f"tito suite run {name} --quick"), _takes(duration.quick if duration else None)),
    ]


def _takes(seconds: float | None) -> str:
    return f"about {units.about(seconds)} on two cores" if seconds else ""


def _keys(lead: Record) -> list[tuple[str, str, str]]:
    """Return the figures of the table: key, unit, and head."""
    found = primary(lead)
    keys = []
    if found:
        metric = metric_of(lead, found[1])
        keys = [(f"{found[0].name}.{found[1]}", metric.unit, metric.title)]
    if lead.profile:
        case = next((case for case in lead.cases if case.name == lead.profile.case), None)
        name = profile_name("p50_us", set(case.summary) if case else set())
        keys.append((f"{lead.profile.case}.{name}", "us", "Latency p50"))
    time = training_time(found[0]) if found else None
    return [*keys, (time.key, "s", time.title)] if time else keys


def _heads(lead: Record) -> list[str]:
    """Return the heads of the columns of figures."""
    return [head for _, _, head in _keys(lead)]


def _run(run: Entry, lead: Record) -> Run:
    """Return a run as a row, with the figures that represent the suite in the run `lead`."""
    return Run(
        href=href_of(run),
        created=run.created,
        status=run.status,
        word=WORD[run.status],
        kind=kind_of(run),
        figures=[
            units.quantity(run.figures[key], unit) if key in run.figures else NONE for key, unit, _ in _keys(lead)
        ],
        backend=run.backend,
        commit=f"{run.commit[:7]}{'+' if run.dirty else ''}" if run.commit else NONE,
        machine=run.machine[:8],
        note=run.note,
    )


def kind_of(run: Entry) -> str:
    """Return whether a run was full, quick, altered, or noisy."""
    words = ["quick"] * run.quick + ["altered"] * bool(run.altered) + ["noisy"] * run.noisy
    return ", ".join(words) or "full"
