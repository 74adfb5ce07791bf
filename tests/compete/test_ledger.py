"""Which receipts count, and what an entry's files are: whatever strangers put there, nothing else does."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from tests.compete.measuring import Organizer, organizer_at
from tests.compete.sample import make_receipt
from tito.compete.ledger import entries_of, files_of, holders_of, sealed_receipts
from tito.compete.receipt import Receipt
from tito.compete.seal import receipt_text, seal

KEY, OTHER = b"k" * 32, b"o" * 32


@pytest.fixture
def organizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Organizer:
    return organizer_at(tmp_path, monkeypatch)


def save(organizer: Organizer, receipt: Receipt, key: bytes = KEY) -> Path:
    text = receipt_text(seal(receipt, key))
    return organizer.shared.save_receipt(receipt.ground.id, receipt.entry, receipt.id, text)


def test_only_receipts_of_this_key_count_oldest_first(organizer: Organizer) -> None:
    old, new = make_receipt("alice/a", age=5), make_receipt("bob/b", age=1)
    for receipt in (new, old):
        save(organizer, receipt)
    save(organizer, make_receipt("eve/best"), OTHER)
    found, problems = sealed_receipts(organizer.shared, KEY)
    assert [receipt.id for receipt in found] == [
        receipt.id for receipt in sorted((old, new), key=lambda one: one.created)
    ]
    (problem,) = problems
    assert (problem.code, problem.field) == ("seal", "seal")
    assert problem.file.startswith("receipts/")
    assert "eve.best" in problem.file


def test_without_a_key_nothing_counts(organizer: Organizer) -> None:
    save(organizer, make_receipt())
    found, problems = sealed_receipts(organizer.shared, None)
    assert found == []
    assert [problem.code for problem in problems] == ["seal"]


def test_a_copy_under_another_name_is_the_same_receipt(organizer: Organizer) -> None:
    path = save(organizer, make_receipt("alice/a"))
    path.with_name("eve.free.copy.json").write_bytes(path.read_bytes())
    found, problems = sealed_receipts(organizer.shared, KEY)
    assert [receipt.entry for receipt in found] == ["alice/a"]
    assert problems == []


def test_rubbish_is_skipped_with_a_reason(organizer: Organizer) -> None:
    path = save(organizer, make_receipt())
    for i, content in enumerate((b"", b"{", b"[" * 10_000, b"\xff", b'{"schema_version": 9}')):
        path.with_name(f"rubbish-{i}.json").write_bytes(content)
    found, problems = sealed_receipts(organizer.shared, KEY)
    assert len(found) == 1
    assert [problem.code for problem in problems] == ["seal"] * 5


def test_a_receipt_that_is_too_large_is_not_read(organizer: Organizer, monkeypatch: pytest.MonkeyPatch) -> None:
    save(organizer, make_receipt())
    monkeypatch.setattr("tito.compete.folder.RECEIPT_BYTES", 100)
    found, problems = sealed_receipts(organizer.shared, KEY)
    assert found == []
    assert [problem.code for problem in problems] == ["too-large"]


def test_files_are_known_by_their_hashes(organizer: Organizer) -> None:
    path = organizer.enter("alice/a")
    files = files_of(organizer.shared, "alice/a")
    assert files.manifest is not None
    assert files.model_sha256 == files.manifest.model_sha256
    assert files.manifest_sha256 == hashlib.sha256((path / "submission.json").read_bytes()).hexdigest()
    receipt = make_receipt("alice/a", model_sha256=files.model_sha256, manifest_sha256=files.manifest_sha256)
    assert files.are_those_of(receipt)
    assert not files.are_those_of(receipt.model_copy(update={"manifest_sha256": "ab" * 32}))
    assert not files.are_those_of(receipt.model_copy(update={"model_sha256": "ab" * 32}))


def test_files_that_cannot_be_read_say_why(organizer: Organizer) -> None:
    path = organizer.enter("alice/a")
    (path / "submission.json").write_text("{")
    files = files_of(organizer.shared, "alice/a")
    assert files.manifest is None
    assert len(files.model_sha256) == len(files.manifest_sha256) == 64
    assert files.problem.startswith("manifest submission.json: ")
    (path / "model.json").unlink()
    files = files_of(organizer.shared, "alice/a")
    assert (files.manifest_sha256, files.model_sha256) == ("", "")
    assert "model.json" in files.problem


def test_entries_are_listed_for_the_ranking(organizer: Organizer) -> None:
    organizer.enter("alice/a")
    organizer.enter("bob/b", track="tinygpt")
    (organizer.enter("eve/e") / "submission.json").write_text("[]")
    found = {entry.id: entry for entry in entries_of(organizer.shared)}
    assert (found["alice/a"].track, found["bob/b"].track, found["eve/e"].track) == ("mnist", "tinygpt", None)
    assert (found["alice/a"].division, found["alice/a"].title) == ("open", "A small one")
    assert found["eve/e"].problem
    assert [entry.id for entry in entries_of(organizer.shared, ["bob/b"])] == ["bob/b"]


def test_the_first_holder_of_a_model_is_who_was_verified_first_whatever_the_folders_say(organizer: Organizer) -> None:
    path = organizer.enter("alice/first", seed=3)
    files = files_of(organizer.shared, "alice/first")
    made = make_receipt("alice/first").model_copy(
        update={"model_sha256": files.model_sha256, "manifest_sha256": files.manifest_sha256}
    )
    copy = organizer.enter("eve/copy", seed=3)
    os.utime(copy, (1, 1))  # older than everything, it says
    assert set(holders_of(organizer.shared, []).values()) == {"eve/copy"}
    assert holders_of(organizer.shared, [made]) == {files.model_sha256: "alice/first"}
    refused = made.model_copy(update={"status": "refused"})
    assert set(holders_of(organizer.shared, [refused]).values()) == {"eve/copy"}
    shutil.rmtree(path)  # an entry that is gone holds nothing
    assert set(holders_of(organizer.shared, [made]).values()) == {"eve/copy"}
