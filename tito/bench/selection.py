"""Which part of a suite a run covers: cases, seeds, and parameters under --quick and --seeds. No clock, no files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tito.bench.suite import Case, LoadedSuite, ProfilePlan, Suite
from tito.errors import RunError

QUICK_QUERIES = 662  # the fewest that p99 allows
QUICK_STACK_SECONDS = 2.0


def check_seeds(seeds: int | None) -> None:
    """Check how many seeds of each case to run.

    Raises:
        RunError: it is below 1.
    """
    if seeds is not None and seeds < 1:
        raise RunError(f"--seeds {seeds}: expected at least 1")


def left_out(suite: Suite, quick: bool, no_rival: Callable[[], str | None]) -> dict[str, str]:
    """Return the cases that this run leaves out, by name, with the reason.

    Args:
        no_rival: returns why there is no rival to compare with, or None; called only if a case has one.
    """
    why = {case.name: f"with --quick: {case.quick.leave_out}" for case in suite.cases if quick and case.quick.leave_out}
    rivals = [case.name for case in suite.cases if case.rival and case.name not in why]
    reason = no_rival() if rivals else None
    return why | (dict.fromkeys(rivals, reason) if reason else {})


def measurable(
    loaded: LoadedSuite, missing: Callable[[Sequence[str]], str | None]
) -> tuple[LoadedSuite, dict[str, str]]:
    """Return the suite without the metrics that cannot be measured here, and the reason for each title.

    Args:
        missing: returns why some packages cannot be imported, or None; called only if a metric needs them.
    """
    suite = loaded.suite
    groups = {tuple(metric.needs) for metric in suite.metrics.values() if metric.needs}
    reasons = {group: why for group in groups if (why := missing(group))}
    absent = {name: reasons[tuple(m.needs)] for name, m in suite.metrics.items() if tuple(m.needs) in reasons}
    if not absent:
        return loaded, {}
    kept = {name: metric for name, metric in suite.metrics.items() if name not in absent}
    cases = [
        case.model_copy(update={"metrics": [name for name in suite.metrics_of(case) if name in kept]})
        for case in suite.cases
    ]
    overview = suite.overview
    if overview:
        columns = [name for name in overview.columns if name in kept]
        overview = overview.model_copy(update={"columns": columns})
    fewer = suite.model_copy(update={"metrics": kept, "cases": cases, "overview": overview})
    left_out = {suite.metrics[name].title: reason for name, reason in absent.items()}
    return loaded.model_copy(update={"suite": fewer}), left_out


def part_of(suite: Suite, left_out: Mapping[str, str]) -> list[Case]:
    """Return the cases that are not left out."""
    return [case for case in suite.cases if case.name not in left_out]


def as_run(case: Case, seeds: int | None, quick: bool, mine: bool = False) -> Case:
    """Return a case with the seeds and parameters of this run; `mine`: on a learner's own modules."""
    if mine:
        case = case.model_copy(update={"parameters": {**case.parameters, **case.mine}, "seeds": case.seeds[:1]})
    if quick:
        parameters = {**case.parameters, **case.quick.parameters}
        chosen = case.seeds if mine else case.quick.seeds or case.seeds
        case = case.model_copy(update={"seeds": chosen, "parameters": parameters})
    return case.model_copy(update={"seeds": case.seeds[:seeds]})


def fewer_seeds(cases: list[Case], seeds: int | None, quick: bool) -> list[str]:
    """Return how `seeds` cuts the suite short, e.g. ["1 of 3 seeds"]; nothing if the cases have no more seeds."""
    totals = dict.fromkeys(len(as_run(case, None, quick).seeds) for case in cases)
    return [f"{seeds} of {total} seeds" for total in totals if seeds is not None and seeds < total]


def profile_plan(plan: ProfilePlan, quick: bool, mine: bool = False) -> ProfilePlan:
    """Return the profile of this run; `mine`: on a learner's own modules.

    A quick run profiles with one process, the fewest queries, and short stacks.
    """
    if mine and plan.mine:
        plan = plan.model_copy(update={"case": plan.mine})
    if not quick:
        return plan
    seconds = min(plan.stack_seconds, QUICK_STACK_SECONDS)
    return plan.model_copy(update={"repetitions": 1, "queries": QUICK_QUERIES, "stack_seconds": seconds})
