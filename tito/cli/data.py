"""`tito data list | fetch | verify`."""

from __future__ import annotations

from typing import Annotated

import typer

from tito.cli import complete
from tito.cli.console import console, group, say, show, write

data = group("Data sets in the cache.")


@data.command("list")
def data_list() -> None:
    """List the data sets and say which are in the cache."""
    from tito.data import list_data
    from tito.terminal.machine import list_data as table

    show(table(list_data()))


@data.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="e.g. mnist", autocompletion=complete.data_sets)],
) -> None:
    """Fetch a data set into the cache, unless it is already there."""
    from tito.data import fetch

    progress_console = console(stderr=True)
    folder = fetch(name, lambda line: progress_console.print(line, soft_wrap=True))
    write(f"{name} is complete in {folder}")


@data.command("verify")
def data_verify() -> None:
    """Hash every file in the cache; exit code 1 if one is corrupt."""
    from tito.data import verify
    from tito.terminal.machine import list_files

    files = verify()
    show(list_files(files))
    corrupt = [file for file in files if file.state == "corrupt"]
    for file in corrupt:
        say(f"{file.path}: not the pinned content; tito data fetch {file.name} fetches it again")
    if corrupt:
        raise typer.Exit(1)
