"""What the commands print: tables from records, suites and findings; progress while a suite runs.

The functions return something Rich can print and print nothing themselves. Words say what colours say, so that
nothing is lost without colour.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from tito.bench.record import CaseResult, Record, Verdict
from tito.bench.runner import Event
from tito.bench.suite import Criterion, LoadedSuite, Metric, Suite
from tito.data import DataState, FileState
from tito.doctor import Finding
from tito.report import figures, units
from tito.report.overview import Side, sides

STATUS_STYLE = {"passed": "green", "gate missed": "red", "failed": "red"}
STATE_STYLE = {"ok": "green", "note": "yellow", "bad": "red", "missing": "yellow", "corrupt": "red"}
DIRECTION = {"at_least": "at least", "at_most": "at most"}
FEW = 10  # of more seeds, not each one gets a line of its own
QUIET_SECONDS = 10.0  # without a terminal, a line at least this far apart


def plain(text: str) -> str:
    """With ordinary spaces: terminals and files of every encoding can show them."""
    return text.replace(units.THIN, " ")


def _table(*columns: str, right: Sequence[str] = ()) -> Table:
    """A table without lines, indented by two."""
    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def _indented(content: RenderableType) -> Padding:
    return Padding(content, (0, 0, 0, 2), expand=False)


def _lines(pairs: Sequence[tuple[str, str]]) -> Padding:
    """Names and values, one pair a line."""
    table = Table(box=None, show_header=False, padding=(0, 3, 0, 0), pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(name, Text(plain(value)))
    return _indented(table)


# ---- a record


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
            parts.append(_indented(Text(case.note, style="dim")))
    if record.overview:
        parts += [Text(), _tally(record)]
    parts += [Text(), _lines(_figures(record))]
    return Group(*parts)


def _side(side: Side) -> RenderableType:
    """A group of the overview: a line a case, below its figures what is asked of them; what misses it is marked."""
    table = _table(side.group, *side.heads, right=side.heads)
    table.padding = (0, 2, 0, 0)
    for line in side.lines:
        title = Text(f"{line.title}{' *' if line.front else ''}")
        cells = []
        for i, (cell, asked) in enumerate(zip(line.cells, line.asked, strict=True)):
            shown = Text(f"{plain(cell)} ✗", style="red") if i in line.missed else Text(plain(cell))
            cells.append(shown.append(f"\n{plain(asked)}", style="dim") if asked else shown)
        table.add_row(title, *cells)
    return _indented(table)


def _tally(record: Record) -> RenderableType:
    """How many of all demands were met."""
    verdicts = [verdict for case in record.cases for verdict in case.verdicts]
    words = []
    for role in ("gate", "aim"):
        met = [verdict.met for verdict in verdicts if verdict.role == role]
        words += [f"{sum(met)} of {len(met)} {role}s met"] * bool(met)
    return Text(f"{', '.join(words)}; * no other is as small, as quick and as good", style="dim")


def _verdicts(record: Record, case: CaseResult) -> Padding:
    table = _table("", "", "measured", "asked for", "", right=["measured"])
    table.padding = (0, 2, 0, 0)  # so that it fits 80 columns
    for verdict in case.verdicts:
        met = Text("met", style="green")
        if not verdict.met:
            met = Text("missed", style="red" if verdict.role == "gate" else "yellow")
        metric = figures.metric_of(record, verdict.criterion.metric)
        asked = demand(verdict.criterion, metric)
        table.add_row(verdict.role, metric.title, measured(verdict, case, metric), asked, met)
    return _indented(table)


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
    lines = []
    for case in record.cases:
        times = [run.metrics["train_seconds"] for run in case.runs if "train_seconds" in run.metrics]
        if times and (record.overview is None or max(times) >= 1):  # applying a technique may take no time at all
            several = f", median of {len(times)} seeds" if len(times) > 1 else ""
            name = f"{case.name}: " if len(record.cases) > 1 else ""
            lines.append(f"{name}{units.seconds(statistics.median(times))}{several}")
    return lines


def list_records(records: Sequence[Record]) -> RenderableType:
    """One line a record, newest last; its id names the suite, and stays whole to be copied."""
    table = _table("record", "status", "figure", "")
    table.columns[0].no_wrap = True
    table.padding = (0, 2, 0, 0)  # so that it fits 80 columns
    for record in records:
        status = Text(record.status, style=STATUS_STYLE[record.status])
        unlike = ["quick"] * record.quick + ["altered"] * bool(record.altered)
        table.add_row(record.id, status, _first_gate(record), ", ".join(unlike))
    return table


def _first_gate(record: Record) -> str:
    """What was measured against the first gate of the suite's last case."""
    verdicts = [verdict for case in record.cases[-1:] for verdict in case.verdicts if verdict.role == "gate"]
    if not verdicts or verdicts[0].measured is None:
        return "–"
    metric = figures.metric_of(record, verdicts[0].criterion.metric)
    return plain(f"{metric.title} {units.quantity(verdicts[0].measured, metric.unit)}")


# ---- suites, data, findings


def list_suites(suites: Sequence[LoadedSuite]) -> RenderableType:
    """One line a suite."""
    table = _table("suite", "year", "", "data")
    for loaded in suites:
        suite = loaded.suite
        table.add_row(Text(suite.name, style="bold"), str(suite.year), suite.title, ", ".join(suite.data) or "none")
    return table


def show_suite(loaded: LoadedSuite) -> RenderableType:
    """What a suite fixes."""
    suite = loaded.suite
    parts: list[RenderableType] = [
        Text(),
        Text.assemble((f"{suite.year} {suite.name}", "bold"), f"  {suite.title}"),
        Text(),
        Text(suite.story.strip()),
    ]
    for case in suite.cases:
        parts += [Text(), Text(f"{case.name}: {case.title}")]
        if case.note:
            parts.append(_indented(Text(case.note, style="dim")))
        demands = [("gate", gate) for gate in case.gates] + [("aim", aim) for aim in case.aims]
        pairs = [(role, _demand_on(suite, criterion)) for role, criterion in demands]
        if case.rival:
            pairs.append(("beside PyTorch", f"{case.rival} of tito/versus/works, a round for each seed"))
        pairs.append(("seeds", _seeds(case.seeds)))
        pairs += [(name, str(value)) for name, value in case.parameters.items()]
        parts.append(_lines(pairs))
    plan, limits = suite.profile, suite.limits
    profile = f"{plan.case}: {plan.queries} single queries and batches of {', '.join(map(str, plan.batches))}, "
    pairs = [
        ("data", ", ".join(suite.data) or "none"),
        ("modules", ", ".join(f"{module:02}" for module in suite.modules)),
        ("profile", f"{profile}in {plan.repetitions} fresh process{'es' * (plan.repetitions != 1)}"),
        ("limits", f"{limits.seconds:g} s and {limits.memory_mb} MB for each process"),
        ("folder", str(loaded.folder)),
        ("run it", f"tito suite run {suite.name}"),
    ]
    return Group(*parts, Text(), _lines(pairs), Text())


def _demand_on(suite: Suite, criterion: Criterion) -> str:
    metric = suite.metrics.get(criterion.metric) or figures.BUILT_IN.get(criterion.metric)
    metric = metric or Metric(title=criterion.metric, unit="")
    return f"{metric.title} {demand(criterion, metric)}, {criterion.over} over seeds"


def _seeds(seeds: Sequence[int]) -> str:
    """Seeds in short: 1-100 where they are many in a row."""
    if len(seeds) > 5 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]}-{seeds[-1]}"
    return ", ".join(map(str, seeds))


def list_data(states: Sequence[DataState]) -> RenderableType:
    """One line a data set, and where they lie."""
    table = _table("data set", "", "in the cache")
    for state in states:
        there = f"yes, {plain(units.size(state.bytes))}" if state.present else "no"
        style = "green" if state.present else "yellow"
        table.add_row(Text(state.name, style="bold"), state.what, Text(there, style=style))
    return Group(table, *(Text(f"\ncache: {state.folder.parent}", overflow="fold") for state in states[:1]))


def list_files(files: Sequence[FileState]) -> RenderableType:
    """One line a file, with what its content was found to be."""
    table = _table("data set", "file", "content")
    for file in files:
        table.add_row(file.name, file.file, Text(file.state, style=STATE_STYLE[file.state]))
    return table


def list_findings(findings: Sequence[Finding]) -> RenderableType:
    """One line a finding, and its advice below it."""
    table = Table(box=None, show_header=False, padding=(0, 3, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        value = Text(plain(finding.value))
        if finding.advice:
            value.append(f"\n{plain(finding.advice)}", style="dim")
        table.add_row(Text(finding.state, style=STATE_STYLE[finding.state]), finding.name, value)
    return table


# ---- progress


class RunProgress:
    """What goes on while a suite runs: a live bar in a terminal, elsewhere a line now and then.

    A context manager; `report` takes the runner's events. `clock` is time.monotonic but in tests.
    """

    def __init__(
        self, console: Console, metrics: Mapping[str, Metric], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console, self._metrics, self._clock = console, metrics, clock
        self._last_line = clock()
        self._progress = Progress(
            TextColumn("  {task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[figures]}", style="dim", markup=False),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._key: tuple[str, str, int | None] | None = None

    def __enter__(self) -> RunProgress:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def report(self, event: Event) -> None:
        """Show one event."""
        if event.stage == "seed done":
            self._seed_done(event)
        elif self._console.is_terminal:
            self._move_bar(event)
        elif self._clock() - self._last_line >= QUIET_SECONDS:
            self._line(f"{_where(event)} {event.done}/{event.total}", event)

    def _seed_done(self, event: Event) -> None:
        step = -(-event.total // FEW)
        if event.done % step == 0 or event.done == event.total:
            self._line(f"{event.case}, seed {event.seed}", event)

    def _move_bar(self, event: Event) -> None:
        key = (event.stage, event.case, event.seed)
        if key != self._key:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._task = self._progress.add_task(_where(event), total=event.total, figures="")
            self._key = key
        assert self._task is not None
        shown = self._shown(event)
        self._progress.update(self._task, completed=event.done, total=event.total, figures=shown)

    def _line(self, text: str, event: Event) -> None:
        self._last_line = self._clock()
        self._console.print(f"  {text}   {self._shown(event)}".rstrip(), style="dim", markup=False, soft_wrap=True)

    def _shown(self, event: Event) -> str:
        """The figures in short: Test accuracy 98.61 %   train loss 0.012."""
        known = {**figures.BUILT_IN, **self._metrics}
        hidden = {"load_seconds", "build_seconds", "evaluate_seconds"}
        shown = {name: value for name, value in event.figures.items() if name not in hidden}
        if any(metric.short for metric in self._metrics.values()):  # of an overview, whose whole table comes at the end
            shown = {name: value for name, value in shown.items() if name in self._metrics}
        return "   ".join(
            f"{_short_name(name, known.get(name))} {plain(_value(value, known.get(name)))}"
            for name, value in shown.items()
        )


def _short_name(name: str, metric: Metric | None) -> str:
    return name.replace("_", " ") if metric is None else metric.short or metric.title


def _where(event: Event) -> str:
    seed = "" if event.seed is None else f", seed {event.seed}"
    return f"{event.case}{seed}: {event.stage}"


def _value(value: float | None, metric: Metric | None) -> str:
    if value is None:
        return "not a number"
    return units.quantity(value, metric.unit) if metric else units.significant(value)
