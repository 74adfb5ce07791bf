"""How a suite is run: a fresh child for every seed and repetition, and a record of their measurements.

    load_suite() -> run_suite() -> Record

For each seed of each case, one process trains and evaluates. Then some processes measure the latency and throughput of
the profiled case's model, and py-spy samples a last one. A run that fails still returns a record, with everything
measured until then, the reason, and the status "failed".
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from tinytorch.base.errors import how_to_install
from tito.bench import probes, rounds, selection
from tito.bench.event import Event, Report
from tito.bench.judge import missed_gates
from tito.bench.owncode import OwnCode
from tito.bench.record import (
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
from tito.process.provenance import provenance
from tito.versus import contest

Outcome = tuple[Literal["passed", "gate missed", "failed"], str | None]  # the status and, unless passed, the reason


@dataclass
class _Trained:
    """The results of the profiled case's first seed that its profile needs."""

    weights: Path
    model_bytes: int
    parameter_count: int
    memory: MemoryTrace | None


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
    unfinished: Unfinished | None = None
    cases: list[CaseResult] = field(default_factory=list)
    trained: _Trained | None = None
    latency: list[LatencyRun] = field(default_factory=list)
    throughput: dict[int, list[float]] = field(default_factory=dict)
    stacks: Stacks | None = None
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
    unfinished: Unfinished | None = None,
) -> Record:
    """Run a suite: every case with its seeds, then the profile.

    Args:
        seeds: how many seeds of each case to run, from the first on; None for all.
        quick: use each case's `quick` seeds and parameters, one repetition, and the fewest queries.
        command: the command that repeats the run, for the record.
        blas: the kernel that OpenBLAS uses in the children.
        backend: the kernel backend that tinytorch uses in the children.
        models: a folder to keep the model of each case's first seed in, as it was judged.
        own: a learner's modules to run it on; by default the reference's.
        unfinished: keeps finished seeds and the first one's weights, and has those of an interrupted run.

    Raises:
        RunError: `seeds` is below 1, or a model is kept there already. Failures of a child are in the record instead.
    """
    _check_seeds(seeds)
    created, started, suite = datetime.now(UTC), time.perf_counter(), loaded.suite
    pinned = pinned_environment(blas.environment | pinned_backend(backend))
    left_out = selection.left_out(suite, quick, no_rival=lambda: contest.missing(pinned))
    chosen = selection.part_of(suite, left_out)
    with scratch("run") as folder:
        run = _Run(
            loaded=loaded,
            plan=selection.quick_plan(suite.profile) if quick else suite.profile,
            pinned=pinned,
            report=report,
            weights=unfinished.weights if unfinished else folder / "model.safetensors",
            models=models.resolve() if models else None,
            own=own,
            unfinished=unfinished,
            omitted=[Omission(what=suite.case(name).title, why=why) for name, why in left_out.items()],
        )
        outcome = _run_all(run, [selection.as_run(case, seeds, quick, own is not None) for case in chosen])
        profile = _profile(run)
    altered = [*loaded.altered, *selection.fewer_seeds(chosen, seeds, quick)]
    origin = provenance(suite_sha256=loaded.sha256, blas=blas.record, backend=backend, pinned=pinned, command=command)
    return _record(run, outcome, profile, created, started, quick=quick, altered=altered, provenance=origin)


def _check_seeds(seeds: int | None) -> None:
    if seeds is not None and seeds < 1:
        raise RunError(f"--seeds {seeds}: expected at least 1")


def _check_models(run: _Run, cases: list[Case]) -> None:
    """Check that no model is where one would be kept, apart from those that an interrupted run kept."""
    for case, folder in [(case, run.models / case.name) for case in cases] if run.models else []:
        kept = run.unfinished is not None and run.unfinished.has(case, case.seeds[0])
        if folder.exists() and not kept:
            raise RunError(f"--keep-models: {folder} exists already; expected a folder without it")


def _record(
    run: _Run, outcome: Outcome, profile: Profile | None, created: datetime, started: float, **facts: Any
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
        seconds=time.perf_counter() - started,
        status=status,
        reason=reason,
        metrics=suite.metrics,
        overview=suite.overview,
        cases=run.cases,
        profile=profile,
        omitted=run.omitted,
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
        return "failed", f"{case.name}, latency and throughput: {error}"
    _run_stacks(run, case)
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
            failure = f"{case.name}, seed {seed}: {error}"
            break
        run.report(Event(stage, case.name, seed, len(runs), len(case.seeds), {**runs[-1].metrics}))
    run.cases.append(rounds.case_result(case, runs, complete=failure is None))
    return failure


def _taken_over(run: _Run, case: Case, seed: int) -> SeedRun | None:
    """Return a seed that an interrupted run finished, if it kept all that this run needs."""
    if run.unfinished is None or (run.models and seed == case.seeds[0] and not (run.models / case.name).is_dir()):
        return None
    first = _is_first(run, case)
    kept = run.unfinished.take(case, seed, with_model=first)
    if kept and kept.model and first:
        size = run.weights.stat().st_size
        run.trained = _Trained(run.weights, size, kept.model.parameter_count, kept.model.memory)
    return kept.run if kept else None


def _is_first(run: _Run, case: Case) -> bool:
    """Return whether a case is the profiled one, and its first seed has not run yet."""
    return case.name == run.plan.case and run.trained is None and not case.rival


def _run_seed(run: _Run, case: Case, seed: int) -> SeedRun:
    """Run one seed in one child, and keep what it measured."""
    started = time.perf_counter()
    if case.rival:
        run.report(Event("against PyTorch", case.name, seed, 0, 1, {}))
        measured, model = rounds.rival_round(case, seed, run.pinned), None
    else:
        first = _is_first(run, case)
        measured = _train(run, case, seed, first)
        trained = run.trained if first else None
        model = kept_model(run.weights, trained.parameter_count, trained.memory) if trained else None
    measured = measured.model_copy(update={"seconds": time.perf_counter() - started})
    if run.unfinished:
        run.unfinished.keep(case, measured, model)
    return measured


def _train(run: _Run, case: Case, seed: int, first: bool) -> SeedRun:
    """Run one training in one child; the profiled case's first also yields weights and a memory trace."""
    job: dict[str, Any] = {"weights": str(run.weights) if first else None, "metrics": run.loaded.suite.metrics_of(case)}
    if run.models and seed == case.seeds[0]:
        job["models"] = str(run.models / case.name)
    result: events.Event = {}
    with run.start("quality", case, seed, **job) as child:
        # Only one child is sampled closely, so that sampling does not affect the others' training times.
        memory = probes.MemoryProbe(child.memory, child.started) if first else None
        working = False  # whether the workload is running, so that its memory is sampled
        for event in child.events(tick=probes.MEMORY_INTERVAL if first else QUIET_TICK):
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
    if memory:
        run.trained = _trained(run.weights, result["parameter_count"], memory.trace(case.name, seed))
    return seed_run


def _trained(weights: Path, parameter_count: int | None, memory: MemoryTrace | None) -> _Trained:
    if parameter_count is None or not weights.is_file():
        raise RunError("it exited without saving its weights")
    return _Trained(weights, weights.stat().st_size, parameter_count, memory)


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
    fields = {key: result[key] for key in ("samples_us", "p50_us", "p90_us", "p99_us")}
    run.latency.append(LatencyRun(**fields))
    for row in result["throughput"]:
        run.throughput.setdefault(row["batch"], []).append(row["samples_per_second"])


def _run_stacks(run: _Run, case: Case) -> None:
    """Train once more under py-spy. This pass is not timed, and its failure does not fail the run."""
    executable = probes.find_py_spy()
    if executable is None:
        seen: Stacks | str = f"py-spy is not installed: {how_to_install()}"
    else:
        seen = _watch(run, case, executable)
    if isinstance(seen, Stacks):
        run.stacks = seen
    else:
        run.omitted.append(Omission(what="stacks", why=seen))


def _watch(run: _Run, case: Case, executable: str) -> Stacks | str:
    """Return the stacks that py-spy sampled during a training, or why there are none."""
    spy: probes.StackProbe | None = None
    run.report(Event("stacks", case.name, case.seeds[0], 0, 1, {}))
    try:
        with run.start("stacks", case, case.seeds[0]) as child:
            for event in child.events(tick=QUIET_TICK):
                if event is not None and event["event"] == "ready":
                    child.go()
                training = event is not None and event.get("phase") == "train"
                if training and spy is None:
                    lines = run.own is not None  # a learner wants to see the very line
                    spy = probes.StackProbe(executable, child.pid, run.plan.stack_seconds, lines)
                if spy is not None and not spy.running():
                    break
        if spy is None:
            return "the process exited before its training began"
        return spy.stacks(probes.py_spy_version(executable))
    except RunError as error:
        return f"the process that py-spy sampled failed: {error}"
    except OSError as error:
        return f"py-spy cannot be run: {error.strerror or error}"
    finally:
        if spy is not None:
            spy.close()


def _profile(run: _Run) -> Profile | None:
    """Return the profile, as far as it was measured; None without a trained model of the profiled case."""
    if run.trained is None:
        return None
    if run.trained.memory is None:
        run.omitted.append(Omission(what="memory", why="the process exited before it could be sampled"))
    return Profile(
        case=run.plan.case,
        parameter_count=run.trained.parameter_count,
        model_bytes=run.trained.model_bytes,
        latency=run.latency,
        throughput=[Throughput(batch=b, samples_per_second=s) for b, s in run.throughput.items()],
        memory=run.trained.memory,
        stacks=run.stacks,
    )


def _omit_profile(run: _Run, why: str) -> None:
    """Note why everything that is not yet measured is left out."""
    measured = {"latency": run.latency, "throughput": run.throughput, "stacks": run.stacks}
    run.omitted += [Omission(what=what, why=why) for what, figures in measured.items() if not figures]
