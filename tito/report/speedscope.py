"""Stacks in speedscope's file format, for https://www.speedscope.app or `npm install -g speedscope`.

The format is https://www.speedscope.app/file-format-schema.json. A record keeps how often each stack was seen, not
when, so the samples are in no order of time: use speedscope's "Left Heavy" and "Sandwich" views.
"""

from __future__ import annotations

from typing import Any

from tito.bench.record import Stacks
from tito.report.flame import FRAME

SCHEMA = "https://www.speedscope.app/file-format-schema.json"


def speedscope(stacks: Stacks, name: str) -> dict[str, Any]:
    """Return one sampled profile: each different stack once, with its time in seconds as its weight."""
    frames: dict[str, int] = {}
    samples = [
        [frames.setdefault(frame, len(frames)) for frame in stack.split(";") if frame] for stack, _ in stacks.collapsed
    ]
    weights = [count / stacks.rate_hz for _, count in stacks.collapsed]
    return {
        "$schema": SCHEMA,
        "exporter": "tito",
        "name": name,
        "activeProfileIndex": 0,
        "shared": {"frames": [_frame(frame) for frame in frames]},
        "profiles": [
            {
                "type": "sampled",
                "name": f"{stacks.tool} at {stacks.rate_hz} Hz, in no order of time",
                "unit": "seconds",
                "startValue": 0,
                "endValue": sum(weights),
                "samples": samples,
                "weights": weights,
            }
        ],
    }


def _frame(frame: str) -> dict[str, Any]:
    """Return py-spy's frame in parts: "fit (tinytorch/training.py:210)" has a name, a file, and a line."""
    found = FRAME.match(frame)
    if not found:
        return {"name": frame}
    where = {"file": found["file"]} | ({"line": int(found["line"])} if found["line"] else {})
    return {"name": found["function"], **where}
