"""The jobs of a benchmark, as they run inside a fresh process: quality, profile, and what is observed.

`tito.process.inside` imports this module and calls `prepare`. `tito.bench.results` holds what the jobs return, for the
parent. Imports NumPy, tinytorch, and the standard library only, because a suite of 100 seeds starts this 100 times.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import itertools
import math
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter  # bound here: a workload may replace those of `time`
from typing import Any

import numpy as np

from tinytorch.base.errors import StateError
from tinytorch.base.files import load_arrays, save_arrays
from tinytorch.benchmarking import measure
from tinytorch.layers import Module
from tito.bench import allocating
from tito.bench.workload import (
    array,
    check_curve,
    check_metrics,
    check_outputs,
    check_queries,
    check_raw,
    load_workload,
)
from tito.process.conditions import Watch
from tito.process.inside import Job, Reporter, WorkloadError

WARMUP = 50  # single queries before the clock counts
THROUGHPUT_SECONDS = 0.3  # how long each batch size runs
FEWEST_BATCHES = 5  # of each size, even if they take longer, but no further batch after MOST_SECONDS: next to a busy
MOST_SECONDS = 3.0  # process, one batch can take 100 times as long as the one before


def prepare(job: Job) -> Callable[[Reporter], dict[str, Any]]:
    """Import the job's workload and return the function that does the job."""
    return functools.partial(JOBS[job["kind"]], load_workload(Path(job["workload"])), job)


def run_quality(workload: Any, job: Job, reporter: Reporter) -> dict[str, Any]:
    """Train with one seed and evaluate; save the weights if the job names a file."""
    parameters, seed = job["parameters"], job["seed"]
    with reporter.phase("load"):
        data = workload.load(parameters)
    with reporter.phase("build"):
        model = workload.build(parameters, seed)
    watch = Watch()
    with reporter.phase("train"):
        curve = workload.train(model, data, parameters, seed, reporter.progress)
    with reporter.phase("evaluate"):
        answer = workload.evaluate(model, data, parameters)
    conditions = watch.read()
    metrics = check_metrics(answer, job["metrics"])
    raw = check_raw(answer.get("raw", {}))
    check_curve(curve)
    metrics |= {f"{name}_seconds": reporter.seconds[name] for name in ("load", "train", "evaluate")}
    parameter_count = None
    if job["weights"]:
        state = {name: array(value) for name, value in model.state_dict().items()}
        save_arrays(job["weights"], state)
        if isinstance(model, Module):
            _save_description(model, Path(job["weights"]).with_name("model.json"))
        parameter_count = sum(array(value).size for value in model.parameters())
    if job.get("models"):
        _keep_model(_optional(workload, "save"), model, Path(job["models"]))
    figures = {"metrics": metrics, "curve": curve, "exhibits": answer.get("exhibits") or []}
    return {**figures, "parameter_count": parameter_count, "raw": raw, "conditions": conditions}


def _save_description(model: Module, path: Path) -> None:
    """Write the description that `tinytorch.saved.load_model` reads, if the model consists of known layers."""
    from tinytorch.saved.writing import save_model

    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(StateError):
        path.write_bytes((save_model(model, Path(folder) / "model") / "model.json").read_bytes())


def run_prepare(workload: Any, job: Job, reporter: Reporter) -> dict[str, Any]:
    """Write what many processes would each have to load to one file, and return its hash."""
    file = Path(job["file"])
    with reporter.phase("load"):
        _optional(workload, "prepare")(job["parameters"], file)
    return {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()}


def _keep_model(save: Callable[[Any, Path], None], model: Any, folder: Path) -> None:
    """Let the workload save the model into a new folder, complete or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as private:
        part = Path(private) / "model"
        save(model, part)
        part.rename(folder)


def _optional(workload: Any, name: str) -> Callable[..., Any]:
    """Return a function that a workload need not have."""
    if not callable(vars(workload).get(name)):
        raise WorkloadError(f"workload.py does not define {name}")
    return vars(workload)[name]


def _trained(workload: Any, job: Job, reporter: Reporter) -> tuple[Callable[[np.ndarray], object], np.ndarray]:
    """Return the trained model's predictor, checked, and the inputs for it."""
    with reporter.phase("load"):
        queries = check_queries(workload.queries(workload.load(job["parameters"]), job["parameters"]))
        predict = _predictor(workload, job)
    check_outputs(predict, queries[:2])
    return predict, queries


def _predictor(workload: Any, job: Job) -> Callable[[np.ndarray], object]:
    model = workload.build(job["parameters"], job["seed"])
    model.load_state_dict(load_arrays(job["weights"])[0])
    return workload.predictor(model)


def run_profile(workload: Any, job: Job, reporter: Reporter) -> dict[str, Any]:
    """Measure the trained model's latency on single queries, then its throughput at each batch size."""
    predict, queries = _trained(workload, job, reporter)
    watch = Watch()
    with reporter.phase("latency"):
        singles = itertools.cycle([queries[i : i + 1] for i in range(len(queries))])  # each (1, ...)
        latency = measure(lambda: predict(next(singles)), samples=job["queries"], warmup=WARMUP)
    result: dict[str, Any] = {
        "samples_us": [round(seconds * 1e6, 3) for seconds in latency.seconds],  # to a nanosecond
        **{f"p{q}_us": latency.percentile(q) * 1e6 for q in (50, 90, 99)},
    }
    with reporter.phase("throughput"):
        result["throughput"] = [
            {"batch": size, "samples_per_second": _throughput(predict, queries, size)} for size in job["batches"]
        ]
    return {**result, "conditions": watch.read()}


def run_stacks(workload: Any, job: Job, reporter: Reporter) -> dict[str, Any]:
    """Train again and again until the parent, which samples the stacks from outside, kills this process."""
    _let_others_trace()
    parameters = job["parameters"]
    with reporter.phase("load"):
        data = workload.load(parameters)
    with reporter.phase("train"):
        while True:
            model = workload.build(parameters, job["seed"])
            workload.train(model, data, parameters, job["seed"], reporter.progress)


def run_serve(workload: Any, job: Job, reporter: Reporter) -> dict[str, Any]:
    """Answer single queries until the parent, which observes this process from outside, kills it."""
    _let_others_trace()
    predict, queries = _trained(workload, job, reporter)
    with reporter.phase("serve"):
        serve_queries(predict, queries, job["seconds"])
    serve_queries(predict, queries, math.inf)  # the phase's memory is known; py-spy may have begun later
    return {}


def serve_queries(predict: Callable[[np.ndarray], object], queries: np.ndarray, seconds: float) -> None:
    """Answer one query after the other for some seconds; stacks of served models begin here."""
    until = perf_counter() + seconds
    singles = itertools.cycle([queries[i : i + 1] for i in range(len(queries))])
    while perf_counter() < until:
        predict(next(singles))


def run_allocations(workload: Any, job: Job, reporter: Reporter) -> dict[str, Any]:
    """Train for some seconds, or load the trained model and answer queries, and return what held the memory.

    The queries of the trained model, and the data that they are taken from, are not among it.
    """
    parameters = job["parameters"]
    queries = check_queries(workload.queries(workload.load(parameters), parameters)) if job["weights"] else None

    def train() -> None:
        data = workload.load(parameters)
        model = workload.build(parameters, job["seed"])
        report = allocating.until(job["seconds"], reporter.progress)
        workload.train(model, data, parameters, job["seed"], report)

    def serve(queries: np.ndarray) -> None:
        serve_queries(_predictor(workload, job), queries, job["seconds"])

    work = train if queries is None else functools.partial(serve, queries)
    return allocating.held_at_the_peak(Path(job["file"]), work)


def run_steps(workload: Any, job: Job, reporter: Reporter) -> dict[str, Any]:
    """Train again and again until the parent, which has seen enough steps, kills this process.

    The progress counts the steps of all trainings, and its figure `harness_seconds` says when.
    """
    parameters = job["parameters"]
    with reporter.phase("load"):
        data = workload.load(parameters)
    with reporter.phase("train"):
        steps = _Steps(reporter)
        while True:
            model = workload.build(parameters, job["seed"])
            workload.train(model, data, parameters, job["seed"], steps.report)
            steps.next_training()


class _Steps:
    """Counts the steps of one training after another."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._before = self._done = 0  # steps of earlier trainings, and of this one

    def report(self, done: int, total: int, **figures: float) -> None:
        self._done = int(done)
        self._reporter.progress(self._before + self._done, self._before + int(total), harness_seconds=perf_counter())

    def next_training(self) -> None:
        if self._done == 0:
            raise WorkloadError("the training reports no progress, so its steps cannot be timed")
        self._before, self._done = self._before + self._done, 0


JOBS: dict[str, Callable[[Any, Job, Reporter], dict[str, Any]]] = {
    "quality": run_quality,
    "profile": run_profile,
    "stacks": run_stacks,
    "serve": run_serve,
    "allocations": run_allocations,
    "prepare": run_prepare,
    "steps": run_steps,
}


def _throughput(predict: Callable[[np.ndarray], object], queries: np.ndarray, size: int) -> float:
    """Return samples per second offline: all samples over the time they took together."""
    rows = np.arange(size * max(1, len(queries) // size)) % len(queries)  # too few samples are repeated
    batches = [queries[part] for part in np.split(rows, len(rows) // size)[:64]]  # each (size, ...)
    turns = itertools.cycle(batches)
    for _ in range(2):
        predict(next(turns))
    count, seconds = 0, 0.0
    while seconds < (THROUGHPUT_SECONDS if count >= FEWEST_BATCHES else MOST_SECONDS):
        batch = next(turns)
        start = perf_counter()
        predict(batch)
        seconds += perf_counter() - start
        count += 1
    return size * count / seconds


def _let_others_trace() -> None:
    """Allow py-spy, a sibling process, to read this one where only ancestors may (Linux with Yama)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1))  # PR_SET_PTRACER, PR_SET_PTRACER_ANY
