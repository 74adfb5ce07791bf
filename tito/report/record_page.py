"""The page of one record: what ran, whether it is good, compared with what; then the figures, section by section.

Pure functions of records.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tito.bench.entry import Entry
from tito.bench.history import LAST, Change, comparable
from tito.bench.record import Record
from tito.report import figures, units
from tito.report.curves import learning_curves
from tito.report.exhibits import exhibits
from tito.report.figures import title_of
from tito.report.flame import flame_graph
from tito.report.headline import profiled
from tito.report.history import history
from tito.report.overview import plots, tables
from tito.report.owntime import by_function
from tito.report.pieces import Absent, Images, Piece, Plot
from tito.report.speedups import speedups

ALWAYS = ("left-out", "provenance")  # anchors of every record's page
WORD = {"passed": "Gate met", "gate missed": "Gate missed", "failed": "Failed"}


@dataclass(frozen=True)
class Fold:
    """Pieces of one kind, many, which the page shows on request."""

    title: str
    pieces: Sequence[Piece]


@dataclass(frozen=True)
class Section:
    """A heading with its pieces; `short` is its name in the list of contents.

    `id` is its anchor and `ids` are those of its pieces, which `with_anchors` sets.
    """

    title: str
    pieces: Sequence[Piece]
    short: str = ""
    fold: Fold | None = None
    id: str = ""
    ids: Sequence[str] = ()


def with_anchors(sections: Sequence[Section], taken: Sequence[str] = ()) -> list[Section]:
    """Return the sections with anchors, each different from the others and from those that are taken."""
    used = set(taken)
    made = []
    for section in sections:
        id = _anchor(section.short or section.title, used)
        made.append(replace(section, id=id, ids=[_anchor(f"{id} {piece.title}", used) for piece in section.pieces]))
    return made


def _anchor(text: str, used: set[str]) -> str:
    """Return a text as an anchor, where-the-time-goes, with a number if it is used already."""
    slug = "-".join(re.findall(r"[a-z0-9]+", text.lower()))[:60].strip("-") or "section"
    names = (slug if number == 1 else f"{slug}-{number}" for number in itertools.count(1))
    found = next(name for name in names if name not in used)
    used.add(found)
    return found


def sections(record: Record, runs: Sequence[Entry]) -> tuple[list[Section], list[tuple[str, str]]]:
    """Return the sections that have anything to show, and a line for each piece that has not: its title, and why."""
    made, missing = [], []
    for section in [*_results(record), *_measured(record)]:
        there = [piece for piece in section.pieces if not isinstance(piece, Absent)]
        missing += [(piece.title, piece.says) for piece in section.pieces if isinstance(piece, Absent)]
        if there or section.fold:
            made.append(replace(section, pieces=fill_rows(there)))
    past = history(runs, record)  # beside figures, a line that no figure changed says something
    if any(not isinstance(piece, Absent) for piece in past):
        made.append(Section("History on this machine", fill_rows(past), "History"))
    else:
        missing += [(piece.title, piece.says) for piece in past]
    return with_anchors(made, ALWAYS), missing


def left_out(record: Record, missing: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return what the record says was not measured, then the pieces that are missing for another reason."""
    stated = [(one.what, one.why) for one in record.omitted]
    reported = [f"No {what} " for what, _ in stated]
    return [*stated, *(one for one in missing if not one[1].startswith(tuple(reported)))]


def _results(record: Record) -> list[Section]:
    """Return what the models do: the cases side by side, or each case's exhibits."""
    shown = exhibits(record)
    if record.overview is None:
        several = len(shown) > 1
        return [
            Section(f"Results: {title}" if several else "Results", pieces, title if several else "")
            for title, pieces in shown
        ]
    chart = speedups(record)
    every = [_named(title, piece) for title, pieces in shown for piece in pieces]
    fold = Fold(f"{len(every)} figures of single cases", every) if every else None
    return [
        Section("Speedups", [chart] if chart else [], fold=fold),
        Section("Side by side", tables(record)),
        Section("Size, time, and quality", plots(record)),
    ]


def _named(case: str, piece: Piece) -> Piece:
    return replace(piece, title=f"{case}: {piece.title}", wide=False)


def _measured(record: Record) -> list[Section]:
    """Return the course of training, and the speed and size of the profiled case."""
    profile, several = record.profile, len(record.cases) > 1
    case = next((case for case in record.cases if profile and case.name == profile.case), None)
    name = title_of(record, case) if case else "one case"
    of = f": {name}" if case and several else ""
    speed: list[Piece] = [
        figures.latency(profile, of),
        figures.throughput(profile, of),
        figures.memory(profile.memory if profile else None, of),
    ]
    stacks = flame_graph(profile.stacks if profile else None, of)
    curves = Section("Training", learning_curves(record))
    title = "Speed and memory"
    if record.overview and profile:
        says = f"The profiled case of this suite: {name}."
        speed = [*(replace(group, title="Speed and size", says=says) for group in profiled(record)), *speed]
        title = f"Profile of {name}"
    where = Section(_where_the_time_goes(record), [stacks, *by_function(profile, of)], "Where the time goes")
    return [curves, Section(title, speed, "Speed and memory"), where]


def _where_the_time_goes(record: Record) -> str:
    """Return the section's title, with what was observed."""
    if record.profile is None or record.profile.stacks is None:
        return "Where the time goes"
    work = next((case.work for case in record.cases if case.name == record.profile.case), "")
    return f"Where the time goes: {'inference' if record.profile.stacks.of == 'inference' else work or 'training'}"


def fill_rows(pieces: Sequence[Piece]) -> list[Piece]:
    """Return the pieces of a section so that no row of two is half empty; three narrow ones share one row.

    A piece that would be alone in its row is widened. A square piece stays narrow, next to the pictures after it.
    """
    if len(pieces) == 3 and not any(piece.wide for piece in pieces):
        return list(pieces)
    filled: list[Piece] = []
    half = False  # whether the row being filled has one narrow piece
    lonely = False  # whether this piece is square and will be alone
    for piece, after in zip(pieces, [*pieces[1:], None], strict=True):
        alone = not piece.wide and not half and (after is None or after.wide)
        half = not piece.wide and not half and not alone
        square = isinstance(piece, Plot) and piece.shape == "square"
        beside = isinstance(piece, Images) and lonely
        lonely = alone and square
        filled.append(replace(piece, wide=not beside) if beside or (alone and not square) else piece)
    return filled


def facts(record: Record) -> list[tuple[str, str]]:
    """Return when, where, and on what a record ran, in short: what the first screen says."""
    source = record.provenance
    changed = ", changed" if source.dirty else ""
    return [
        ("Run", f"{record.created:%Y-%m-%d %H:%M} UTC"),
        ("Took", units.seconds(record.seconds)),
        ("Machine", f"{source.machine.cpu}, {source.machine.cores} cores"),
        ("Backend", source.backend.line.partition(" (")[0] if source.backend else "NumPy"),
        ("Commit", f"{source.commit[:10]}{changed}" if source.commit else "not a git checkout"),
    ]


def compared(record: Record, runs: Sequence[Entry], found: Mapping[str, Change]) -> tuple[str, str]:
    """Return what a run is compared with and how it did, and the command that compares it with the run before it."""
    before = comparable(record, runs)
    if not found or not before:
        return "No change is shown, because no earlier run of this kind is recorded on this machine.", ""
    count = Counter(one.word for one in found.values())
    words = [f"{count[word]} {word}" for word in ("worse", "better", "changed", "as usual") if count[word]]
    used = min(len(before), LAST)
    of = "the run before it" if used == 1 else f"the median of the {used} runs before it"
    counted = f": of its figures, {', '.join(words)}" if words else ""
    says = f"Changes are against {of} on this machine{counted}."
    return says, f"tito record compare {before[-1].id} {record.id}"


def kinds(record: Record) -> list[tuple[str, str]]:
    """Return what sets a run apart from a usual one: a badge, and what it means for its figures."""
    found = []
    if record.quick:
        found.append(
            (
                "quick run",
                "It has fewer seeds and shorter training, so compare its figures with those of quick runs only.",
            )
        )
    if record.altered:
        found.append(("altered run", f"It differs from its suite: {', '.join(record.altered)}."))
    if record.noise.noisy:
        says = f"The machine was busy, so do not compare its times with those of other runs: {record.noise.line}."
        found.append(("noisy run", says))
    return found


def provenance(record: Record) -> list[tuple[str, str]]:
    """Return the origin of a record, as names and values."""
    source, machine, blas = record.provenance, record.provenance.machine, record.provenance.blas
    state = {True: ", with uncommitted changes", False: "", None: ""}[source.dirty]
    ratio = f", speed ratio {units.significant(blas.speedup)}" if blas.speedup else ""
    return [
        ("Commit", f"{source.commit}{state}" if source.commit else "not a git checkout"),
        ("Machine", f"{machine.cpu}, {machine.cores} cores, {units.size(machine.memory_bytes)}, {machine.system}"),
        ("CPU features", ", ".join(machine.features) or "none that matter"),
        ("Machine fingerprint", machine.fingerprint),
        ("BLAS kernel", f"{blas.used} (default: {blas.default}{ratio}). {blas.why}"),
        *([("Kernel backend", source.backend.line)] if source.backend else []),
        ("Seeds", _seeds(record)),
        ("Versions", f"tinytorch {source.tinytorch}, Python {source.python}, NumPy {source.numpy}"),
        ("Suite SHA-256", source.suite_sha256),
        ("Created", f"{record.created:%Y-%m-%d %H:%M:%S %Z}".strip()),
        ("Took", units.seconds(record.seconds)),
        ("Record", record.id),
        *([("Note", record.note)] if record.note else []),
    ]


def _seeds(record: Record) -> str:
    """Return the seeds that ran, once if all cases share them."""
    ran = [(case.name, units.ranges([run.seed for run in case.runs])) for case in record.cases if case.runs]
    if len(ran) > 1 and len({seeds for _, seeds in ran}) == 1:
        return f"{ran[0][1]}, in each of {len(ran)} cases"
    return "; ".join(f"{name}: {seeds}" for name, seeds in ran) or "none ran"
