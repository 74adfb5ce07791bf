"""The events that a child may send, checked: anything else on the harness's pipe is an error, not a crash.

{"event": "ready"}
{"event": "phase", "name", "start", "end", "peak"}
{"event": "progress", "phase", "done", "total", "figures"}
{"event": "result", ...}        its fields depend on the job
{"event": "failed", "reason", "code"}
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import NonNegativeInt

from tito.errors import RunError, all_printable, printable
from tito.process.documents import Frozen

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
    code: str = ""  # of the check that refused, or "memory"


EVENTS: dict[str, type[Frozen]] = {"ready": Ready, "phase": PhaseDone, "progress": Progress, "failed": Failed}


def decode(line: bytes, result: type[Frozen] | None) -> Event:
    """Return one event of a child; its text is fit to be stored and shown.

    Args:
        line: what the child wrote.
        result: the fields of a "result"; None if the child's job returns none.

    Raises:
        RunError: the line is not an event, or it is "failed", whose reason is then the message.
    """
    try:
        event = all_printable(json.loads(line), keep="\n\t")
        fields = {key: value for key, value in event.items() if key != "event"}
        kinds = EVENTS | ({"result": result} if result else {})
        kinds[event["event"]].model_validate(fields)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):  # ValidationError is a ValueError
        raise RunError(f"wrote {line[:60]!r} to the pipe that is reserved for the harness") from None
    if event["event"] == "failed":
        raise RunError(printable(event["reason"]), event.get("code", ""))
    return event
