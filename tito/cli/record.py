"""`tito record list | show | schema`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from tito.cli.console import group, project, readable, say, show, show_path, write

records = group("Results of earlier runs.")


@records.command("list")
def record_list(
    suite: Annotated[str | None, typer.Option(help="Only the records of this suite.")] = None,
) -> None:
    """List earlier runs, newest last."""
    from tito.bench.store import Store
    from tito.terminal.record import list_records

    found = [record for record in readable(Store(project().reports)) if suite in (None, record.suite)]
    if found:
        show(list_records(found))
    else:
        say("no records yet; tito suite run NAME creates one")


@records.command("show")
def record_show(
    id: Annotated[str, typer.Argument(help="As listed by `tito record list`, or a suite's name for its newest.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole record as JSON.")] = False,
) -> None:
    """Show one run, as it was printed when it finished."""
    from tito.bench.store import Store
    from tito.terminal.record import show_record

    here = project()
    store = Store(here.reports)
    newest = [record for record in readable(store) if record.suite == id][-1:]
    record = newest[0] if newest else store.load(id)
    if as_json:
        write(record.model_dump_json(indent=2))
        return
    page = here.reports / f"{record.suite}.html"
    show(show_record(record))
    show_path(page if page.is_file() else None)


@records.command("schema")
def record_schema() -> None:
    """Print the JSON Schema of a record."""
    from tito.bench import store

    write(json.dumps(store.record_schema(), indent=2))
