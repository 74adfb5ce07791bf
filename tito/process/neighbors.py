"""Who else uses the cores just now, for a run that is about to start and for `tito doctor`."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import psutil

from tinytorch.environment import usable_cores
from tito.errors import printable
from tito.process.conditions import Watch
from tito.process.noise import Noise, judge

SECONDS = 0.5  # the system counts in steps of 10 ms, so this resolves 1% of two cores
MENTIONED = 3  # processes that are named, of those that use at least LEAST of a core
LEAST = 0.05


@dataclass(frozen=True)
class Neighbors:
    """The conditions of `tito.process.conditions` while this process did nothing, and the processes that did."""

    conditions: dict[str, float]
    busiest: tuple[str, ...]  # e.g. "python (process 1401) 56%", a share of one core

    @property
    def noise(self) -> Noise:
        """Whether a run that starts now would be noisy."""
        return judge([("", self.conditions)], self.conditions)

    @property
    def line(self) -> str:
        """The conditions in one line: other processes use 48% of the cores' time: python (process 1401) 56%."""
        load = f"load average {self.conditions['load_average']:.2f}"
        if "others" not in self.conditions:
            return load
        who = f": {', '.join(self.busiest)}" if self.busiest else ""
        return f"{load}; other processes use {self.conditions['others']:.0%} of the cores' time{who}"


def look(seconds: float = SECONDS) -> Neighbors:
    """Watch the machine for a moment in which this process sleeps."""
    before = _cpu_times()
    watch = Watch()
    time.sleep(seconds)
    found = watch.read() | {"cores": float(usable_cores())}
    after = _cpu_times()
    busiest = []
    for key, (name, total) in after.items():
        share = (total - before.get(key, ("", 0.0))[1]) / found["seconds"]  # one that is new began within this moment
        if share >= LEAST:
            busiest.append((share, key[0], name))
    busiest.sort(reverse=True)
    named = tuple(f"{printable(name)} (process {pid}) {share:.0%}" for share, pid, name in busiest[:MENTIONED])
    return Neighbors(found, named)


def _cpu_times() -> dict[tuple[int, float], tuple[str, float]]:
    """Return the name and the CPU time of each process that may be read, apart from this one.

    A process is known by its id and the time of its start: names change, as those of the kernel's threads do.
    """
    found = {}
    for process in psutil.process_iter(["name", "cpu_times", "create_time"]):
        times = process.info["cpu_times"]
        if times is not None and process.pid != os.getpid():
            key = process.pid, process.info["create_time"] or 0.0
            found[key] = process.info["name"] or "?", times.user + times.system
    return found
