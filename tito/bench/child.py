"""What runs inside the fresh process: one job of one workload. `python -m tito.bench.child EVENTS_FD`

Reads a job and then "go", a line each, on stdin; writes events as JSON lines on the pipe EVENTS_FD:

    {"event": "ready"}                       imported; waits for "go"
    {"event": "phase", "name", "start", "end", "peak"}   clock: time.monotonic(), the same in every process
    {"event": "progress", "phase", "done", "total", "figures"}
    {"event": "result", ...}                 the job's figures; nothing follows
    {"event": "failed", "reason"}            one line; nothing follows

Imports NumPy, tinytorch and the standard library only: a suite of 100 seeds starts this 100 times.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import itertools
import json
import math
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from tinytorch.base.errors import StateError
from tinytorch.base.files import load_arrays, save_arrays
from tinytorch.benchmarking import measure
from tinytorch.layers import Module
from tito.bench.orphan import end_with_parent

FUNCTIONS = ("load", "build", "train", "evaluate", "predictor", "queries")
PROGRESS_INTERVAL = 0.1  # seconds: however often a workload reports, the pipe carries ten lines a second
WARMUP = 50  # single queries before the clock counts
THROUGHPUT_SECONDS = 0.3  # how long each batch size runs

Job = dict[str, Any]


class WorkloadError(Exception):
    """A workload that broke its contract; the message is the reason, in one line."""


class Reporter:
    """Writes the events."""

    def __init__(self, pipe: TextIO) -> None:
        self._pipe = pipe
        self._phase = ""
        self._next = 0.0
        self.seconds: dict[str, float] = {}  # by phase

    def send(self, event: str, **fields: Any) -> None:
        self._pipe.write(json.dumps({"event": event, **fields}, default=_plain) + "\n")
        self._pipe.flush()

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase and report when it ran."""
        self._phase, self._next = name, 0.0
        self.progress(0, 1)
        start, clock = time.monotonic(), time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - clock
        # The mark as it is now: what is kept or sent afterwards is the harness's, not the workload's.
        self.send("phase", name=name, start=start, end=time.monotonic(), peak=_peak_memory())

    def progress(self, done: int, total: int, **figures: float) -> None:
        """The `report` that a workload's train gets."""
        now = time.monotonic()
        if now >= self._next or done == total:
            self._next = now + PROGRESS_INTERVAL
            numbers = {
                name: number if math.isfinite(number := float(value)) else None for name, value in figures.items()
            }
            self.send("progress", phase=self._phase, done=int(done), total=int(total), figures=numbers)


def main() -> None:
    """Run one job; whatever goes wrong becomes a "failed" event."""
    end_with_parent()
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)  # what the workload starts shall not hold the pipe open
    with os.fdopen(descriptor, "w") as pipe:
        reporter = Reporter(pipe)
        job = json.loads(sys.stdin.readline())
        try:
            workload = load_workload(Path(job["workload"]))
            reporter.send("ready")
            sys.stdin.readline()
            reporter.send("result", **JOBS[job["kind"]](workload, job, reporter))
        except (Exception, SystemExit) as error:
            reporter.send("failed", reason=_reason(error, job["workload"]))


def load_workload(path: Path) -> Any:
    """Import workload.py by its path, as a package with the files beside it, and check that its functions are there."""
    for name in [name for name in sys.modules if name.startswith("workload.")]:  # another suite's
        del sys.modules[name]
    beside = [str(path.parent)]  # where `from .tasks import Digits` looks
    specification = importlib.util.spec_from_file_location("workload", path, submodule_search_locations=beside)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["workload"] = module  # dataclasses and pickles look their module up there
    specification.loader.exec_module(module)
    missing = [name for name in FUNCTIONS if not callable(vars(module).get(name))]
    if missing:
        raise WorkloadError(f"workload.py does not define {', '.join(missing)}")
    return module


def run_quality(workload: Any, job: Job, reporter: Reporter) -> dict[str, Any]:
    """Train with one seed, evaluate, keep the weights if the job says where."""
    parameters, seed = job["parameters"], job["seed"]
    with reporter.phase("load"):
        data = workload.load(parameters)
    with reporter.phase("build"):
        model = workload.build(parameters, seed)
    with reporter.phase("train"):
        curve = workload.train(model, data, parameters, seed, reporter.progress)
    with reporter.phase("evaluate"):
        answer = workload.evaluate(model, data, parameters)
    metrics = _check_metrics(answer, job["metrics"])
    _check_curve(curve)
    metrics |= {f"{name}_seconds": reporter.seconds[name] for name in ("load", "train", "evaluate")}
    parameter_count = None
    if job["weights"]:
        state = {name: _array(value) for name, value in model.state_dict().items()}
        save_arrays(job["weights"], state)
        if isinstance(model, Module):
            _save_description(model, Path(job["weights"]).with_name("model.json"))
        parameter_count = sum(_array(value).size for value in model.parameters())
    exhibits = answer.get("exhibits", [])
    return {"metrics": metrics, "curve": curve, "exhibits": exhibits, "parameter_count": parameter_count}


def _save_description(model: Module, path: Path) -> None:
    """Put beside the weights what `tinytorch.saving.load_model` builds the model from, if it knows all of its parts."""
    from tinytorch.saved import save_model

    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(StateError):
        path.write_bytes((save_model(model, Path(folder) / "model") / "model.json").read_bytes())


def run_profile(workload: Any, job: Job, reporter: Reporter) -> dict[str, Any]:
    """Latency of single queries, then throughput at each batch size, of the trained model."""
    parameters = job["parameters"]
    with reporter.phase("load"):
        data = workload.load(parameters)
        model = workload.build(parameters, job["seed"])
        model.load_state_dict(load_arrays(job["weights"])[0])
        predict = workload.predictor(model)
        queries = _check_queries(workload.queries(data, parameters))
    _check_outputs(predict, queries[:2])
    with reporter.phase("latency"):
        singles = itertools.cycle([queries[i : i + 1] for i in range(len(queries))])  # each (1, ...)
        latency = measure(lambda: predict(next(singles)), samples=job["queries"], warmup=WARMUP)
    result: dict[str, Any] = {
        "samples_us": [round(seconds * 1e6, 3) for seconds in latency.seconds],  # to the clock's nanosecond
        **{f"p{q}_us": latency.percentile(q) * 1e6 for q in (50, 90, 99)},
    }
    with reporter.phase("throughput"):
        result["throughput"] = [
            {"batch": size, "samples_per_second": _throughput(predict, queries, size)} for size in job["batches"]
        ]
    return result


def run_stacks(workload: Any, job: Job, reporter: Reporter) -> dict[str, Any]:
    """Train again and again until the parent, which watches from outside, ends this process."""
    _let_others_trace()
    parameters = job["parameters"]
    with reporter.phase("load"):
        data = workload.load(parameters)
    with reporter.phase("train"):
        while True:
            model = workload.build(parameters, job["seed"])
            workload.train(model, data, parameters, job["seed"], reporter.progress)


JOBS: dict[str, Callable[[Any, Job, Reporter], dict[str, Any]]] = {
    "quality": run_quality,
    "profile": run_profile,
    "stacks": run_stacks,
}


def _throughput(predict: Callable[[np.ndarray], object], queries: np.ndarray, size: int) -> float:
    """Samples per second offline: all samples over all the time they took."""
    rows = np.arange(size * max(1, len(queries) // size)) % len(queries)  # short of samples, they come again
    batches = [queries[part] for part in np.split(rows, len(rows) // size)[:64]]  # each (size, ...)
    turns = itertools.cycle(batches)
    pilot = measure(lambda: predict(next(turns)), samples=3, warmup=2)
    samples = int(min(max(THROUGHPUT_SECONDS / pilot.median, 5), 100_000))
    timed = measure(lambda: predict(next(turns)), samples=samples, warmup=0)
    return size * samples / float(timed.seconds.sum())


def _check_metrics(answer: object, declared: list[str]) -> dict[str, float]:
    if not isinstance(answer, dict) or not isinstance(answer.get("metrics"), dict):
        raise WorkloadError(f'evaluate returned {_short(answer)}; expected {{"metrics": {{...}}, ...}}')
    metrics: dict[str, float] = {}
    for name in declared:
        if name not in answer["metrics"]:
            raise WorkloadError(f"evaluate gave no metric {name!r}, which suite.yaml declares")
        metrics[name] = _number(answer["metrics"][name], f"metric {name}")
    unknown = answer["metrics"].keys() - metrics.keys()
    if unknown:
        raise WorkloadError(f"evaluate gave {', '.join(sorted(map(str, unknown)))}, not declared in suite.yaml")
    return metrics


def _check_curve(curve: object) -> None:
    if not isinstance(curve, list) or not all(isinstance(row, dict) for row in curve):
        raise WorkloadError(f"train returned {_short(curve)}; expected a list of dicts, the learning curve")
    for i, row in enumerate(curve):
        for name, value in row.items():
            _number(value, f"the learning curve's {name} in row {i}")


def _number(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.floating | np.integer):
        raise WorkloadError(f"{what} is {_short(value)}; expected a number")
    if not math.isfinite(value):
        raise WorkloadError(f"{what} is {value}; expected a finite number")
    return float(value)


def _check_queries(queries: object) -> np.ndarray:
    if not isinstance(queries, np.ndarray) or queries.ndim < 1 or len(queries) == 0:
        raise WorkloadError(f"queries returned {_short(queries)}; expected an array of at least one sample")
    return np.ascontiguousarray(queries)


def _check_outputs(predict: Callable[[np.ndarray], object], inputs: np.ndarray) -> None:
    outputs = predict(inputs)
    if not isinstance(outputs, np.ndarray) or len(outputs) != len(inputs):
        raise WorkloadError(f"predictor gave {_short(outputs)} for {len(inputs)} inputs; expected as many rows")
    if not np.all(np.isfinite(outputs)):
        raise WorkloadError("predictor gave NaN or infinity")


def _array(value: Any) -> np.ndarray:
    """The values of a parameter: an array as it is, or the framework's Tensor."""
    return value if isinstance(value, np.ndarray) else value.data


def _plain(value: object) -> object:
    """NumPy's numbers and arrays as JSON knows them."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise WorkloadError(f"the workload returned {_short(value)}, which is no number, text, list or dict")


def _short(value: object) -> str:
    text = " ".join(repr(value).split())
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"


def _reason(error: BaseException, workload: str) -> str:
    """Type, message and the last line of the workload's files on the way to the error."""
    if isinstance(error, WorkloadError):
        return str(error)
    text = error.msg if isinstance(error, SyntaxError) else str(error)  # whose text names the place as well
    message = " ".join(text.split())[:300]
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        places.append((error.filename or "", error.lineno))
    own = [(file, line) for file, line in places if line and Path(file).parent == Path(workload).parent]
    where = f" ({Path(own[-1][0]).name} line {own[-1][1]})" if own else ""
    return f"{type(error).__name__}{f': {message}' if message else ''}{where}"


def _peak_memory() -> int | None:
    """The kernel's own high-water mark of this process in bytes, where it keeps one (Linux)."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    return next((int(s.split()[1]) * 1024 for s in status.splitlines() if s.startswith("VmHWM:")), None)


def _let_others_trace() -> None:
    """Allow py-spy, a sibling, to look inside where only ancestors may (Linux with Yama)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1))  # PR_SET_PTRACER, PR_SET_PTRACER_ANY


if __name__ == "__main__":
    main()
