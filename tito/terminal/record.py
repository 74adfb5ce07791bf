"""A record as it is printed when its run finishes, and the list of records."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from tito.bench.record import CaseResult, Record, Verdict
from tito.bench.suite import Criterion, Metric
from tito.report import figures, units
from tito.report.overview import Side, sides
from tito.terminal.tables import indented, lines, plain, table

STATUS_STYLE = {"passed": "green", "gate missed": "red", "failed": "red"}
DIRECTION = {"at_least": "at least", "at_most": "at most"}


def show_record(record: Record) -> RenderableType:
    """A run: its gates and aims with what was measured, its speed, sizes and origin."""
    heading = Text.assemble((f"{record.year} {record.suite}", "bold"), f"  {record.title}")
    status = Text(record.status, style=f"bold {STATUS_STYLE[record.status]}")
    parts: list[RenderableType] = [Text(), heading, status]
    if record.reason:
        parts[-1] = Text.assemble(status, f": {record.reason}")
    if record.quick:
        parts.append(Text("a quick run: fewer seeds and shorter training, the same gates", style="dim"))
    if record.altered:
        parts.append(Text(f"not as the suite says, so no full result: {', '.join(record.altered)}", style="dim"))
    for side in sides(record):
        parts += [Text(), _side(side)]
    for case in record.cases:
        if record.overview and all(verdict.met for verdict in case.verdicts):
            continue  # its figures stand in the overview
        seeds = f"{len(case.runs)} seed{'s' * (len(case.runs) != 1)}"
        parts += [Text(), Text(f"{case.title}, {seeds}"), _verdicts(record, case)]
        if case.note:
            parts.append(indented(Text(case.note, style="dim")))
    if record.overview:
        parts += [Text(), _tally(record)]
    parts += [Text(), lines(_figures(record))]
    return Group(*parts)


def _side(side: Side) -> RenderableType:
    """A group of the overview: a line a case, below its figures what is asked of them; what misses it is marked."""
    made = table(side.group, *side.heads, right=side.heads)
    made.padding = (0, 2, 0, 0)
    for line in side.lines:
        title = Text(f"{line.title}{' *' if line.front else ''}")
        cells = []
        for i, (cell, asked) in enumerate(zip(line.cells, line.asked, strict=True)):
            shown = Text(f"{plain(cell)} ✗", style="red") if i in line.missed else Text(plain(cell))
            cells.append(shown.append(f"\n{plain(asked)}", style="dim") if asked else shown)
        made.add_row(title, *cells)
    return indented(made)


def _tally(record: Record) -> RenderableType:
    """How many of all demands were met."""
    verdicts = [verdict for case in record.cases for verdict in case.verdicts]
    words = []
    for role in ("gate", "aim"):
        met = [verdict.met for verdict in verdicts if verdict.role == role]
        words += [f"{sum(met)} of {len(met)} {role}s met"] * bool(met)
    return Text(f"{', '.join(words)}; * no other is as small, as quick and as good", style="dim")


def _verdicts(record: Record, case: CaseResult) -> Padding:
    made = table("", "", "measured", "asked for", "", right=["measured"])
    made.padding = (0, 2, 0, 0)  # so that it fits 80 columns
    for verdict in case.verdicts:
        met = Text("met", style="green")
        if not verdict.met:
            met = Text("missed", style="red" if verdict.role == "gate" else "yellow")
        metric = figures.metric_of(record, verdict.criterion.metric)
        asked = demand(verdict.criterion, metric)
        made.add_row(verdict.role, metric.title, measured(verdict, case, metric), asked, met)
    return indented(made)


def measured(verdict: Verdict, case: CaseResult, metric: Metric) -> str:
    """What stands against a gate; for a mean with its spread: mean 98.61 ± 0.05 % sd."""
    summary = case.summary.get(verdict.criterion.metric)
    if summary is None:
        return "not measured"
    return plain(units.measured(verdict.measured, verdict.criterion.over, summary.n, summary.sd, metric.unit))


def demand(criterion: Criterion, metric: Metric) -> str:
    """A gate in words: at least 95 %."""
    return plain(f"{DIRECTION[criterion.direction]} {units.demand(criterion.value, metric.unit)}")


def _figures(record: Record) -> list[tuple[str, str]]:
    """The headline figures: speed, memory, size, time, machine, and how to have it again."""
    pairs: list[tuple[str, str]] = []
    profile = record.profile
    if profile and profile.latency:
        marks = figures.percentiles(profile.latency)
        shown = "   ".join(f"{name} {value:,.1f} µs" for name, value in marks.items())
        pairs.append(("latency, one query", shown))
    best = figures.best_throughput(profile)
    if best:
        pairs.append(("throughput", f"{units.rate(best[1])} at batch size {best[0].batch}"))
    if profile and profile.memory:
        phase = figures.peak_phase(profile.memory)
        pairs.append(("peak memory", units.size(profile.memory.peak) + (f", in phase {phase}" if phase else "")))
    if profile:
        count = units.integer(profile.parameter_count)
        pairs.append(("model file", f"{units.size(profile.model_bytes)}, {count} parameters"))
    pairs += [("training time", text) for text in _training_times(record)]
    for why in dict.fromkeys(omission.why for omission in record.omitted):
        left_out = ", ".join(omission.what for omission in record.omitted if omission.why == why)
        pairs.append(("not measured", f"{left_out}: {why}"))
    machine, blas = record.provenance.machine, record.provenance.blas
    pairs.append(("machine", f"{machine.cpu}, {machine.cores} cores; BLAS kernel {blas.used} ({blas.why})"))
    if record.provenance.backend:
        pairs.append(("backend", record.provenance.backend.line))
    pairs.append(("run", f"{record.created:%Y-%m-%d %H:%M} UTC, took {units.seconds(record.seconds)}"))
    pairs.append(("again", record.provenance.command))
    pairs.append(("record", record.id))
    return pairs


def _training_times(record: Record) -> list[str]:
    """Each case's time for one training; named only where there are several cases."""
    found = []
    for case in record.cases:
        times = [run.metrics["train_seconds"] for run in case.runs if "train_seconds" in run.metrics]
        if times and (record.overview is None or max(times) >= 1):  # applying a technique may take no time at all
            several = f", median of {len(times)} seeds" if len(times) > 1 else ""
            name = f"{case.name}: " if len(record.cases) > 1 else ""
            found.append(f"{name}{units.seconds(statistics.median(times))}{several}")
    return found


def list_records(records: Sequence[Record]) -> RenderableType:
    """One line a record, newest last; its id names the suite, and stays whole to be copied."""
    made = table("record", "status", "figure", "")
    made.columns[0].no_wrap = True
    made.padding = (0, 2, 0, 0)  # so that it fits 80 columns
    for record in records:
        status = Text(record.status, style=STATUS_STYLE[record.status])
        unlike = ["quick"] * record.quick + ["altered"] * bool(record.altered)
        made.add_row(record.id, status, _first_gate(record), ", ".join(unlike))
    return made


def _first_gate(record: Record) -> str:
    """What was measured against the first gate of the suite's last case."""
    verdicts = [verdict for case in record.cases[-1:] for verdict in case.verdicts if verdict.role == "gate"]
    if not verdicts or verdicts[0].measured is None:
        return "–"
    metric = figures.metric_of(record, verdicts[0].criterion.metric)
    return plain(f"{metric.title} {units.quantity(verdicts[0].measured, metric.unit)}")
