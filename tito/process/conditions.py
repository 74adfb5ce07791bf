"""What the machine was like while a process worked: who used its cores, stolen time, context switches, and clocks.

    watch = Watch();  ...;  watch.read()

`tito.process.noise` judges the figures. Imports the standard library only, because each child imports it.
"""

from __future__ import annotations

import os
import re
import resource
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

STAT = Path("/proc/stat")  # Linux: "cpu0 user nice system idle iowait irq softirq steal ...", for each core
THREADS = Path(
    "/proc/self/task"
)  # Linux: TID/schedstat is "nanoseconds on a core, nanoseconds waiting for one, slices"
CPUINFO = Path("/proc/cpuinfo")  # Linux on x86: "cpu MHz : 2300.1", for each core
CLOCKS = "/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq"  # Linux, in kHz; absent in most virtual machines
IDLE, IOWAIT, STEAL = 3, 4, 7


class Watch:
    """Counts from its creation on, for this process and the cores that it may use."""

    def __init__(self) -> None:
        self._load_average = os.getloadavg()[0]  # over one minute
        self._delay = _delay()
        self._switches, self._cpu = _usage()
        self._ticks = ticks()
        self._began = perf_counter()

    def read(self) -> dict[str, float]:
        """Return what was counted so far, without the figures that the system does not provide.

        seconds: the time that passed.
        load_average, load_after: the system's load average over one minute, at the beginning and now.
        cpu_per_wall: CPU time of all threads per elapsed time.
        context_switches: involuntary ones, where another thread took this process's core.
        waiting: time that threads of this process were ready to run but had no core, per elapsed time.
        others: share of the cores' time that other processes used. steal: share that the hypervisor took away.
        mhz: the clock now, as the mean over the cores.
        """
        seconds = max(perf_counter() - self._began, 1e-9)
        now, (switches, cpu) = ticks(), _usage()
        found = {
            "seconds": seconds,
            "load_average": self._load_average,
            "load_after": os.getloadavg()[0],
            "cpu_per_wall": (cpu - self._cpu) / seconds,
            "context_switches": float(switches - self._switches),
        }
        delay, mhz = _delay(), _mhz()
        if delay is not None and self._delay is not None:
            found["waiting"] = max(0.0, delay - self._delay) / seconds
        if now is not None and self._ticks is not None:
            found |= shares(self._ticks, now, cpu - self._cpu)
        return found if mhz is None else found | {"mhz": mhz}


@dataclass(frozen=True)
class Ticks:
    """Seconds of the usable cores since the system was started."""

    busy: float  # running processes or the kernel
    stolen: float
    total: float


def ticks() -> Ticks | None:
    """Return the time of the cores that this process may use, by use; None where the system does not count it."""
    try:
        lines = [line.split() for line in STAT.read_text().splitlines() if line.startswith("cpu")]
        cores = {f"cpu{core}" for core in os.sched_getaffinity(0)}
        rows = [[int(count) for count in counts[:8]] for core, *counts in lines if core in cores]
    except (OSError, ValueError, AttributeError):
        return None
    if not rows or min(map(len, rows)) <= STEAL:
        return None
    second = os.sysconf("SC_CLK_TCK")
    stolen, total = sum(row[STEAL] for row in rows), sum(map(sum, rows))  # guest time is part of user time
    unused = sum(row[IDLE] + row[IOWAIT] for row in rows)
    return Ticks((total - unused - stolen) / second, stolen / second, total / second)


def shares(before: Ticks, after: Ticks, own: float) -> dict[str, float]:
    """Return the shares of the cores' time between two readings: of other processes, and of the hypervisor.

    Args:
        own: seconds that this process itself computed.
    """
    total = max(after.total - before.total, 1e-9)
    others = max(0.0, after.busy - before.busy - own) / total
    return {"others": min(1.0, others), "steal": min(1.0, max(0.0, after.stolen - before.stolen) / total)}


def _usage() -> tuple[int, float]:
    """Return the involuntary context switches and the CPU time of this process; the time with its ended children's."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_nivcsw, own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _delay() -> float | None:
    """Return the seconds that the living threads of this process have waited for a core."""
    try:
        counts = [(thread / "schedstat").read_text().split() for thread in THREADS.iterdir()]
        return sum(int(count[1]) for count in counts) * 1e-9
    except (OSError, ValueError, IndexError):
        return None


def _mhz() -> float | None:
    """Return the clock of the usable cores, as their mean."""
    try:
        cores = sorted(os.sched_getaffinity(0))
        return sum(int(Path(CLOCKS.format(core=core)).read_text()) for core in cores) / len(cores) / 1000
    except (OSError, ValueError, AttributeError):
        pass
    try:
        found = re.findall(r"^cpu MHz\s*: *([\d.]+)$", CPUINFO.read_text(), re.MULTILINE)
    except OSError:
        return None
    return sum(map(float, found)) / len(found) if found else None
