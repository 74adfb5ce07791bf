"""Data sets in the cache, and the doctor's findings."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tito.data import DataState, FileState
from tito.doctor import Finding
from tito.report import units
from tito.terminal.tables import Column, Fitted, Shown, plain, unbroken

STATE_STYLE = {"ok": "green", "note": "yellow", "bad": "red", "missing": "yellow", "corrupt": "red"}


def list_data(states: Sequence[DataState]) -> RenderableType:
    """Return one line for each data set, and the folder of the cache."""
    rows = []
    for state in states:
        there = f"yes, {plain(units.size(state.bytes))}" if state.present else "no"
        style = "green" if state.present else "yellow"
        rows.append([Text(state.name, style="bold"), state.what, Text(there, style=style)])
    columns = [Column("data set", whole=True), Column("", rank=1), Column("in the cache", whole=True)]
    return Group(
        Fitted(columns, rows), *(Text(f"\ncache: {state.folder.parent}", overflow="fold") for state in states[:1])
    )


def list_files(files: Sequence[FileState]) -> RenderableType:
    """Return one line for each file, with the state of its content."""
    rows = [[file.name, file.file, Text(file.state, style=STATE_STYLE[file.state])] for file in files]
    return Fitted([Column("data set"), Column("file"), Column("content")], rows)


def list_findings(findings: Sequence[Finding]) -> RenderableType:
    """Return one line for each finding, with its advice below it."""
    made = Table(box=None, show_header=False, padding=(0, 3, 0, 0), pad_edge=False)
    made.add_column(no_wrap=True)
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for finding in findings:
        value = Text(unbroken(finding.value))
        if finding.advice:
            value.append(f"\n{unbroken(finding.advice)}", style="dim")
        made.add_row(Text(finding.state, style=STATE_STYLE[finding.state]), finding.name, value)
    return Shown(made)
