"""Stacks in speedscope's format, checked against the required keys of its schema."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.report.sample import make_profile, make_record
from tito.bench.record import Stacks
from tito.report.attachments import attachments
from tito.report.speedscope import SCHEMA, speedscope

# Required keys and their types, from https://www.speedscope.app/file-format-schema.json (1.25):
# FileFormat.File, SampledProfile, and Frame.
FILE: dict[str, type] = {"$schema": str, "profiles": list, "shared": dict}
PROFILE: dict[str, type | tuple[type, ...]] = {
    "type": str,
    "name": str,
    "unit": str,
    "startValue": (int, float),
    "endValue": (int, float),
    "samples": list,
    "weights": list,
}
OPTIONAL: dict[str, type] = {"activeProfileIndex": int, "exporter": str, "name": str}
UNITS = {"bytes", "microseconds", "milliseconds", "nanoseconds", "none", "seconds"}
STACKS = Stacks(
    tool="py-spy",
    rate_hz=100,
    seconds=1,
    collapsed=[
        ("run (tinytorch/training.py:210);matmul (numpy/core.py)", 30),
        ("run (tinytorch/training.py:210)", 7),
        ("idle", 3),
    ],
)


def check(document: dict[str, Any]) -> None:
    """Check a document against the schema's required keys."""
    assert document["$schema"] == SCHEMA
    for key, kind in FILE.items():
        assert isinstance(document[key], kind), key
    for key in document.keys() - FILE.keys():
        assert isinstance(document[key], OPTIONAL[key]), key
    frames = document["shared"]["frames"]
    assert all(isinstance(frame["name"], str) and frame.keys() <= {"name", "file", "line", "col"} for frame in frames)
    for profile in document["profiles"]:
        for key, kinds in PROFILE.items():
            assert isinstance(profile[key], kinds), key
        assert profile.keys() == PROFILE.keys()
        assert profile["type"] == "sampled"
        assert profile["unit"] in UNITS
        assert len(profile["samples"]) == len(profile["weights"])
        assert all(0 <= index < len(frames) for sample in profile["samples"] for index in sample)


def test_the_document_has_what_the_schema_requires() -> None:
    stacks = make_profile(np.random.default_rng(0)).stacks
    assert stacks is not None
    for one in (stacks, STACKS):
        check(json.loads(json.dumps(speedscope(one, "sample"))))


@pytest.mark.parametrize("key", [*FILE, "profiles.weights", "profiles.type"])
def test_the_check_of_the_schema_misses_nothing(key: str) -> None:
    document: dict[str, Any] = speedscope(STACKS, "sample")
    first, _, inner = key.partition(".")
    if inner:
        del document[first][0][inner]
    else:
        del document[first]
    with pytest.raises(KeyError):
        check(document)


def test_weights_are_seconds_and_frames_have_their_file_and_line() -> None:
    document = speedscope(STACKS, "sample")
    (profile,) = document["profiles"]
    assert profile["weights"] == [0.30, 0.07, 0.03]
    assert profile["endValue"] == pytest.approx(0.4)
    assert profile["samples"] == [[0, 1], [0], [2]]
    assert document["shared"]["frames"] == [
        {"name": "run", "file": "tinytorch/training.py", "line": 210},
        {"name": "matmul", "file": "numpy/core.py"},
        {"name": "idle"},
    ]


def test_a_record_offers_itself_and_its_stacks() -> None:
    record, stacks = attachments(make_record())
    assert (record.href, record.text) == ("records/sample/sample-0.json", None)
    assert stacks.href == "sample/sample-0.speedscope.json"
    assert stacks.text is not None
    check(json.loads(stacks.text))
    assert [one.label for one in attachments(make_record(profile=None))] == ["Record as JSON"]
