"""What the machine was like while a process worked: load, stolen time, context switches, CPU time per elapsed time.

    watch = Watch();  ...;  watch.read()

Imports the standard library only, because each child imports it.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path
from time import perf_counter

STAT = Path("/proc/stat")  # Linux: "cpu  user nice system idle iowait irq softirq steal ..."
STEAL = 7


class Watch:
    """Counts from its creation on, for this process and the whole machine."""

    def __init__(self) -> None:
        self.load_average = os.getloadavg()[0]  # over one minute
        self._ticks = _ticks()
        self._usage = resource.getrusage(resource.RUSAGE_SELF)
        self._began = perf_counter()

    def read(self) -> dict[str, float]:
        """Return what was counted so far; without "steal" where the system does not state it.

        load_average: when the watch began. steal: share of the machine's time that the hypervisor took away.
        context_switches: involuntary ones of this process. cpu_per_wall: CPU time of all threads per elapsed time.
        """
        usage, seconds = resource.getrusage(resource.RUSAGE_SELF), perf_counter() - self._began
        cpu = usage.ru_utime + usage.ru_stime - self._usage.ru_utime - self._usage.ru_stime
        found = {
            "load_average": self.load_average,
            "context_switches": float(usage.ru_nivcsw - self._usage.ru_nivcsw),
            "cpu_per_wall": cpu / max(seconds, 1e-9),
        }
        passed = [now - before for now, before in zip(_ticks(), self._ticks, strict=False)]
        if len(passed) > STEAL:
            found["steal"] = max(0.0, passed[STEAL] / max(sum(passed), 1))
        return found


def _ticks() -> list[int]:
    """Return the machine's clock ticks by use, or an empty list where the system does not count them."""
    try:
        first = STAT.read_text().splitlines()[0].split()
    except OSError:
        return []
    return [int(count) for count in first[1:9]]  # guest time is part of user time
