"""The list of suites, and what a suite fixes."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from tito.bench.suite import Criterion, LoadedSuite, Metric, Suite
from tito.report import figures, units
from tito.terminal.tables import DIRECTION, Command, indented, lines, table


def list_suites(suites: Sequence[LoadedSuite]) -> RenderableType:
    """Return one line for each suite."""
    made = table("suite", "year", "", "data")
    for loaded in suites:
        suite = loaded.suite
        made.add_row(Text(suite.name, style="bold"), str(suite.year), suite.title, ", ".join(suite.data) or "none")
    return made


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
        ("folder", Command(str(loaded.folder))),
        ("run it", Command(f"tito suite run {suite.name}")),
    ]
    return Group(*parts, Text(), lines(pairs), Text())


def _demand_on(suite: Suite, criterion: Criterion) -> str:
    metric = suite.metrics.get(criterion.metric) or figures.BUILT_IN.get(criterion.metric)
    metric = metric or Metric(title=criterion.metric, unit="")
    required = f"{DIRECTION[criterion.direction]} {units.demand(criterion.value, metric.unit)}"
    return f"{metric.title} {required}, {criterion.over} over seeds"
