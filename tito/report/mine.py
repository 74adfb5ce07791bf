"""A learner's own code beside the reference: reports/mine.html, with the newest run of each suite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tito.bench.mine import FOLDER, HotLine, MineRun, StepTime
from tito.bench.record import CaseResult, Record
from tito.report import figures, units
from tito.report.attachments import Attachment
from tito.report.history import primary
from tito.report.pieces import NONE, Grid, Piece, Tile, Tiles
from tito.report.record_page import WORD, facts, kinds
from tito.report.rendering import environment, render, write_assets, write_documents
from tito.report.verdicts import Row, worst_first

PAGE = "mine.html"  # in the folder of the reports


@dataclass(frozen=True)
class Section:
    """One suite on the page."""

    record: Record
    word: str
    kinds: list[tuple[str, str]]
    modules: str
    borrowed: str
    rows: list[Row]
    facts: list[tuple[str, str]]
    tiles: Tiles | None
    pieces: Sequence[Piece]
    notes: Sequence[str]
    files: Sequence[Attachment]


def write_mine(runs: Sequence[MineRun], folder: Path, typed: Callable[[str], str] = str) -> Path:
    """Write mine.html into the folder of the reports, and return its path.

    Args:
        runs: the newest run of each suite.
        folder: the reports.
        typed: returns a command of tito as it is typed here.

    Raises:
        ReportError: the folder cannot be written.
    """
    jinja = environment(typed)
    page = render(jinja, "mine.html.j2", styles=["pages.css"], sections=[section(run) for run in runs])
    write_assets(jinja, folder)
    return write_documents({PAGE: page}, folder)[0]


def section(run: MineRun) -> Section:
    """Return what the page says about one suite."""
    record = run.record
    assert record.mine is not None
    found = primary(record)
    pieces = [piece for piece in (_steps(run.steps), _lines(run.lines)) if piece]
    notes = [
        f"The reference could not be measured: {run.reference_problem}" if run.reference_problem else "",
        f"Steps were not timed: {run.steps_problem}" if run.steps_problem else "",
        "" if run.lines else "No line is shown, because py-spy sampled none of yours.",
    ]
    return Section(
        record,
        WORD[record.status],
        kinds(record),
        ", ".join(record.mine.modules),
        ", ".join(record.mine.borrowed),
        worst_first(record),
        facts(record),
        _beside(run, *found) if found else None,
        pieces,
        [note for note in notes if note],
        [Attachment("Run as JSON", f"{FOLDER}/{record.suite}.json")],
    )


def _beside(run: MineRun, case: CaseResult, name: str) -> Tiles:
    """Return quality, training time, and memory, each with the reference's."""
    metric = figures.metric_of(run.record, name)
    other = run.reference.metrics if run.reference else {}
    tiles = []
    if name in case.summary:
        theirs = units.quantity(other[name], metric.unit) if name in other else NONE
        tiles.append(Tile(metric.title, units.quantity(case.summary[name].mean, metric.unit), f"reference: {theirs}"))
    if case.runs and case.work:
        mine = case.runs[0].metrics["train_seconds"]
        base = other.get("train_seconds")
        note = f"reference: {units.seconds(base)}; yours takes {_times(mine / base)} as long" if base else ""
        tiles.append(Tile(f"{case.work.capitalize()} time", units.seconds(mine), note))
    memory = run.record.profile.memory if run.record.profile else None
    if memory:
        note = f"reference: {units.size(run.reference_peak)}" if run.reference_peak else ""
        tiles.append(Tile("Peak memory", units.size(memory.peak), note))
    return Tiles(figures.title_of(run.record, case), "", tiles)


def _times(ratio: float) -> str:
    return f"{units.significant(ratio)} times"


def _steps(steps: Sequence[StepTime]) -> Grid | None:
    if not steps:
        return None
    rows = [
        [
            "all of yours" if one.module == "all" else f"only your {one.module}",
            units.microseconds(one.seconds * 1e6),
            units.microseconds(one.reference_seconds * 1e6),
            _times(one.ratio),
            f"{units.significant(one.low)} to {units.significant(one.high)}",
        ]
        for one in steps
    ]
    says = (
        f"One training step with one of your modules at a time and the reference's others, in {steps[0].rounds} fresh "
        "processes each, alternating with the reference. The last column is the 95% interval of the ratio."
    )
    heads = ["modules", "step", "reference", "takes", "interval"]
    return Grid("Where your time goes, by module", says, heads, rows, numeric=frozenset((1, 2, 3, 4)), wide=True)


def _lines(lines: Sequence[HotLine]) -> Grid | None:
    if not lines:
        return None
    rows = [[f"{one.share:.1%}", f"{one.file}:{one.line}", one.text or NONE] for one in lines]
    says = (
        "Samples of py-spy while your code trained. A line counts if it is the innermost of yours, also while NumPy "
        "works for it. Shares are of the whole training."
    )
    return Grid("Your hottest lines", says, ["share", "line", "code"], rows, numeric=frozenset((0,)), wide=True)
