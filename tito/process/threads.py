"""How many threads the children use, and how these wait for each other: fewer on a busy machine, if that is faster.

Next to a busy process, two threads of a matrix product wait for each other: while one works, the other has no core.
Measured on two cores with one other busy process, a product of 16 x 512 by 512 x 784 took 0.18 ms in the median but
0.6 to 28 ms in the mean on two threads, 0.33 to 0.58 ms with threads that sleep as soon as they wait, and 0.27 ms in
both on one thread. On an idle machine nothing is measured, and nothing changes; nor with TINYTORCH_BLAS_KERNEL=inherit.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil

from tinytorch.environment import usable_cores
from tito.process.blas import INHERIT, VARIABLE, run_probe
from tito.process.documents import Frozen

ROUNDS = 3  # fresh processes for each setting, in alternating order
WORTHWHILE = 1.2  # times as fast as all threads: below it, another setting is not worth that records differ by it
# A waiting thread of OpenBLAS sleeps after 2^14 cycles (5 µs) instead of 2^20, and one of OpenMP does not spin.
SLEEPING = {"OPENBLAS_THREAD_TIMEOUT": "14", "GOMP_SPINCOUNT": "0"}
COUNTS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


class ThreadChoice(Frozen):
    """The threads of a run on a busy machine, in its record."""

    threads: int
    cores: int
    sleeping: bool  # whether waiting threads sleep at once
    gain: float | None  # times as fast as one spinning thread for each core, just before the run

    @property
    def usual(self) -> bool:
        """Whether the run has what a run on an idle machine has."""
        return self.threads == self.cores and not self.sleeping

    @property
    def line(self) -> str:
        """The choice in one line: 1 of 2 threads, 4.2 times as fast as 2 on this busy machine."""
        waiting = " that sleep while they wait" if self.sleeping else ""
        gain = "" if self.gain is None else f", {self.gain:.1f} times as fast as usual on this busy machine"
        return f"{self.threads} of {self.cores} threads{waiting}{gain}"


@dataclass(frozen=True)
class Surroundings:
    """The machine that a run begins on, and what the run does about it."""

    before: Mapping[str, float] = field(default_factory=dict)  # its conditions: see tito.process.neighbors
    threads: ThreadChoice | None = None  # None: nothing was tried
    environment: Mapping[str, str] = field(default_factory=dict)  # variables for the children


@dataclass(frozen=True)
class Setting:
    """A number of threads and how they wait, as variables for a child."""

    threads: int
    sleeping: bool

    @property
    def environment(self) -> dict[str, str]:
        return dict.fromkeys(COUNTS, str(self.threads)) | (SLEEPING if self.sleeping else {})


def choose_threads(others: float, kernel: Mapping[str, str]) -> tuple[ThreadChoice, dict[str, str]]:
    """Return the fastest setting on a machine whose other processes use a share `others` of the cores, by measurement.

    Args:
        kernel: the variables that choose OpenBLAS's kernel.
    """
    cores = usable_cores()
    usual = Setting(cores, sleeping=False)
    if os.environ.get(VARIABLE) == INHERIT:  # measure nothing
        return _best(usual, {})
    settings = {usual, Setting(cores, sleeping=True), Setting(max(1, cores - ceil(others * cores)), sleeping=False)}
    seconds: dict[Setting, list[float]] = {setting: [] for setting in settings}
    ordered = sorted(settings, key=lambda setting: (-setting.threads, setting.sleeping))
    for round in range(ROUNDS if cores > 1 else 0):
        for setting in ordered if round % 2 == 0 else reversed(ordered):
            told = run_probe({**kernel, **setting.environment}, "seconds")
            if told.problem is None:
                seconds[setting].append(told.seconds)
    return _best(usual, seconds)


def _best(usual: Setting, seconds: Mapping[Setting, list[float]]) -> tuple[ThreadChoice, dict[str, str]]:
    """Return the setting with the smallest median time, if it is enough faster than the usual one."""
    cores = usual.threads
    medians = {setting: statistics.median(times) for setting, times in seconds.items() if times}
    best = min(medians, key=medians.__getitem__, default=usual)
    gain = medians[usual] / medians[best] if usual in medians else 1.0
    if best == usual or gain < WORTHWHILE:
        return ThreadChoice(threads=cores, cores=cores, sleeping=False, gain=None), {}
    return ThreadChoice(threads=best.threads, cores=cores, sleeping=best.sleeping, gain=gain), best.environment
