"""What a child may say, checked: whatever a workload writes into the harness's pipe is an error, not a crash.

{"event": "ready"}
{"event": "phase", "name", "start", "end", "peak"}
{"event": "progress", "phase", "done", "total", "figures"}
{"event": "result", ...}        its fields depend on the kind of the job
{"event": "failed", "reason"}
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field, NonNegativeInt

from tito.bench.record import LatencyRun
from tito.bench.suite import Frozen
from tito.errors import RunError, printable

Event = dict[str, Any]


class Ready(Frozen):
    pass


class PhaseDone(Frozen):
    name: str
    start: float
    end: float
    peak: NonNegativeInt | None


class Progress(Frozen):
    phase: str
    done: int
    total: int
    figures: dict[str, float | None]  # None for a figure that is NaN or infinite


class Failed(Frozen):
    reason: str


class QualityResult(Frozen):
    """What is in these is checked against the suite, by the runner."""

    metrics: dict[str, float]
    curve: list[Any]
    exhibits: list[Any]
    parameter_count: NonNegativeInt | None


class BatchSpeed(Frozen):
    batch: int
    samples_per_second: float = Field(gt=0)


class ProfileResult(LatencyRun):
    throughput: list[BatchSpeed]


EVENTS: dict[str, type[Frozen]] = {"ready": Ready, "phase": PhaseDone, "progress": Progress, "failed": Failed}
RESULTS: dict[str, type[Frozen]] = {"quality": QualityResult, "profile": ProfileResult}


def decode(line: bytes, job: str) -> Event:
    """One event of a child that does a job of that kind; text in it is fit to be stored and shown.

    Raises:
        RunError: it is none, or it is "failed", whose reason is then the message.
    """
    try:
        event = _clean(json.loads(line))
        fields = {key: value for key, value in event.items() if key != "event"}
        kinds = EVENTS | ({"result": RESULTS[job]} if job in RESULTS else {})
        kinds[event["event"]].model_validate(fields)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):  # ValidationError is a ValueError
        raise RunError(f"wrote {line[:60]!r} where only the harness writes") from None
    if event["event"] == "failed":
        raise RunError(printable(event["reason"]))
    return event


def _clean(value: Any) -> Any:
    """The same with every text made printable, lines and tabs apart."""
    if isinstance(value, str):
        return value if value.isprintable() else printable(value, keep="\n\t")
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return value
