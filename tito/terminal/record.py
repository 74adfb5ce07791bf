"""A record as printed when its run finishes, and the list of records."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from tito.bench.record import CaseResult, Record, Resumed
from tito.report import units
from tito.report.figures import title_of
from tito.report.headline import headline, of_profile, profiled, training_time
from tito.report.overview import sides
from tito.report.verdicts import rows_of
from tito.terminal.overview import SideBySide, best_of_each_track
from tito.terminal.tables import DIRECTION, STATUS_STYLE, Column, Command, Fitted, indented, lines


def show_record(record: Record, wide: bool = False, again: Callable[[str], str] = str) -> RenderableType:
    """Return a run: its gates and aims with the measured values, its speed, its size, and its origin.

    Args:
        record: the run.
        wide: show all columns of an overview, in further tables where they do not fit.
        again: returns a command as it is typed here.
    """
    heading = Text.assemble((f"{record.year} {record.suite}", "bold"), f"  {record.title}")
    status = Text(record.status, style=f"bold {STATUS_STYLE[record.status]}")
    parts: list[RenderableType] = [Text(), heading, status]
    if record.reason:
        parts[-1] = Text.assemble(status, f": {record.reason}")
    if record.note:
        parts.append(Text(record.note, style="italic"))
    if record.quick:
        parts.append(Text("a quick run: fewer seeds and shorter training, the same gates", style="dim"))
    if record.altered:
        parts.append(Text(f"modified from its suite, so not a full result: {', '.join(record.altered)}", style="dim"))
    if record.noise.noisy:
        parts.append(Text(f"noisy: {record.noise.line}, so do not compare these times with others", style="yellow"))
    if record.overview:
        parts += _overview(record, wide)
    for case in record.cases:
        if not _in_overview(record, case):
            seeds = f"{len(case.runs)} seed{'s' * (len(case.runs) != 1)}"
            parts += [Text(), Text(f"{title_of(record, case)}, {seeds}"), _verdicts(record, case)]
            if case.note:
                parts.append(indented(Text(case.note, style="dim")))
    parts += [Text(), lines(_figures(record, again))]
    return Group(*parts)


def _overview(record: Record, wide: bool) -> list[RenderableType]:
    """Return the best of each track, then each track's cases side by side."""
    parts: list[RenderableType] = []
    best = headline(record)
    if best:
        parts += [Text(), best_of_each_track(best)]
    for side in sides(record):
        parts += [Text(), SideBySide(side, wide)]
    return [*parts, Text(), _tally(record)]


def _in_overview(record: Record, case: CaseResult) -> bool:
    """Return whether the overview shows every metric that a case is judged by."""
    columns = record.overview.columns if record.overview else []
    return bool(columns) and all(verdict.met or verdict.criterion.metric in columns for verdict in case.verdicts)


def _tally(record: Record) -> RenderableType:
    """Return how many of the gates and aims were met."""
    verdicts = [verdict for case in record.cases for verdict in case.verdicts]
    words = []
    for role in ("gate", "aim"):
        met = [verdict.met for verdict in verdicts if verdict.role == role]
        words += [f"{sum(met)} of {len(met)} {role}s met"] * bool(met)
    return Text(f"{', '.join(words)}; * no other case is as small, as fast, and as good", style="dim")


def _verdicts(record: Record, case: CaseResult) -> Padding:
    rows: list[list[str | Text]] = []
    for row in rows_of(record, case):
        met = Text("met", style="green")
        if not row.met:
            met = Text("missed", style="red" if row.role == "gate" else "yellow")
        rows.append([row.role, row.metric, row.measured, f"{DIRECTION[row.direction]} {row.value}", met])
    heads = ["role", "metric", "measured", "required", "met"]
    shown = [
        Column(head * (head in ("measured", "required")), right=head == "measured", whole=head != "metric")
        for head in heads
    ]
    return indented(Fitted(shown, rows))


def _figures(record: Record, again: Callable[[str], str]) -> list[tuple[str, str]]:
    """Return the profiled case's figures, then what was not measured, the machine, and how to repeat the run."""
    pairs = [*_profile(record), *_training_times(record)]
    for why in dict.fromkeys(omission.why for omission in record.omitted):
        left_out = ", ".join(omission.what for omission in record.omitted if omission.why == why)
        pairs.append(("not measured", f"{left_out}: {why}"))
    machine, blas = record.provenance.machine, record.provenance.blas
    pairs.append(("machine", f"{machine.cpu}, {machine.cores} cores; BLAS kernel {blas.used} ({blas.why})"))
    if record.provenance.backend:
        pairs.append(("backend", record.provenance.backend.line))
    if record.resumed:
        pairs.append(("resumed", resumed_line(record.resumed)))
    pairs.append(("run", f"{record.created:%Y-%m-%d %H:%M} UTC, took {units.seconds(record.seconds)}"))
    pairs.append(("run again", Command(again(record.provenance.command))))
    pairs.append(("record", Command(record.id)))
    return [("" if i and name == pairs[i - 1][0] else name, value) for i, (name, value) in enumerate(pairs)]


def resumed_line(resumed: Resumed) -> str:
    """Return which seeds a run took over: seeds 1-2 of mlp from the interrupted run of 2026-11-26 10:31 UTC."""
    seeds = "; ".join(f"seed{'s' * (len(of) != 1)} {units.ranges(of)} of {case}" for case, of in resumed.seeds.items())
    return f"{seeds} from the interrupted run of {resumed.began:%Y-%m-%d %H:%M} UTC"


def _profile(record: Record) -> list[tuple[str, str]]:
    """Return latency, throughput, memory, and size, below the name of their case if there are several cases."""
    if record.profile is None:
        return []
    pairs: dict[str, list[str]] = {}
    for tile in of_profile(record.profile):
        shown = f"{tile.mark} {tile.value}" if tile.mark else f"{tile.value}, {tile.note}"
        name = f"{tile.title.lower()}, alone" if tile.title == "Latency" else tile.title.lower()
        pairs.setdefault(name, []).append(shown)
    named = [("profiled case", group.title) for group in profiled(record) if len(record.cases) > 1]
    return [*named, *((name, "   ".join(values)) for name, values in pairs.items())]


def _training_times(record: Record) -> list[tuple[str, str]]:
    """Return each case's time for one training; in an overview, only of cases that train for a second or more."""
    pairs = []
    for case in record.cases:
        tile = training_time(case)
        if tile and (record.overview is None or max(run.metrics["train_seconds"] for run in case.runs) >= 1):
            name = f"{title_of(record, case)}: " if len(record.cases) > 1 else ""
            pairs.append((tile.title.lower(), f"{name}{tile.value}, {tile.note}"))
    return pairs
