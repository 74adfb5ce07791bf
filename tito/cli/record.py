"""`tito record list | show | schema`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from tito.cli import complete
from tito.cli.console import group, project, readable, say, show, show_path, write

if TYPE_CHECKING:
    from tito.bench.record import Record
    from tito.errors import UnknownRecordError

records = group("Results of earlier runs.")


@records.command("list")
def record_list(
    suite: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only the records of this suite.", autocompletion=complete.recorded_suites),
    ] = None,
) -> None:
    """List earlier runs, newest last."""
    from tito.bench.store import Store
    from tito.terminal.record import list_records

    everything = readable(Store(project().reports))
    found = [record for record in everything if suite in (None, record.suite)]
    if suite is not None and not found:
        raise _no_record(suite, everything)
    if found:
        show(list_records(found))
    else:
        say("no records yet; tito suite run NAME creates one")


@records.command("show")
def record_show(
    id: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="As listed by `tito record list`, or a suite's name for its newest.",
            autocompletion=complete.records,
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole record as JSON.")] = False,
    wide: Annotated[bool, typer.Option("--wide", help="Print all columns of the table.")] = False,
) -> None:
    """Show one run, as it was printed when it finished."""
    from tito.bench.store import Store
    from tito.report.pages import page_of
    from tito.terminal.again import again
    from tito.terminal.record import show_record

    here = project()
    store = Store(here.reports)
    everything = readable(store)
    found = [record for record in everything if id in (record.suite, record.id)]
    if not found:
        raise _no_record(id, everything)
    record = found[-1]
    if as_json:
        write(record.model_dump_json(indent=2))
        return
    page = page_of(record, here.reports)
    show(show_record(record, wide, again))
    show_path(page if page.is_file() else None)


def _no_record(name: str, everything: Sequence[Record]) -> UnknownRecordError:
    """Return the error for a name without a record: how to make one if it is a suite, and otherwise what was meant."""
    from tito.errors import UnknownRecordError, did_you_mean
    from tito.terminal.again import again

    suites = complete.suites("")
    if name in suites:
        return UnknownRecordError(f"no record of {name} yet; {again(f'tito suite run {name}')} makes one")
    hint = did_you_mean(name, [*suites, *(record.id for record in everything)])
    return UnknownRecordError(f"no record or suite {name!r}{hint}; tito record list lists the records")


@records.command("schema")
def record_schema() -> None:
    """Print the JSON Schema of a record."""
    from tito.bench import store

    write(json.dumps(store.record_schema(), indent=2))
