"""Observing a child process from outside: its memory over time, and its stacks.

Both probes observe a running process by its id and change nothing in it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import psutil

from tito.bench.record import MemorySample, MemoryTrace, Phase, Stacks
from tito.files import scratch_prefix

# The training that is observed counts as a training time like the others, so observing it must cost nothing: measured
# on a process of 500 MB, 11 µs for RSS and 440 µs for USS (which walks the page tables), together 0.06% of one core.
# Trainings with and without it, alternating on a busy machine, took 1.01 times as long (median of 4 pairs, 0.84 to
# 6.8): no measurable difference.
MEMORY_INTERVAL = 0.1  # seconds between samples of RSS
USS_INTERVAL = 1.0
WORK = re.compile(r"\bworkload\.py\b|^serve_queries \(")
STACK_RATE = 200  # Hz; slows a NumPy network by about 3%, so never in a timed pass


class MemoryProbe:
    """A collector of a child's RSS and USS; `sample` is called at every tick."""

    def __init__(self, process: psutil.Process, started: float) -> None:
        self._process = process
        self._started = started
        self._next = self._next_uss = 0.0
        self._samples: list[MemorySample] = []
        self._phases: list[Phase] = []

    def sample(self) -> None:
        """Take a sample, unless the last one was taken just before."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + MEMORY_INTERVAL * 0.9  # ticks are sometimes a little early
        try:
            uss = None
            if now >= self._next_uss:
                self._next_uss = now + USS_INTERVAL
                uss = self._uss()
            rss = self._process.memory_info().rss
        except psutil.NoSuchProcess:
            return
        if rss:  # a process that has just exited has none
            self._samples.append(MemorySample(seconds=round(now - self._started, 4), rss=rss, uss=uss))

    def phase(self, name: str, start: float, end: float, peak: int | None) -> None:
        """Add a phase that the child reported, on the clock that all processes share.

        `peak` is the kernel's own high-water mark at the end of the phase, which sampling cannot miss.
        """
        start, end = round(start - self._started, 4), round(end - self._started, 4)
        self._phases.append(Phase(name=name, start=start, end=end, peak=peak))

    def trace(self, case: str, seed: int) -> MemoryTrace | None:
        """Return the whole trace; None without samples."""
        if not self._samples:
            return None
        marks = [phase.peak for phase in self._phases if phase.peak is not None]
        return MemoryTrace(
            case=case,
            seed=seed,
            baseline=self._samples[0].rss,
            peak=max([sample.rss for sample in self._samples] + marks),
            interval=MEMORY_INTERVAL,
            samples=self._samples,
            phases=self._phases,
        )

    def _uss(self) -> int | None:
        try:
            return self._process.memory_full_info().uss
        except psutil.AccessDenied:
            return None


class StackProbe:
    """py-spy, attached to a running child for some seconds. Raises OSError if it cannot be started.

    Args:
        lines: whether frames are lines of code; by default they are functions.
        native: whether functions of compiled code are frames as well, where py-spy can read them.
    """

    def __init__(self, executable: str, pid: int, seconds: float, lines: bool = False, native: bool = False) -> None:
        self._native = native
        self._ended: float | None = None
        self._folder = tempfile.TemporaryDirectory(prefix=scratch_prefix("stacks"))
        self._output = Path(self._folder.name) / "stacks.txt"
        command = [executable, "record", "--pid", str(pid), "--format", "raw", *([] if lines else ["--function"])]
        command += ["--native"] if native else []
        command += ["--rate", str(STACK_RATE), "--duration", str(max(1, round(seconds)))]
        self._errors = Path(self._folder.name) / "errors.txt"
        self._started = time.monotonic()
        try:
            with self._errors.open("wb") as errors:
                self._process = subprocess.Popen(
                    [*command, "--output", str(self._output)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                )
        except OSError:
            self._folder.cleanup()
            raise

    def running(self) -> bool:
        """Return whether py-spy is still sampling."""
        if self._ended is None and self._process.poll() is not None:
            self._ended = time.monotonic()
        return self._ended is None

    @property
    def failed(self) -> bool:
        """Whether py-spy ended without stacks."""
        return not self.running() and (self._process.returncode != 0 or not self._output.is_file())

    def stacks(self, label: str, of: Literal["training", "inference"] = "training") -> Stacks | str:
        """Return the stacks, or one line that says why there are none."""
        code = self._process.wait()
        seconds = (self._ended or time.monotonic()) - self._started
        if code != 0:
            return f"py-spy could not read the process: {_first_error(self._errors.read_text())}"
        if not self._output.is_file():
            return "py-spy wrote no stacks"
        collapsed = collapse(self._output.read_text().splitlines())
        if not collapsed:
            return "py-spy sampled no running code of the workload"
        rounded = round(seconds, 3)
        return Stacks(tool=label, rate_hz=STACK_RATE, seconds=rounded, collapsed=collapsed, of=of, native=self._native)

    def close(self) -> None:
        """Kill py-spy if it still runs, and remove its file."""
        if self.running():
            self._process.kill()
        self._process.wait()
        self._folder.cleanup()


def find_py_spy() -> str | None:
    """Return the py-spy that was installed with this Python, or one on the PATH."""
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.is_file() and os.access(beside, os.X_OK) else shutil.which("py-spy")


def py_spy_version(executable: str) -> str:
    """Return the version for the record, e.g. "py-spy 0.4.1"."""
    answer = subprocess.run([executable, "--version"], capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "py-spy"


def collapse(lines: Iterable[str]) -> list[tuple[str, int]]:
    """Return py-spy's stacks from workload.py inwards, without the harness around it or this machine's paths.

    Those of a served model begin with the harness's loop over queries, since its predictor need not be in workload.py.

    >>> collapse(["<module> (tito/bench/jobs.py:9);train (/home/a/suites/b/workload.py:3) 7"])
    [('train (workload.py:3)', 7)]
    """
    counts: Counter[str] = Counter()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        inside = (i for i, frame in enumerate(frames) if WORK.search(frame))
        first = next(inside, None)
        if first is not None and count.isdigit():
            counts[";".join(map(_shorten, frames[first:]))] += int(count)
    return sorted(counts.items())


def _shorten(frame: str) -> str:
    """Return a frame with its file relative to the packages' folder, or else with the file's bare name."""
    match = re.fullmatch(r"(.*) \((.*?)(:\d+)?\)", frame)
    if match is None:
        return frame
    function, file, line = match.group(1), short_file(match.group(2)), match.group(3) or ""
    if re.fullmatch(r"0x[0-9a-f]+", function) and file == "?":
        return "generated code (<generated>)"  # in no library: compiled while the process ran
    if re.fullmatch(r"0x[0-9a-f]+", function):
        function = f"in {file.rpartition('/')[2]}"  # no name is known, and the address is another in each process
    return f"{function} ({file}{line})"


def short_file(file: str) -> str:
    """Return a file's path relative to the packages' folder or to the project's packages, or else its bare name."""
    file = file.rpartition("site-packages/")[2]
    if file.startswith(("/", "\\")) or ":" in file:
        inside = re.search(r"[/\\]((?:tinytorch|tito)[/\\].*)$", file)
        file = inside[1] if inside else re.split(r"[/\\]", file)[-1]
    return file


def _first_error(text: str) -> str:
    """Return py-spy's own reason, without its advice and its Rust backtrace."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    error = next((line for line in lines if line.startswith("Error: ")), lines[-1] if lines else "no message")
    return error.removeprefix("Error: ")
