"""What many entries a day need: the documented formula, from receipts and nothing else."""

from __future__ import annotations

import math

import pytest

from tests.compete.sample import make_receipt
from tito.compete.plan import plan
from tito.compete.receipt import ProblemText
from tito.compete.session import BATCH
from tito.errors import TitoError

PROBLEM = ProblemText(code="hash", file="model.safetensors", field="", found="aa", expected="bb")


def test_the_plan_is_the_formula() -> None:
    receipts = [
        make_receipt("a/a", seconds=60, file_bytes=1000),
        make_receipt("a/b", seed=1, seconds=80, file_bytes=3000),
        make_receipt("a/c", seed=2, seconds=100, file_bytes=8000, track="tinygpt", metric="loss", items=100, lost=0.01),
    ]
    found = plan(receipts, 10_000)
    tests = (70 + 100) * 2 * 11 / 13
    batch = (2 * 70 + 100) / 3 * 2 * 11 / 13 / BATCH
    assert found.seconds == pytest.approx(80)
    assert found.self_test_seconds == pytest.approx(tests)
    assert found.batch_seconds == pytest.approx(batch)
    assert found.hosts == math.ceil(10_000 * (80 + batch) / (86_400 - tests)) == 10
    assert found.hours == pytest.approx((10_000 * (80 + batch) + 10 * tests) / 3600)
    sizes = [len(receipt.model_dump_json()) for receipt in receipts]
    assert found.bytes == pytest.approx(10_000 * (12_000 + sum(sizes)) / 3)
    assert [(cost.track, cost.receipts) for cost in found.tracks] == [("mnist", 2), ("tinygpt", 1)]


def test_refused_entries_and_previews_are_no_basis() -> None:
    refused = make_receipt(status="refused", problems=[PROBLEM], times=[], quality=None)
    with pytest.raises(TitoError, match="no receipt of a measured entry yet"):
        plan([refused, make_receipt("a/b", times=[])], 10)


def test_a_day_that_self_tests_fill_is_said() -> None:
    with pytest.raises(TitoError, match="no time is left"):
        plan([make_receipt(seconds=60_000)], 10)
