"""tito.process.events: each kind of event has its fields; all else is one line, whatever it is."""

from __future__ import annotations

import doctest
import json

import pytest

from tito import errors
from tito.bench.results import RESULTS
from tito.errors import RunError
from tito.process.events import decode

PHASE = {"event": "phase", "name": "train", "start": 1.0, "end": 2.0, "peak": None}
QUALITY = {"event": "result", "metrics": {"a": 1.0}, "curve": [], "exhibits": [], "parameter_count": 3}
PROFILE = {"event": "result", "samples_us": [1.0], "p50_us": 1.0, "p90_us": 1.0, "p99_us": 1.0, "throughput": []}
PROGRESS = {"event": "progress", "phase": "train", "done": 1, "total": 2, "figures": {"loss": None}}


def test_examples_in_docstrings_are_true():
    assert doctest.testmod(errors).failed == 0


@pytest.mark.parametrize(
    ("event", "job"),
    [
        ({"event": "ready"}, "stacks"),
        (PHASE, "profile"),
        (PROGRESS, "quality"),
        (QUALITY, "quality"),
        (QUALITY | {"raw": {"own_us": [1.0, 2.0]}, "conditions": {"load_average": 0.5}}, "quality"),
        ({"event": "result", "sha256": "ab" * 32}, "prepare"),
        (PROFILE, "profile"),
    ],
)
def test_a_right_event_comes_as_it_was_sent(event, job):
    assert decode(json.dumps(event).encode(), RESULTS.get(job)) == event


@pytest.mark.parametrize("whole", [PHASE, PROGRESS, QUALITY, PROFILE], ids=["phase", "progress", "quality", "profile"])
def test_each_field_is_required(whole):
    for key in whole:
        cut = {name: value for name, value in whole.items() if name != key}
        with pytest.raises(RunError, match="to the pipe that is reserved for the harness"):
            decode(json.dumps(cut).encode(), RESULTS["profile" if "p50_us" in whole else "quality"])


@pytest.mark.parametrize(
    ("event", "job"),
    [
        ({"event": "charm"}, "quality"),
        ({"event": ["ready"]}, "quality"),
        ({"event": "failed"}, "quality"),
        ({"event": "ready", "more": 1}, "quality"),
        (PHASE | {"end": float("nan")}, "quality"),
        (PHASE | {"name": 3}, "quality"),
        (PROGRESS | {"done": "all"}, "quality"),
        (QUALITY, "profile"),
        (QUALITY | {"raw": {"own_us": "fast"}}, "quality"),
        ({"event": "result", "sha256": "short"}, "prepare"),
        (QUALITY, "stacks"),
        (PROFILE | {"samples_us": []}, "profile"),
        (PROFILE | {"throughput": [{"batch": 1, "samples_per_second": 0}]}, "profile"),
        ("ready", "quality"),
        (None, "quality"),
    ],
)
def test_a_wrong_event_is_one_line(event, job):
    with pytest.raises(RunError, match="to the pipe that is reserved for the harness"):
        decode(json.dumps(event).encode(), RESULTS.get(job))


def test_text_is_made_fit_to_be_stored_and_shown():
    sent = QUALITY | {"exhibits": [{"a\x1b": "\udce9\n\tb\x07 \u202f\U0001f600"}]}
    found = decode(json.dumps(sent).encode(), RESULTS["quality"])["exhibits"]
    assert found == [{"a\\x1b": "\\udce9\n\tb\\x07 \u202f\U0001f600"}]


def test_a_reason_is_one_printable_line():
    with pytest.raises(RunError, match=r"^a\\nb\\x1b$"):
        decode(json.dumps({"event": "failed", "reason": "a\nb\x1b"}).encode(), RESULTS["quality"])
