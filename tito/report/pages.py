"""From records to HTML files: a page for each record, a summary for each suite, and the timeline of all suites.

    reports/index.html                the timeline
    reports/mnist.html                the suite's summary
    reports/mnist/20261126T….html     one run

A page loads nothing but the shared styles and scripts beside it. Its content security policy allows no script in the
page, so text in a record cannot run as one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment

from tito.bench.record import Record
from tito.bench.suite import Suite
from tito.report.attachments import attachments
from tito.report.headline import headline
from tito.report.record_page import WORD, facts, kinds, provenance, sections
from tito.report.rendering import JOURNEY, LEADERBOARD, environment, render, write_assets, write_documents
from tito.report.stamps import is_current, stamp
from tito.report.suite_page import href_of, in_order, summary
from tito.report.timeline import UNSHOWABLE, counts, stops, why_not
from tito.report.verdicts import tally, worst_first

INDEX = "index.html"


def write_pages(
    records: Sequence[Record], folder: Path, suites: Sequence[Suite] = (), *, only: Record | None = None
) -> list[Path]:
    """Write the pages of records, of their suites, and the index.

    A record that cannot be shown gets a page that says why, and does not affect other pages. Pages of records stay
    untouched if they are as they should be.

    Args:
        records: all that are known.
        folder: the folder of the reports.
        suites: those that the index shows, also if they have not run.
        only: after the run of this record: write the pages of its suite that are missing, the suite's, and the index.

    Returns:
        The paths of the pages, written now or earlier; the index last.

    Raises:
        ReportError: the folder cannot be written.
    """
    jinja, known = environment(), {suite.name: suite for suite in suites}
    names: list[str] = []
    pages: dict[str, str] = {}
    for name, runs in _by_suite(records).items():
        if only and only.suite != name:
            continue
        for record, mark in zip(runs, _stamps(runs), strict=True):
            href = href_of(record)
            names.append(href)
            if (folder / href).is_file() if only else is_current(folder / href, mark):
                continue
            stacks = {file.href: file.text for file in attachments(record) if file.text is not None}
            write_documents(stacks | {href: _page_or_why_not(record, runs, jinja, mark)}, folder)
        names.append(f"{name}.html")
        pages[names[-1]] = _summary_or_why_not(runs, known, jinja)
    pages[INDEX] = index_page(records, suites, jinja, _others(folder))
    write_assets(jinja, folder)
    write_documents(pages, folder)
    return [folder / name for name in [*names, INDEX]]


def _stamps(runs: Sequence[Record]) -> Iterator[str]:
    """Yield for each run the stamp of its page, which shows the runs before it as well."""
    mark = ""
    for record in runs:
        mark = stamp([mark, record.id])
        yield mark


def page_of(record: Record, folder: Path) -> Path:
    """Return where a record's page is in the folder of the reports."""
    return folder / href_of(record)


def write_index(records: Sequence[Record], folder: Path, suites: Sequence[Suite] = ()) -> Path:
    """Write index.html alone, e.g. after the leaderboard was written for the first time.

    Raises:
        ReportError: the folder cannot be written.
    """
    jinja = environment()
    page = index_page(records, suites, jinja, _others(folder))
    write_assets(jinja, folder)
    return write_documents({INDEX: page}, folder)[0]


def _others(folder: Path) -> list[str]:
    """Return the pages besides those of suites that are in the folder."""
    return [name for name in (LEADERBOARD, JOURNEY) if (folder / name).is_file()]


def _by_suite(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Return the records of each suite, oldest first, in the order of the years."""
    found: dict[str, list[Record]] = {}
    for record in sorted(in_order(records), key=lambda record: (record.year, record.suite)):
        found.setdefault(record.suite, []).append(record)
    return found


def _page_or_why_not(record: Record, runs: Sequence[Record], environment: Environment, mark: str) -> str:
    try:
        return record_page(record, runs, environment, mark)
    except UNSHOWABLE as error:
        return _unshowable(record, error, environment, "../", mark)


def _summary_or_why_not(runs: Sequence[Record], suites: Mapping[str, Suite], environment: Environment) -> str:
    newest = runs[-1]
    try:
        content = summary(runs, suites.get(newest.suite))
        return render(environment, "suite.html.j2", scripts=["figures.js"], styles=["pages.css"], **content)
    except UNSHOWABLE as error:
        return _unshowable(newest, error, environment, "")


def _unshowable(record: Record, error: Exception, environment: Environment, place: str, mark: str = "") -> str:
    content: dict[str, Any] = {"record": record, "why": why_not(error), "stamp": mark}
    return render(environment, "unshowable.html.j2", styles=["pages.css"], place=place, **content)


def record_page(record: Record, runs: Sequence[Record], environment: Environment, mark: str = "") -> str:
    """Return the page of one record; `runs` are those of its suite, and `mark` is the page's stamp."""
    earlier = [run for run in runs if run.created <= record.created]
    shown, missing = sections(record, earlier)
    return render(
        environment,
        "record.html.j2",
        scripts=["figures.js", "flame.js"],
        styles=["pages.css"],
        place="../",
        record=record,
        word=WORD[record.status],
        kinds=kinds(record),
        tally=tally(record),
        rows=worst_first(record),
        case_notes=[(case.title, case.note) for case in record.cases if case.note and not record.overview],
        facts=facts(record),
        headline=headline(record),
        sections=shown,
        left_out=[*((one.what, one.why) for one in record.omitted), *missing],
        provenance=provenance(record),
        files=attachments(record),
        stamp=mark,
    )


def index_page(
    records: Sequence[Record], suites: Sequence[Suite], environment: Environment, others: Sequence[str] = ()
) -> str:
    """Return the index: all suites as a timeline, and links to the other pages by file name."""
    found = stops(records, suites)
    leaderboard, journey = (page if page in others else None for page in (LEADERBOARD, JOURNEY))
    return render(
        environment,
        "index.html.j2",
        styles=["pages.css"],
        stops=found,
        counts=counts(found) if found else "",
        leaderboard=leaderboard,
        journey=journey,
    )
