"""One round: one seed of one case, trained and evaluated in one fresh child process.

    start(loaded, "quality", case, ...) -> Child         run_round(loaded, case, seed, pinned) -> SeedRun
    prepare_data(loaded, case, file, pinned) -> sha256   what every round would load, written once

`runner` runs suites by rounds; whoever measures something else by a suite's cases, such as an entry of the competition,
calls `run_round` itself: nothing is measured in a second way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tito.bench.judge import judge, summarise
from tito.bench.record import CaseResult, SeedRun
from tito.bench.results import RESULTS
from tito.bench.suite import ENGINE_METRICS, Case, LoadedSuite
from tito.errors import RunError
from tito.process import events
from tito.process.child import Child
from tito.process.documents import Limits, expectation, place
from tito.versus import contest

JOBS = "tito.bench.jobs"  # the module that children run
QUIET_TICK = 0.25  # seconds between looks at a child that is being timed: enough to hold it to its limits

ReportEvent = Callable[[events.Event], None]  # receives a child's progress events


def start(
    loaded: LoadedSuite,
    kind: str,
    case: Case,
    seed: int,
    pinned: Mapping[str, str],
    limits: Limits | None = None,
    **more: Any,
) -> Child:
    """Start a child with its job, which waits for `go`; the limits are the suite's if none are given."""
    job = {"kind": kind, "workload": str(loaded.workload), "parameters": case.parameters, "seed": seed, **more}
    return Child(JOBS, job, RESULTS.get(kind), pinned, limits or loaded.suite.limits)


def run_round(
    loaded: LoadedSuite,
    case: Case,
    seed: int,
    pinned: Mapping[str, str],
    limits: Limits | None = None,
    report: ReportEvent | None = None,
) -> SeedRun:
    """Run one seed of a case in a fresh child, without a profile.

    Args:
        case: one of the suite, possibly with other parameters.
        pinned: what the child has set before NumPy is imported.
        limits: those of the suite if not given.
        report: receives the child's progress events.

    Raises:
        RunError: the child failed, died, exceeded a limit, or returned something else than the case declares.
    """
    if case.rival:
        return rival_round(case, seed, dict(pinned))
    metrics = loaded.suite.metrics_of(case)
    with start(loaded, "quality", case, seed, pinned, limits, weights=None, metrics=metrics) as child:
        return seed_run(metrics, seed, result_of(child, report))


def prepare_data(
    loaded: LoadedSuite, case: Case, file: Path, pinned: Mapping[str, str], report: ReportEvent | None = None
) -> str:
    """Let the workload write what its `load` needs to a file, in a child, and return the file's SHA-256.

    Raises:
        RunError: the child failed, or the workload prepares nothing.
    """
    with start(loaded, "prepare", case, case.seeds[0], pinned, file=str(file)) as child:
        return str(result_of(child, report)["sha256"])


def rival_round(case: Case, seed: int, pinned: dict[str, str]) -> SeedRun:
    """Run one round against PyTorch."""
    metrics = contest.run_round(case.rival, case.seeds.index(seed), pinned)
    return SeedRun(seed=seed, metrics=metrics, curve=[], exhibits=[])


def result_of(child: Child, report: ReportEvent | None = None) -> events.Event:
    """Let a child do its job, and return its result."""
    result: events.Event = {}
    for event in child.events(tick=QUIET_TICK):
        if event is None:
            continue
        if event["event"] == "ready":
            child.go()
        elif event["event"] == "progress" and report is not None:
            report(event)
        elif event["event"] == "result":
            result = event
    return result


def seed_run(metrics: list[str], seed: int, result: events.Event) -> SeedRun:
    """Return a child's result as a document, if it is what the case declares."""
    expected = {*metrics, *ENGINE_METRICS}
    if result["metrics"].keys() != expected:
        raise RunError(
            f"returned the metrics {', '.join(sorted(result['metrics']))}; expected {', '.join(sorted(expected))}"
        )
    fields = {key: result[key] for key in ("metrics", "curve", "exhibits", "raw", "conditions") if key in result}
    try:
        return SeedRun.model_validate({"seed": seed, **fields})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, place(first)))
        raise RunError(f"the workload returned an invalid {where}: {expectation(first)}") from None


def case_result(case: Case, runs: list[SeedRun], complete: bool) -> CaseResult:
    """Summarize the rounds of a case and judge them; with rounds missing, no criterion is met."""
    summary = summarise(runs)
    return CaseResult(
        name=case.name,
        title=case.title,
        note=case.note,
        work=case.work,
        parameters=case.parameters,
        runs=runs,
        summary=summary,
        verdicts=judge(case, summary, complete=complete),
    )
