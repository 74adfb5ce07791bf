"""The list of suites, and what a suite fixes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from tito.bench.record import Record
from tito.bench.suite import Criterion, LoadedSuite, Metric, Suite
from tito.report import figures, units
from tito.terminal.tables import (
    DIRECTION,
    STATUS_STYLE,
    WHOLE,
    Column,
    Command,
    Fitted,
    Shown,
    duration,
    indented,
    lines,
    unbroken,
)

LONG = 24  # characters of a metric's title


def list_suites(suites: Sequence[LoadedSuite], newest: Mapping[str, Record], wide: bool = False) -> RenderableType:
    """Return one line for each suite: about how long it takes, what it requires, and how its last run ended.

    Args:
        suites: the suites.
        newest: the newest record of each suite that has one, by name.
        wide: show all columns.
    """
    columns = [
        Column("suite", whole=True),
        Column("year", 4, whole=True),
        Column("", 5),
        Column("takes", 1, right=True, whole=True),
        Column("quick", 3, right=True, whole=True),
        Column("gate", 2),
        Column("last run", 1),
        Column("data", 6),
    ]
    rows = [_row(loaded.suite, newest.get(loaded.suite.name)) for loaded in suites]
    note = "takes, quick: about, on two cores; tito suite show NAME lists all gates"
    return Group(Shown(Fitted(columns, rows, wide)), Text(f"\n{note}", style="dim"))


def _row(suite: Suite, record: Record | None) -> list[str | Text]:
    took = suite.duration
    last = Text("–")
    if record:
        last = Text(record.status, style=STATUS_STYLE[record.status])
        unlike = ", quick" * record.quick + ", altered" * bool(record.altered)
        last.append(f" {record.created:%Y-%m-%d}{unlike}", "not bold default")
    return [
        Text(suite.name, style="bold"),
        str(suite.year),
        suite.title,
        duration(took.full) if took else "–",
        duration(took.quick) if took and took.quick else "–",
        _gates(suite),
        last,
        ", ".join(suite.data) or "none",
    ]


def _gates(suite: Suite) -> str:
    """Return the profiled case's first gate and how many others there are, or only the number if that is too long."""
    count = sum(len(case.gates) for case in suite.cases)
    gate = suite.case(suite.profile.case).gates[0]
    metric = _metric(suite, gate)
    title = (metric.short or metric.title).partition(",")[0]
    required = f"{units.SIGN[gate.direction]} {units.demand(gate.value, metric.unit)}".replace(" ", WHOLE)
    more = f" +{count - 1}" if count > 1 else ""
    return unbroken(f"{title} {required}{more}") if len(title) <= LONG else f"{count} gates"


def show_suite(loaded: LoadedSuite) -> RenderableType:
    """Return what a suite fixes: gates, seeds, parameters, data, and limits."""
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
            parts.append(indented(Text(case.note, style="dim")))
        demands = [("gate", gate) for gate in case.gates] + [("aim", aim) for aim in case.aims]
        pairs = [(role, _demand_on(suite, criterion)) for role, criterion in demands]
        if case.rival:
            pairs.append(("against PyTorch", f"{case.rival} in tito/versus/works, one round for each seed"))
        pairs.append(("seeds", units.ranges(case.seeds)))
        pairs += [(name, str(value)) for name, value in case.parameters.items()]
        parts.append(lines(pairs))
    plan, limits = suite.profile, suite.limits
    profile = f"{plan.case}: {plan.queries} single queries and batches of {', '.join(map(str, plan.batches))}, "
    pairs = [
        ("data", ", ".join(suite.data) or "none"),
        ("modules", ", ".join(f"{module:02}" for module in suite.modules)),
        ("profile", f"{profile}in {plan.repetitions} fresh process{'es' * (plan.repetitions != 1)}"),
        ("limits", f"{limits.seconds:g} s and {limits.memory_mb} MB for each process"),
        ("takes", _takes(suite)),
        ("folder", Command(str(loaded.folder))),
        ("run it", Command(f"tito suite run {suite.name}")),
    ]
    return Group(*parts, Text(), lines(pairs), Text())


def _takes(suite: Suite) -> str:
    """Return about how long a run takes."""
    if suite.duration is None:
        return "not stated"
    quick = f", with --quick {duration(suite.duration.quick)}" if suite.duration.quick else ""
    return f"about {duration(suite.duration.full)}{quick}, on two cores"


def _demand_on(suite: Suite, criterion: Criterion) -> str:
    metric = _metric(suite, criterion)
    required = f"{DIRECTION[criterion.direction]} {units.demand(criterion.value, metric.unit)}"
    return f"{metric.title} {required}, {criterion.over} over seeds"


def _metric(suite: Suite, criterion: Criterion) -> Metric:
    metric = suite.metrics.get(criterion.metric) or figures.BUILT_IN.get(criterion.metric)
    return metric or Metric(title=criterion.metric, unit="")
