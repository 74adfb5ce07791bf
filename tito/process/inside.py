"""What runs inside a fresh process: one job. `python -m tito.process MODULE EVENTS_FD`

Reads a job and then "go", one line each, from stdin. Writes events as JSON lines to the pipe EVENTS_FD:

    {"event": "ready"}                       everything is imported; waits for "go"
    {"event": "phase", "name", "start", "end", "peak"}   clock: time.monotonic(), the same in every process
    {"event": "progress", "phase", "done", "total", "figures"}
    {"event": "result", ...}                 the job's figures; nothing follows
    {"event": "failed", "reason", "code"}    one line, and a check's code, or "memory"; nothing follows

MODULE does the job, e.g. tito.bench.jobs. It is imported once the job is read. Its function `prepare(job)` returns a
function that accepts a `Reporter` and returns the fields of "result". The job's `workload` is the file of user code
that it runs; a failure names the line in it. Its `data_mb`, if there is one, limits the data allocated after the
imports.

Imports NumPy and the standard library only, because a suite of 100 seeds starts this 100 times.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import resource
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, perf_counter  # bound here: a workload may replace those of `time`
from typing import Any, TextIO

import numpy as np

from tito import overlay
from tito.process.orphan import end_with_parent

PROGRESS_INTERVAL = 0.1  # seconds: however often a workload reports, the pipe carries ten lines a second

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
        """Write one event."""
        self._pipe.write(json.dumps({"event": event, **fields}, default=_plain) + "\n")
        self._pipe.flush()

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase and report when it ran."""
        self._phase, self._next = name, 0.0
        self.progress(0, 1)
        start, clock = monotonic(), perf_counter()
        yield
        self.seconds[name] = perf_counter() - clock
        # The peak so far: memory used for saving and sending from here on is the harness's, not the workload's.
        self.send("phase", name=name, start=start, end=monotonic(), peak=_peak_memory())

    def progress(self, done: int, total: int, **figures: float) -> None:
        """Report progress within a phase; this is the `report` that a workload's train is called with."""
        now = monotonic()
        if now >= self._next or done == total:
            self._next = now + PROGRESS_INTERVAL
            numbers = {
                name: number if math.isfinite(number := float(value)) else None for name, value in figures.items()
            }
            self.send("progress", phase=self._phase, done=int(done), total=int(total), figures=numbers)


def main() -> None:
    """Run one job; every error becomes a "failed" event."""
    end_with_parent()
    module, descriptor = sys.argv[1], int(sys.argv[2])
    os.set_inheritable(descriptor, False)  # processes that the workload starts must not hold the pipe open
    with os.fdopen(descriptor, "w") as pipe:
        reporter = Reporter(pipe)
        job: Job = json.loads(sys.stdin.readline())
        try:
            do = importlib.import_module(module)
            if job.get("mine"):  # from here on, what imports tinytorch gets the learner's modules
                overlay.replace(overlay.Plan(**job["mine"]["plan"]), job["mine"]["folder"])
            run = do.prepare(job)
            limit_data(job.get("data_mb"))
            reporter.send("ready")
            sys.stdin.readline()
            _close_stdin()
            reporter.send("result", **run(reporter))
        except (Exception, SystemExit) as error:
            reporter.send("failed", reason=reason(error, job["workload"]), code=code_of(error))


def _close_stdin() -> None:
    """Let `input()` in a workload fail at once, instead of waiting for the time limit."""
    handle = os.open(os.devnull, os.O_RDONLY)
    os.dup2(handle, 0)
    os.close(handle)


def reason(error: BaseException, workload: str) -> str:
    """Return an error's type and message, and the last line of the workload's files on the way to it."""
    if isinstance(error, WorkloadError):
        return str(error)
    text = error.msg if isinstance(error, SyntaxError) else str(error)  # whose own text also names the place
    message = " ".join(text.split())[:300]
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        places.append((error.filename or "", error.lineno))
    own = [(file, line) for file, line in places if line and Path(file).parent == Path(workload).parent]
    where = f" ({Path(own[-1][0]).name} line {own[-1][1]})" if own else ""
    return f"{type(error).__name__}{f': {message}' if message else ''}{where}"


def code_of(error: BaseException) -> str:
    """Return the code that an error carries as a text of its own, "memory" for a failed allocation, or nothing.

    tinytorch's CheckError carries one. It is not imported here: this process may be about to load another tinytorch.
    """
    if isinstance(error, MemoryError):
        return "memory"
    code = vars(error).get("code", "")
    return code if isinstance(code, str) else ""


def limit_data(megabytes: int | None) -> None:
    """Let allocations fail that exceed today's data by so much, where the system can (Linux).

    Set after the imports and not as a limit on the address space, because OpenBLAS reserves memory that it never uses.
    """
    used = _status("VmData")
    if megabytes is not None and used is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (used + megabytes * 2**20,) * 2)


def short(value: object) -> str:
    """Return a value's type and the first characters of its repr, for an error message."""
    text = " ".join(repr(value).split())
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"


def _plain(value: object) -> object:
    """Return NumPy's numbers and arrays as JSON's types."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise WorkloadError(f"the workload returned {short(value)}, which is not a number, text, list, or dict")


def _peak_memory() -> int | None:
    """Return the kernel's own high-water mark of this process in bytes, where it keeps one (Linux)."""
    return _status("VmHWM")


def _status(name: str) -> int | None:
    """Return one of the kernel's figures of this process in bytes (Linux)."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    return next((int(s.split()[1]) * 1024 for s in status.splitlines() if s.startswith(f"{name}:")), None)
