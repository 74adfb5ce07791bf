"""Where a process's memory goes, by memray (the extra `memray`): the functions that held the most at the peak.

memray replaces the allocator's functions inside the process, which slows it down, so this is a pass of its own.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

MOST = 10  # functions that are listed


class Enough(BaseException):
    """Ends a training that has been observed for long enough; no workload catches it by accident."""


def version() -> str | None:
    """Return memray's name and version, or None if it is not installed."""
    if importlib.util.find_spec("memray") is None:
        return None
    return f"memray {importlib.metadata.version('memray')}"


def until(seconds: float, report: Callable[..., None]) -> Callable[..., None]:
    """Return a `report` for a workload's train that raises Enough after some seconds."""
    end = monotonic() + seconds

    def limited(done: int, total: int, **figures: float) -> None:
        report(done, total, **figures)
        if monotonic() > end:
            raise Enough

    return limited


def held_at_the_peak(file: Path, work: Callable[[], object]) -> dict[str, Any]:
    """Do the work under memray and return the peak in bytes, and who held how much of it, largest first.

    Args:
        file: where memray writes; it must not exist.
    """
    import memray

    with memray.Tracker(file), contextlib.suppress(Enough):
        work()
    counts: Counter[tuple[str, str]] = Counter()
    with memray.FileReader(file) as reader:
        for record in reader.get_high_watermark_allocation_records(merge_threads=True):
            counts[_place(record.stack_trace(max_stacks=1))] += record.size
        peak = int(reader.metadata.peak_memory)
    functions = [{"function": name, "file": source, "bytes": size} for (name, source), size in counts.most_common(MOST)]
    return {"peak": peak, "functions": functions}


def _place(frames: list[tuple[str, str, int]]) -> tuple[str, str]:
    """Return the function and the file of the innermost frame; libraries allocate some memory without one."""
    return frames[0][:2] if frames else ("outside Python", "")
