"""`tito record list | show | compare | export | schema`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from tito.cli import complete
from tito.cli.console import console, group, project, say, show, show_path, write

if TYPE_CHECKING:
    from tito.bench.entry import Entry
    from tito.bench.record import Record
    from tito.bench.store import Store

SHOWN = 20  # records that a list shows by default
FEW = 100  # files that are read without saying so

records = group("Results of earlier runs.")

SuiteOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Only the records of this suite.", autocompletion=complete.recorded_suites),
]
MetricOption = Annotated[
    str | None,
    typer.Option(metavar="[CASE.]METRIC", help="Show this figure, e.g. train_seconds or p50_us."),
]
RecordArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="As listed by `tito record list`, or a suite's name for its newest, or NAME~1 for the one before it.",
        autocompletion=complete.records,
    ),
]


@records.command("list")
def record_list(
    suite: SuiteOption = None,
    count: Annotated[
        int, typer.Option("-n", "--count", metavar="N", min=0, help="Only the newest N; 0 lists all.")
    ] = SHOWN,
    metric: MetricOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all that is known in short, as JSON.")] = False,
) -> None:
    """List earlier runs, newest last."""
    from tito.terminal.again import again
    from tito.terminal.records import RecordList

    found = _chosen(_store(), suite, metric)
    shown = found[-count:] if count else found
    if as_json:
        write(json.dumps([entry.model_dump(mode="json") for entry in shown], indent=2))
    elif shown:
        show(RecordList(shown, metric or ""))
        if len(shown) < len(found):
            say(f"the newest {len(shown)} of {len(found)} records; -n 0 lists all")
    else:
        say(f"no records yet; {again('tito suite run NAME')} makes one")


@records.command("show")
def record_show(
    id: RecordArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole record as JSON.")] = False,
    wide: Annotated[bool, typer.Option("--wide", help="Print all columns of the table.")] = False,
) -> None:
    """Show one run, as it was printed when it finished."""
    from tito.report.pages import page_of
    from tito.terminal.again import again
    from tito.terminal.record import show_record

    here, store = project().reports, _store()
    record = store.load(_find(id, _entries(store)).id)
    if as_json:
        write(record.model_dump_json(indent=2))
        return
    page = page_of(record, here)
    show(show_record(record, wide, again))
    show_changes(store, record)
    show_path(page if page.is_file() else None)


@records.command("compare")
def record_compare(
    before: RecordArgument,
    after: RecordArgument,
    every: Annotated[bool, typer.Option("--all", help="List the ties, however many figures there are.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON, and write no page.")] = False,
) -> None:
    """Compare two runs: what is faster, what is slower, what is a tie, with 95% intervals; and write a page of it.

    They must be of the same suite, on the same machine, with the same settings.
    """
    from tito.bench.compare import compare_records
    from tito.report.comparison import as_rows, write_comparison
    from tito.terminal.again import again
    from tito.terminal.comparison import show_comparison

    store = _store()
    entries = _entries(store)
    a, b = (store.load(_find(name, entries).id) for name in (before, after))
    compared = compare_records(a, b, entries)
    if as_json:
        write(json.dumps(as_rows(compared), indent=2))
        return
    page = write_comparison(a, b, compared, project().reports, again)
    show(show_comparison(a, b, compared, every))
    show_path(page)


@records.command("export")
def record_export(
    csv: Annotated[
        bool, typer.Option("--csv", help="As CSV: one line for each run, one column for each figure.")
    ] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="As a table in Markdown, e.g. for a CI summary.")
    ] = False,
    suite: SuiteOption = None,
    count: Annotated[
        int, typer.Option("-n", "--count", metavar="N", min=0, help="Only the newest N; 0, the default: all.")
    ] = 0,
    metric: MetricOption = None,
) -> None:
    """Print earlier runs as a table for other programs, newest last."""
    from tito.report.export import as_csv, as_markdown

    if csv == markdown:
        raise typer.BadParameter("give one of --csv and --markdown")
    found = _chosen(_store(), suite, metric)
    shown = found[-count:] if count else found
    write((as_csv if csv else as_markdown)(shown, metric or "").rstrip("\n"))


@records.command("schema")
def record_schema() -> None:
    """Print the JSON Schema of a record."""
    from tito.bench import store

    write(json.dumps(store.record_schema(), indent=2))


def show_changes(store: Store, record: Record) -> None:
    """Print what changed for good in the runs of a suite up to this one, and since when."""
    from tito.report.history import verdicts
    from tito.terminal.tables import plain

    before = [entry for entry in store.entries(record.suite)[0] if entry.created <= record.created]
    for line in verdicts(before, record):
        write(f"  changed for good: {plain(line)}")


def _find(name: str, entries: Sequence[Entry]) -> Entry:
    """Return the record that is meant."""
    from tito.bench.naming import find_entry
    from tito.terminal.again import again

    return find_entry(name, entries, complete.suites(""), again)


def _store() -> Store:
    from tito.bench.store import Store

    return Store(project().reports)


def _entries(store: Store, suite: str = "") -> list[Entry]:
    """Return all records in short, and name on stderr the files that are none."""

    def begin(files: int) -> None:
        if files > FEW:
            console(stderr=True).print(f"tito: reading {files} new records for the index; the next time is quicker")

    entries, warnings = store.entries(suite, begin)
    for warning in warnings:
        say(warning)
    return entries


def _chosen(store: Store, suite: str | None, metric: str | None) -> list[Entry]:
    """Return the records of a suite that have a figure.

    Raises:
        UnknownRecordError: there are none, although some were asked for by name.
    """
    from tito.errors import UnknownRecordError, did_you_mean

    entries = _entries(store, suite or "")
    if suite is not None and not entries:
        _find(suite, _entries(store))
    if metric is None:
        return entries
    found = [entry for entry in entries if entry.key_of(metric)]
    if entries and not found:
        names = dict.fromkeys(key.partition(".")[2] for entry in reversed(entries) for key in entry.figures)
        raise UnknownRecordError(f"no figure {metric!r}{did_you_mean(metric, names)}; there are {', '.join(names)}")
    return found
