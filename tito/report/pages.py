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

from tito.bench.entry import Entry
from tito.bench.history import change_against_history
from tito.bench.record import Record
from tito.bench.suite import Suite
from tito.report.attachments import attachments
from tito.report.headline import headline, with_changes
from tito.report.library import Library, href_of
from tito.report.record_page import WORD, compared, facts, kinds, left_out, provenance, sections
from tito.report.rendering import JOURNEY, LEADERBOARD, environment, render, write_assets, write_documents
from tito.report.stamps import is_current, stamp
from tito.report.suite_page import summary
from tito.report.timeline import UNSHOWABLE, counts, stops, why_not
from tito.report.verdicts import tally, worst_first

INDEX = "index.html"


def write_pages(
    runs: Library | Sequence[Record], folder: Path, suites: Sequence[Suite] = (), *, only: Record | None = None
) -> list[Path]:
    """Write the pages of records, of their suites, and the index.

    A record that cannot be shown gets a page that says why, and does not affect other pages. Pages of records stay
    untouched if they are as they should be.

    Args:
        runs: all that are known.
        folder: the folder of the reports.
        suites: those that the index shows, also if they have not run.
        only: after the run of this record: write the pages of its suite that are missing, the suite's, and the index.

    Returns:
        The paths of the pages, written now or earlier; the index last.

    Raises:
        ReportError: the folder cannot be written.
    """
    library = runs if isinstance(runs, Library) else Library.of(runs)
    jinja, known = environment(library.typed), {suite.name: suite for suite in suites}
    names: list[str] = []
    pages: dict[str, str] = {}
    for name, own in library.by_suite().items():
        if only and only.suite != name:
            continue
        for entry, mark in zip(own, _stamps(own), strict=True):
            href = href_of(entry)
            names.append(href)
            if (folder / href).is_file() if only else is_current(folder / href, mark):
                continue
            record = library.load(entry)
            stacks = {file.href: file.text for file in attachments(record) if file.text is not None}
            write_documents(stacks | {href: _page_or_why_not(record, own, jinja, mark)}, folder)
        names.append(f"{name}.html")
        pages[names[-1]] = _summary_or_why_not(own, library, known, jinja)
    pages[INDEX] = index_page(library, suites, jinja, _others(folder))
    write_assets(jinja, folder)
    write_documents(pages, folder)
    return [folder / name for name in [*names, INDEX]]


def _stamps(runs: Sequence[Entry]) -> Iterator[str]:
    """Yield for each run the stamp of its page, which shows the runs before it as well."""
    mark = ""
    for run in runs:
        mark = stamp([mark, run.id])
        yield mark


def page_of(record: Record, folder: Path) -> Path:
    """Return where a record's page is in the folder of the reports."""
    return folder / href_of(record)


def write_index(runs: Library | Sequence[Record], folder: Path, suites: Sequence[Suite] = ()) -> Path:
    """Write index.html alone, e.g. after the leaderboard was written for the first time.

    Raises:
        ReportError: the folder cannot be written.
    """
    library = runs if isinstance(runs, Library) else Library.of(runs)
    jinja = environment(library.typed)
    page = index_page(library, suites, jinja, _others(folder))
    write_assets(jinja, folder)
    return write_documents({INDEX: page}, folder)[0]


def _others(folder: Path) -> list[str]:
    """Return the pages besides those of suites that are in the folder."""
    return [name for name in (LEADERBOARD, JOURNEY) if (folder / name).is_file()]


def _page_or_why_not(record: Record, runs: Sequence[Entry], environment: Environment, mark: str) -> str:
    try:
        return record_page(record, runs, environment, mark)
    except UNSHOWABLE as error:
        return _unshowable(record, error, environment, "../", mark)


def _summary_or_why_not(
    runs: Sequence[Entry], library: Library, suites: Mapping[str, Suite], environment: Environment
) -> str:
    newest = runs[-1]
    try:
        content = summary(runs, library.load, suites.get(newest.suite), library.typed)
        return render(environment, "suite.html.j2", scripts=["figures.js"], styles=["pages.css"], **content)
    except UNSHOWABLE as error:
        return _unshowable(library.load(newest), error, environment, "")


def _unshowable(record: Record, error: Exception, environment: Environment, place: str, mark: str = "") -> str:
    content: dict[str, Any] = {"record": record, "why": why_not(error), "stamp": mark}
    return render(environment, "unshowable.html.j2", styles=["pages.css"], place=place, **content)


def record_page(record: Record, runs: Sequence[Entry], environment: Environment, mark: str = "") -> str:
    """Return the page of one record; `runs` are those of its suite, and `mark` is the page's stamp."""
    earlier = [run for run in runs if run.created <= record.created]
    found = change_against_history(record, earlier)
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
        headline=with_changes(headline(record), found),
        compared=compared(record, earlier, found),
        sections=shown,
        left_out=left_out(record, missing),
        provenance=provenance(record),
        files=attachments(record),
        stamp=mark,
    )


def index_page(library: Library, suites: Sequence[Suite], environment: Environment, others: Sequence[str] = ()) -> str:
    """Return the index: all suites as a timeline, and links to the other pages by file name."""
    found = stops(library, suites)
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
