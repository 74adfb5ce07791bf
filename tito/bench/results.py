"""What the jobs of `tito.bench.jobs` may return, checked in the parent.

These models are not in `jobs`, so that a child process does not import pydantic, which takes time.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, NonNegativeInt

from tito.bench.record import Allocation, LatencyRun
from tito.process.documents import Frozen


class QualityResult(Frozen):
    """One training's figures; the runner checks them against the suite."""

    metrics: dict[str, float]
    curve: list[Any]
    exhibits: list[Any]
    parameter_count: NonNegativeInt | None
    raw: dict[str, list[float]] = Field(default={})
    conditions: dict[str, float] = Field(default={})


class AllocationsResult(Frozen):
    """What held a process's memory at its peak."""

    peak: NonNegativeInt
    functions: list[Allocation]


class PrepareResult(Frozen):
    """The hash of the file that was prepared."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class BatchSpeed(Frozen):
    batch: int
    samples_per_second: float = Field(gt=0)


class ProfileResult(LatencyRun):
    """Latency and throughput in one process."""

    throughput: list[BatchSpeed]


RESULTS: dict[str, type[Frozen]] = {
    "quality": QualityResult,
    "profile": ProfileResult,
    "prepare": PrepareResult,
    "allocations": AllocationsResult,
}
