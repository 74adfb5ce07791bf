"""The jobs of a benchmark, as they run inside a fresh process: quality, profile, stacks, and prepare.

`tito.process.inside` imports this module and calls `prepare`. `tito.bench.results` holds what the jobs return, for the
parent. Imports NumPy, tinytorch, and the standard library only, because a suite of 100 seeds starts this 100 times.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import itertools
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
    with reporter.phase("train"):
        curve = workload.train(model, data, parameters, seed, reporter.progress)
    watch = Watch()
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


def run_profile(workload: Any, job: Job, reporter: Reporter) -> dict[str, Any]:
    """Measure the trained model's latency on single queries, then its throughput at each batch size."""
    parameters = job["parameters"]
    with reporter.phase("load"):
        data = workload.load(parameters)
        model = workload.build(parameters, job["seed"])
        model.load_state_dict(load_arrays(job["weights"])[0])
        predict = workload.predictor(model)
        queries = check_queries(workload.queries(data, parameters))
    check_outputs(predict, queries[:2])
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
    return result


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
    "prepare": run_prepare,
    "steps": run_steps,
}


def _throughput(predict: Callable[[np.ndarray], object], queries: np.ndarray, size: int) -> float:
    """Return samples per second offline: all samples over the time they took together."""
    rows = np.arange(size * max(1, len(queries) // size)) % len(queries)  # too few samples are repeated
    batches = [queries[part] for part in np.split(rows, len(rows) // size)[:64]]  # each (size, ...)
    turns = itertools.cycle(batches)
    pilot = measure(lambda: predict(next(turns)), samples=3, warmup=2)
    samples = int(min(max(THROUGHPUT_SECONDS / pilot.median, 5), 100_000))
    timed = measure(lambda: predict(next(turns)), samples=samples, warmup=0)
    return size * samples / float(timed.seconds.sum())


def _let_others_trace() -> None:
    """Allow py-spy, a sibling process, to read this one where only ancestors may (Linux with Yama)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1))  # PR_SET_PTRACER, PR_SET_PTRACER_ANY
