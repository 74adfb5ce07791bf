"""Receipts: what they keep comes back unchanged, and one that contradicts itself is not accepted."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.compete.sample import make_ground, make_quality, make_receipt
from tito.compete.receipt import Ground, ProblemText, Quality, Receipt, Times, pack_items

PROBLEM = ProblemText(code="hash", file="model.safetensors", field="", found="aa", expected="bb")


def test_a_receipt_survives_json() -> None:
    receipt = make_receipt()
    assert Receipt.model_validate_json(receipt.model_dump_json()) == receipt


@given(st.lists(st.booleans(), min_size=1, max_size=100))
def test_items_of_images_come_back(correct: list[bool]) -> None:
    packed = pack_items("accuracy", np.array(correct))
    quality = Quality(
        metric="accuracy", value=0, reference=0, lost=0, items=len(correct), own_items=packed, reference_items=packed
    )
    assert quality.own().tolist() == correct


@given(st.lists(st.floats(0, 100, width=32), min_size=1, max_size=100))
def test_items_of_texts_come_back(losses: list[float]) -> None:
    packed = pack_items("loss", np.array(losses))
    quality = Quality(
        metric="loss", value=0, reference=0, lost=0, items=len(losses), own_items=packed, reference_items=packed
    )
    assert quality.of_reference().tolist() == losses


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"items": 9}, "1 bytes, expected 2 for 9 items"),
        ({"own_items": "!"}, "not base64"),
        ({"metric": "loss"}, "1 bytes, expected 32 for 8 items"),
        ({"value": float("nan")}, "finite"),
    ],
)
def test_items_that_do_not_fit_are_refused(change: dict, complaint: str) -> None:
    one = pack_items("accuracy", np.ones(8))
    fields = {"metric": "accuracy", "value": 1, "reference": 1, "lost": 0, "items": 8} | dict.fromkeys(
        ("own_items", "reference_items"), one
    )
    assert Quality.model_validate(fields).items == 8
    with pytest.raises(ValidationError, match=re.escape(complaint)):
        Quality.model_validate(fields | change)


def test_half_a_distribution_is_refused() -> None:
    with pytest.raises(ValidationError, match="2 values, expected 13"):
        Times(p50_us=1, p90_us=2, quantiles_us=[1, 2])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"status": "refused"}, "status refused with 0 problems"),
        ({"problems": [PROBLEM]}, "status verified with 1 problems"),
        ({"track": None}, "needs a track"),
        ({"division": None}, "needs a track and a division"),
        ({"score": 1}, "Extra inputs"),
        ({"schema_version": 2}, "schema_version"),
    ],
    ids=str,
)
def test_a_receipt_that_contradicts_itself_is_refused(change: dict, complaint: str) -> None:
    fields = make_receipt().model_dump()
    with pytest.raises(ValidationError, match=complaint):
        Receipt.model_validate(fields | change)


def test_every_field_of_a_ground_changes_its_id() -> None:
    ids = {make_ground(**{name: "other"}).id for name in make_ground().model_dump()}
    assert len(ids | {make_ground().id}) == 1 + len(Ground.model_fields)
    assert re.fullmatch("[0-9a-f]{12}", make_ground().id)


def test_a_self_test_passes_only_with_a_tie_and_a_loser() -> None:
    passed = make_receipt().self_test
    assert passed
    assert passed.passed
    lost = passed.same.model_copy(update={"verdict": "slower"})
    assert not passed.model_copy(update={"same": lost}).passed
    assert not passed.model_copy(update={"slowed": passed.same}).passed


def test_the_sample_has_the_quality_that_it_names() -> None:
    quality = make_quality(np.random.default_rng(0), 0.003)
    assert quality.own().mean() == pytest.approx(quality.value)
    assert quality.lost == pytest.approx(0.003)
