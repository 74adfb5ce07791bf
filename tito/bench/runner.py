"""How a suite is run: a fresh child for every seed and repetition, and a record of their measurements.

    load_suite() -> run_suite() -> Record

For each seed of each case, one process trains and evaluates. Then some processes measure the latency and throughput of
the profiled case's model, and a last one is observed (see `observing`). A run that fails still returns a record, with
everything measured until then, the reason, and the status "failed".
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from tito.bench import allocating, coverage, observing, probes, rounds, selection
from tito.bench.event import Event, Report
from tito.bench.judge import missed_gates
from tito.bench.owncode import OwnCode
from tito.bench.record import (
    Allocations,
    CaseResult,
    LatencyRun,
    MemoryTrace,
    Omission,
    Profile,
    Record,
    SeedRun,
    Stacks,
    Throughput,
)
from tito.bench.rounds import QUIET_TICK
from tito.bench.suite import Case, LoadedSuite, ProfilePlan
from tito.bench.unfinished import Unfinished, kept_model
from tito.errors import RunError
from tito.files import scratch
from tito.process import events
from tito.process.backend import BackendChoice, pinned_backend
from tito.process.blas import KernelChoice
from tito.process.child import Child
from tito.process.environment import pinned_environment
from tito.process.provenance import Provenance, provenance
from tito.process.threads import Surroundings

UNKNOWN = Surroundings()
Outcome = tuple[Literal["passed", "gate missed", "failed"], str | None]  # the status and, unless passed, the reason


@dataclass
class _Trained:
    """The results of the profiled case's first seed that its profile needs."""

    weights: Path
    model_bytes: int
    parameter_count: int


@dataclass
class _Run:
    """A run in progress: its fixed settings, and the measurements so far."""

    loaded: LoadedSuite
    plan: ProfilePlan
    pinned: dict[str, str]
    report: Report
    weights: Path
    models: Path | None = None
    own: OwnCode | None = None
    around: Surroundings = field(default_factory=Surroundings)
    unfinished: Unfinished | None = None
    cases: list[CaseResult] = field(default_factory=list)
    trained: _Trained | None = None
    latency: list[LatencyRun] = field(default_factory=list)
    throughput: dict[int, list[float]] = field(default_factory=dict)
    stacks: Stacks | None = None
    memory: MemoryTrace | None = None
    allocations: Allocations | None = None
    omitted: list[Omission] = field(default_factory=list)

    def start(self, kind: str, case: Case, seed: int, **more: Any) -> Child:
        """Start a child with its job; it waits for `go`."""
        if self.own is None:
            return rounds.start(self.loaded, kind, case, seed, self.pinned, **more)
        return rounds.start(self.loaded, kind, case, seed, self.pinned, self.own.limits, mine=self.own.job(), **more)

    def progress(self, case: Case, seed: int, event: events.Event) -> None:
        self.report(Event(event["phase"], case.name, seed, event["done"], event["total"], event["figures"]))


def run_suite(
    loaded: LoadedSuite,
    *,
    seeds: int | None,
    quick: bool,
    command: str,
    blas: KernelChoice,
    backend: BackendChoice,
    report: Report,
    models: Path | None = None,
    own: OwnCode | None = None,
    around: Surroundings = UNKNOWN,
    unfinished: Unfinished | None = None,
) -> Record:
    """Run a suite: every case with its seeds, then the profile.

    Args:
        seeds: how many seeds of each case to run, from the first on; None for all.
        quick: use each case's `quick` seeds and parameters, one repetition, and the fewest queries.
        command: the command that repeats the run, for the record.
        blas, backend: OpenBLAS's kernel and tinytorch's kernel backend in the children.
        models: a folder to keep the model of each case's first seed in, as it was judged.
        own, around: a learner's modules to run it on, and the machine before the run with the threads that suit it.
        unfinished: keeps finished seeds and the first one's weights, and has those of an interrupted run.

    Raises:
        RunError: `seeds` is below 1, or a model is kept there already. Failures of a child are in the record instead.
    """
    selection.check_seeds(seeds)
    created, started = datetime.now(UTC), time.perf_counter()
    pinned = pinned_environment({**blas.environment, **pinned_backend(backend), **around.environment})
    loaded, chosen, omitted = coverage.covered(loaded, quick, pinned)
    with scratch("run") as folder:
        run = _Run(
            loaded=loaded,
            plan=selection.profile_plan(loaded.suite.profile, quick, own is not None),
            pinned=pinned,
            report=report,
            weights=unfinished.weights if unfinished else folder / "model.safetensors",
            models=models.resolve() if models else None,
            own=own,
            around=around,
            unfinished=unfinished,
            omitted=omitted,
        )
        outcome = _run_all(run, [selection.as_run(case, seeds, quick, own is not None) for case in chosen])
    altered = [*loaded.altered, *selection.fewer_seeds(chosen, seeds, quick)]
    facts = {"quick": quick, "altered": altered, "provenance": _origin(run, blas, backend, command)}
    return _record(run, outcome, _profile(run), created, time.perf_counter() - started, **facts)


def _origin(run: _Run, blas: KernelChoice, backend: BackendChoice, command: str) -> Provenance:
    return provenance(
        suite_sha256=run.loaded.sha256,
        blas=blas.record,
        backend=backend,
        threads=run.around.threads,
        pinned=run.pinned,
        command=command,
    )


def _check_models(run: _Run, cases: list[Case]) -> None:
    """Check that no model is where one would be kept, apart from those that an interrupted run kept."""
    for case, folder in [(case, run.models / case.name) for case in cases] if run.models else []:
        kept = run.unfinished is not None and run.unfinished.has(case, case.seeds[0])
        if folder.exists() and not kept:
            raise RunError(f"--keep-models: {folder} exists already; expected a folder without it")


def _record(
    run: _Run, outcome: Outcome, profile: Profile | None, created: datetime, seconds: float, **facts: Any
) -> Record:
    """Return the record of a run: its suite, its measurements, and its outcome."""
    suite = run.loaded.suite
    status, reason = outcome
    return Record(
        id=f"{created:%Y%m%dT%H%M%SZ}-{suite.name}-{secrets.token_hex(3)}",
        suite=suite.name,
        year=suite.year,
        title=suite.title,
        story=suite.story,
        created=created,
        seconds=seconds,
        status=status,
        reason=reason,
        metrics=suite.metrics,
        overview=suite.overview,
        cases=run.cases,
        profile=profile,
        omitted=run.omitted,
        before=dict(run.around.before),
        mine=run.own.facts if run.own else None,
        resumed=run.unfinished.resumed if run.unfinished else None,
        **facts,
    )


def _run_all(run: _Run, cases: list[Case]) -> Outcome:
    """Run the cases, then the profile; the first failure ends the run."""
    _check_models(run, cases)
    run.report(Event("start", "", None, 0, 1, {}, tuple((case.name, len(case.seeds)) for case in cases)))
    for case in cases:
        failure = _run_case(run, case)
        if failure:
            _omit_profile(run, "the run failed before this measurement")
            return "failed", failure
    missed = missed_gates(run.cases)
    if missed:
        # As in MLPerf: a speed counts only for a model that meets its quality target.
        _omit_profile(run, "speed is measured only for a model that meets its gates")
        return "gate missed", missed
    profiled = [case for case in cases if case.name == run.plan.case]
    if not profiled:
        _omit_profile(run, f"its case, {run.plan.case}, was not run")
        return "passed", None
    (case,) = profiled
    try:
        for repetition in range(run.plan.repetitions):
            _run_profile(run, case, repetition)
    except RunError as error:
        _omit_profile(run, "the run failed before this measurement")
        return "failed", f"{case.name}, latency and throughput: {_explained(run, error)}"
    _observe(run, case)
    _allocations(run, case)
    return "passed", None


def _run_case(run: _Run, case: Case) -> str | None:
    """Run the seeds of one case up to the first that fails; return why it failed."""
    runs: list[SeedRun] = []
    failure = None
    for seed in case.seeds:
        done = _taken_over(run, case, seed)
        stage = "seed kept" if done else "seed done"
        try:
            runs.append(done or _run_seed(run, case, seed))
        except RunError as error:
            failure = f"{case.name}, seed {seed}: {_explained(run, error)}"
            break
        run.report(Event(stage, case.name, seed, len(runs), len(case.seeds), {**runs[-1].metrics}))
    run.cases.append(rounds.case_result(case, runs, complete=failure is None))
    return failure


def _explained(run: _Run, error: RunError) -> str:
    """Return why a process failed, and where its limit is written, if it was that; a learner's limits are longer."""
    limit = {"time": "seconds", "memory": "memory_mb"}.get(error.code)
    return str(error) if limit is None or run.own else f"{error} (`limits: {limit}` in the suite's suite.yaml)"


def _taken_over(run: _Run, case: Case, seed: int) -> SeedRun | None:
    """Return a seed that an interrupted run finished, if it kept all that this run needs."""
    if run.unfinished is None or (run.models and seed == case.seeds[0] and not (run.models / case.name).is_dir()):
        return None
    first = _is_first(run, case)
    kept = run.unfinished.take(case, seed, with_model=first)
    if kept and kept.model and first:
        run.trained = _Trained(run.weights, run.weights.stat().st_size, kept.model.parameter_count)
        run.memory = kept.model.memory
    return kept.run if kept else None


def _is_first(run: _Run, case: Case) -> bool:
    """Return whether a case is the profiled one, and its first seed has not run yet."""
    return case.name == run.plan.case and run.trained is None and not case.rival


def _run_seed(run: _Run, case: Case, seed: int) -> SeedRun:
    """Run one seed in one child, and keep what it measured."""
    started = time.perf_counter()
    first = _is_first(run, case)
    if case.rival:
        run.report(Event("against PyTorch", case.name, seed, 0, 1, {}))
        measured = rounds.rival_round(case, seed, run.pinned)
    else:
        measured = _train(run, case, seed, first)
    measured = measured.model_copy(update={"seconds": time.perf_counter() - started})
    if run.unfinished:
        model = kept_model(run.weights, run.trained.parameter_count, run.memory) if first and run.trained else None
        run.unfinished.keep(case, measured, model)
    return measured


def _train(run: _Run, case: Case, seed: int, first: bool) -> SeedRun:
    """Run one training in one child; the profiled case's first also yields weights and a memory trace."""
    observed = first and run.plan.observe == "training"
    job: dict[str, Any] = {"weights": str(run.weights) if first else None, "metrics": run.loaded.suite.metrics_of(case)}
    if run.models and seed == case.seeds[0]:
        job["models"] = str(run.models / case.name)
    result: events.Event = {}
    with run.start("quality", case, seed, **job) as child:
        # Only one child is sampled closely, so that sampling does not affect the others' training times.
        memory = probes.MemoryProbe(child.memory, child.started) if observed else None
        working = False  # whether the workload is running, so that its memory is sampled
        for event in child.events(tick=probes.MEMORY_INTERVAL if observed else QUIET_TICK):
            kind = event["event"] if event else None
            working = (working or kind == "ready") and not (event and event.get("name") == "evaluate")
            if memory and working:
                memory.sample()
            if kind == "ready":
                child.go()  # not earlier: the first sample is the baseline, before anything is loaded
            elif memory and event and kind == "phase":
                memory.phase(event["name"], event["start"], event["end"], event["peak"])
            elif event and kind == "progress":
                run.progress(case, seed, event)
                if run.own:
                    run.own.look_ahead(event)
            elif event and kind == "result":
                result = event
    seed_run = rounds.seed_run(run.loaded.suite.metrics_of(case), seed, result)
    if first:
        run.trained = _trained(run.weights, result["parameter_count"])
    if memory:
        run.memory = memory.trace(case.name, seed)
    return seed_run


def _trained(weights: Path, parameter_count: int | None) -> _Trained:
    if parameter_count is None or not weights.is_file():
        raise RunError("it exited without saving its weights")
    return _Trained(weights, weights.stat().st_size, parameter_count)


def _run_profile(run: _Run, case: Case, repetition: int) -> None:
    """Measure latency and throughput in one fresh process."""
    job = {"weights": str(run.weights), "queries": run.plan.queries, "batches": run.plan.batches}
    result: events.Event = {}
    with run.start("profile", case, case.seeds[0], **job) as child:
        for event in child.events(tick=QUIET_TICK):
            if event is None:
                continue
            if event["event"] == "ready":
                child.go()
            elif event["event"] == "progress":
                event |= {"done": repetition, "total": run.plan.repetitions}
                run.progress(case, case.seeds[0], event)
            elif event["event"] == "result":
                result = event
    run.latency.append(LatencyRun(**{key: value for key, value in result.items() if key in LatencyRun.model_fields}))
    for row in result["throughput"]:
        run.throughput.setdefault(row["batch"], []).append(row["samples_per_second"])


def _observe(run: _Run, case: Case) -> None:
    """Observe the training or the served model once more. This pass is not timed, and its failure is not the run's."""
    run.report(Event("stacks", case.name, case.seeds[0], 0, 1, {}))
    inference = run.plan.observe == "inference"
    job = {"weights": str(run.weights), "seconds": run.plan.stack_seconds} if inference else {}

    def start() -> Child:
        return run.start("serve" if inference else "stacks", case, case.seeds[0], **job)

    seen = observing.observe(start, run.plan, case.name, case.seeds[0], lines=run.own is not None)
    if isinstance(seen.stacks, Stacks):
        run.stacks = seen.stacks
    else:
        run.omitted.append(Omission(what="stacks", why=seen.stacks))
    if inference and isinstance(seen.memory, MemoryTrace):
        run.memory = seen.memory
    elif inference:
        run.omitted.append(Omission(what="memory", why=str(seen.memory)))


def _allocations(run: _Run, case: Case) -> None:
    """Find out what holds the memory, if memray is installed. Its failure is not the run's."""
    tool = allocating.version()
    if tool is None:
        return
    run.report(Event("allocations", case.name, case.seeds[0], 0, 1, {}))
    inference = run.plan.observe == "inference"
    job = {"weights": str(run.weights) if inference else None, "seconds": run.plan.stack_seconds}
    try:
        with scratch("memray") as folder:
            child = run.start("allocations", case, case.seeds[0], file=str(folder / "memory.bin"), **job)
            with child:
                found = rounds.result_of(child)
    except RunError as error:
        run.omitted.append(Omission(what="allocations", why=str(error)))
        return
    functions = [one | {"file": probes.short_file(one["file"])} for one in found["functions"]]
    run.allocations = Allocations(tool=tool, of=run.plan.observe, peak=found["peak"], functions=functions)


def _profile(run: _Run) -> Profile | None:
    """Return the profile, as far as it was measured; None without a trained model of the profiled case."""
    if run.trained is None:
        return None
    if run.memory is None and run.plan.observe == "training":
        run.omitted.append(Omission(what="memory", why="the process exited before it could be sampled"))
    return Profile(
        case=run.plan.case,
        parameter_count=run.trained.parameter_count,
        model_bytes=run.trained.model_bytes,
        latency=run.latency,
        throughput=[Throughput(batch=b, samples_per_second=s) for b, s in run.throughput.items()],
        memory=run.memory,
        stacks=run.stacks,
        allocations=run.allocations,
    )


def _omit_profile(run: _Run, why: str) -> None:
    """Note why everything that is not yet measured is left out."""
    measured: dict[str, object] = {"latency": run.latency, "throughput": run.throughput, "stacks": run.stacks}
    if run.plan.observe == "inference":
        measured["memory"] = run.memory
    run.omitted += [Omission(what=what, why=why) for what, figures in measured.items() if not figures]
