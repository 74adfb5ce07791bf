"""Receipts as they are written: claimed facts from the manifest, figures from the rounds, sealed, never replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.compete.measuring import Organizer, organizer_at
from tests.compete.sample import START, make_ground
from tito.compete.ledger import files_of, sealed_receipts
from tito.compete.outcome import Outcome
from tito.compete.problems import Problem
from tito.compete.seal import is_sealed_by
from tito.compete.writing import ReceiptWriter, Span

KEY = b"k" * 32
PROBLEM = Problem("answers", "mnist_times, round 1", "", "other outputs", "a measurement")


@pytest.fixture
def organizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Organizer:
    return organizer_at(tmp_path, monkeypatch)


def test_a_receipt_holds_who_it_is_by_and_what_came_out(organizer: Organizer) -> None:
    organizer.enter("alice/a", "some recipe", authors=["Alice", "Bob"], licence="CC0")
    writer = ReceiptWriter(organizer.shared, KEY, make_ground())
    files = files_of(organizer.shared, "alice/a")
    receipt = writer.write("alice/a", files, Outcome(file_bytes=7), shown=["int8"], span=Span(START, 1.234))
    assert (receipt.authors, receipt.licence, receipt.recipe) == (["Alice", "Bob"], "CC0", "some recipe")
    assert (receipt.file_bytes, receipt.techniques_checked, receipt.seconds) == (7, ["int8"], 1.2)
    assert (receipt.status, receipt.problems) == ("verified", [])
    assert (receipt.model_sha256, receipt.manifest_sha256) == (files.model_sha256, files.manifest_sha256)
    assert is_sealed_by(receipt, KEY)
    assert sealed_receipts(organizer.shared, KEY)[0] == [receipt]
    assert (writer.verified, writer.refused, len(writer.written)) == (1, 0, 1)


def test_a_refusal_keeps_its_problems(organizer: Organizer) -> None:
    organizer.enter("eve/e")
    writer = ReceiptWriter(organizer.shared, KEY, make_ground())
    receipt = writer.write("eve/e", files_of(organizer.shared, "eve/e"), Outcome([PROBLEM]))
    assert receipt.status == "refused"
    assert [vars(PROBLEM)] == [problem.model_dump() for problem in receipt.problems]
    assert (writer.verified, writer.refused) == (0, 1)


def test_an_unreadable_manifest_claims_nothing(organizer: Organizer) -> None:
    (organizer.enter("eve/e") / "submission.json").write_text("{")
    writer = ReceiptWriter(organizer.shared, KEY, make_ground())
    receipt = writer.write("eve/e", files_of(organizer.shared, "eve/e"), Outcome([PROBLEM]))
    assert (receipt.track, receipt.division, receipt.title, receipt.authors) == (None, None, "eve/e", [])


def test_two_receipts_of_one_entry_are_two_files(organizer: Organizer) -> None:
    organizer.enter("alice/a")
    writer = ReceiptWriter(organizer.shared, KEY, make_ground())
    files = files_of(organizer.shared, "alice/a")
    first, second = (writer.write("alice/a", files, Outcome(file_bytes=i)) for i in (1, 2))
    assert first.id != second.id
    assert len(sealed_receipts(organizer.shared, KEY)[0]) == 2
