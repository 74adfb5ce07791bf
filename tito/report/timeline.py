"""The index: all suites by year, those that ran with their results, and the others with their command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tito.bench.entry import Entry
from tito.bench.record import Record
from tito.bench.suite import Suite
from tito.report.headline import card
from tito.report.history import spark
from tito.report.library import Library, href_of, newest_full
from tito.report.pieces import Tiles
from tito.report.record_page import WORD, kinds
from tito.report.suite_page import commands
from tito.report.verdicts import tally

# Errors that a record's own values can cause when they are drawn; one failed page must not prevent the others
UNSHOWABLE = (ValueError, TypeError, LookupError, ArithmeticError)
NOT_RUN = "not run"


@dataclass(frozen=True)
class Stop:
    """A suite on the timeline; without a run it has no address, but a command."""

    name: str
    year: int
    title: str
    status: str = NOT_RUN
    href: str = ""
    run_href: str = ""
    word: str = ""
    kinds: Sequence[tuple[str, str]] = ()
    created: datetime | None = None
    tally: str = ""
    reason: str | None = None
    figures_of: str = ""  # which run the figures are from, if it is not the newest
    groups: Sequence[Tiles] = field(default=())
    spark: str | None = None
    command: str = ""
    duration: str = ""


def stops(library: Library, suites: Sequence[Suite]) -> list[Stop]:
    """Return all suites: those with records, and those that are known and have not run, with the command to type."""
    runs = library.by_suite()
    ran = [_ran(own, library.load) for own in runs.values()]
    waiting = [_not_run(suite, library.typed) for suite in suites if suite.name not in runs]
    return sorted([*ran, *waiting], key=lambda stop: (stop.year, stop.name))


def _ran(runs: Sequence[Entry], load: Callable[[Entry], Record]) -> Stop:
    last, whole = runs[-1], newest_full(runs)
    newest = load(last)
    full = load(whole) if whole and whole is not last else None
    lead = full or newest
    reason, groups, line = newest.reason if newest.status == "failed" else None, [], None
    try:
        groups = card(lead)
        line = None if lead.overview else spark(runs, lead)  # no single case represents an overview
    except UNSHOWABLE as error:
        reason = why_not(error)
    return Stop(
        newest.suite,
        newest.year,
        newest.title,
        status=newest.status,
        href=f"{newest.suite}.html",
        run_href=href_of(newest),
        word=WORD[newest.status],
        kinds=kinds(newest),
        created=newest.created,
        tally=tally(newest),
        reason=reason,
        figures_of=_figures_of(full) if full else "",
        groups=groups,
        spark=line,
    )


def _figures_of(lead: Record) -> str:
    return f"Newest full run, {lead.created:%Y-%m-%d}: {WORD[lead.status].lower()}"


def why_not(error: Exception) -> str:
    """Return why a record is not shown."""
    return f"This record cannot be shown: {type(error).__name__}: {error}"


def _not_run(suite: Suite, typed: Callable[[str], str]) -> Stop:
    (command, takes), *_ = commands(suite.name, suite, typed)
    return Stop(suite.name, suite.year, suite.title, command=command, duration=takes)


def counts(found: Sequence[Stop]) -> str:
    """Return how many suites ran, and how the newest run of each ended: 6 of 11 suites ran, 1 missed its gate."""
    ran = [stop for stop in found if stop.status != NOT_RUN]
    words = [f"{len(ran)} of {len(found)} suites ran"]
    for status, says in (("gate missed", "missed a gate"), ("failed", "failed")):
        count = sum(stop.status == status for stop in ran)
        words += [f"{count} {says}"] * bool(count)
    return ", ".join(words)
