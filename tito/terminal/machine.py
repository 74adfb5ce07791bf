"""Data sets in the cache, and the doctor's findings."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from tito.data import DataState, FileState
from tito.doctor import Finding
from tito.report import units
from tito.terminal.tables import Column, Fitted, Lines, plain

STATE_STYLE = {"ok": "green", "note": "yellow", "bad": "red", "missing": "yellow", "corrupt": "red"}


def list_data(states: Sequence[DataState]) -> RenderableType:
    """Return one line for each data set, and the folder of the cache."""
    rows: list[list[str | Text]] = []
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
    rows: list[list[str | Text]] = [
        [file.name, file.file, Text(file.state, style=STATE_STYLE[file.state])] for file in files
    ]
    return Fitted([Column("data set"), Column("file"), Column("content")], rows)


def list_findings(findings: Sequence[Finding]) -> RenderableType:
    """Return one line for each finding, with its advice below it."""
    pairs = []
    for finding in findings:
        value = Text(finding.value)
        if finding.advice:
            value.append(f"\n{finding.advice}", style="dim")
        name = Text.assemble((f"{finding.state:<4}", STATE_STYLE[finding.state]), f"   {finding.name}")
        pairs.append((name, value))
    return Lines(pairs, indent=0)
