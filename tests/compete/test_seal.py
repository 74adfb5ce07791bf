"""Seals: a receipt that others wrote, or that was edited in any place, does not count."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.compete.sample import make_receipt
from tito.compete.receipt import Receipt
from tito.compete.seal import VARIABLE, is_sealed_by, key_file, organizer_key, parse_receipt, receipt_text, seal
from tito.errors import RecordError, TitoError

KEY, OTHER = b"k" * 32, b"o" * 32


@pytest.fixture
def key_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "own" / "organizer.key"
    monkeypatch.setenv(VARIABLE, str(path))
    return path


def test_a_seal_holds_over_the_file() -> None:
    receipt = seal(make_receipt(), KEY)
    again = parse_receipt(receipt_text(receipt).encode(), "r.json")
    assert again == receipt
    assert is_sealed_by(again, KEY)


def test_other_keys_and_no_seal_do_not_count() -> None:
    assert not is_sealed_by(seal(make_receipt(), OTHER), KEY)
    assert not is_sealed_by(make_receipt(), KEY)
    assert not is_sealed_by(make_receipt().model_copy(update={"seal": "é" * 64}), KEY)


def changed(value: Any) -> Any:
    """Return another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return value[:-1] + ("A" if value[-1:] != "A" else "B")
    return None


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all single values in a document."""
    if isinstance(document, dict):
        return [place for key, value in document.items() for place in places(value, (*path, key))]
    if isinstance(document, list):
        return [place for i, value in enumerate(document) for place in places(value, (*path, i))]
    return [path]


def test_any_edited_value_breaks_the_seal() -> None:
    text = receipt_text(seal(make_receipt(), KEY))
    tried = accepted = 0
    for place in places(json.loads(text)):
        document = json.loads(text)
        inner = document
        for key in place[:-1]:
            inner = inner[key]
        value = changed(inner[place[-1]])
        if value is None:
            continue
        inner[place[-1]] = value
        tried += 1
        try:
            edited = parse_receipt(json.dumps(document).encode(), "r.json")
        except RecordError:
            continue  # it is no longer a receipt at all
        accepted += 1
        assert not is_sealed_by(edited, KEY), place
    assert tried > 100
    assert accepted > 50


def test_spacing_and_order_of_keys_do_not_matter() -> None:
    receipt = seal(make_receipt(), KEY)
    document = dict(reversed(json.loads(receipt_text(receipt)).items()))
    assert is_sealed_by(parse_receipt(json.dumps(document, indent=3).encode(), "r.json"), KEY)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "truncated or damaged"),
        (b"[" * 100_000, "truncated or damaged"),
        (receipt_text(make_receipt())[:-9].encode(), "truncated or damaged"),
        (b"\xff\xfe", "truncated or damaged"),
        (b"[]", "not a receipt of tito"),
        (b'{"schema_version": true}', "not a receipt of tito"),
        (b'{"schema_version": 2}', "written by a newer tito"),
        (b'{"schema_version": 1}', "not a receipt of tito: id: missing"),
        (b'{"schema_version": 0}', "not a receipt of tito: schema_version"),
    ],
)
def test_what_is_no_receipt_is_one_line(content: bytes, reason: str) -> None:
    with pytest.raises(RecordError) as caught:
        parse_receipt(content, "r.json")
    assert str(caught.value).startswith("r.json: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


# The key ------------------------------------------------------------------------------------------------


def test_the_key_is_made_once_and_only_for_its_user(key_path: Path, tmp_path: Path) -> None:
    assert organizer_key(tmp_path / "shared", make=False) is None
    assert not key_path.exists()
    first = organizer_key(tmp_path / "shared")
    assert first is not None
    assert len(first) == 32
    assert stat.S_IMODE(key_path.stat().st_mode) == 0o600
    assert organizer_key(tmp_path / "shared") == first
    assert [path.name for path in key_path.parent.iterdir()] == ["organizer.key"]


def test_processes_that_start_together_agree_on_one_key(key_path: Path, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from tito.compete.seal import organizer_key; print(organizer_key(Path('x')).hex())"
    )
    command = [sys.executable, "-c", code]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(5)]
    assert len({process.communicate()[0] for process in processes}) == 1


def test_a_key_in_the_shared_folder_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "shared" / "alice" / "key"))
    with pytest.raises(TitoError, match="in the shared folder"):
        organizer_key(tmp_path / "shared")


def test_a_key_that_others_can_read_is_refused(key_path: Path, tmp_path: Path) -> None:
    organizer_key(tmp_path / "shared")
    key_path.chmod(0o644)
    with pytest.raises(TitoError, match="others can read"):
        organizer_key(tmp_path / "shared")


@pytest.mark.parametrize("content", [b"", b"short"])
def test_a_short_key_is_refused(key_path: Path, tmp_path: Path, content: bytes) -> None:
    key_path.parent.mkdir()
    os.close(os.open(key_path, os.O_CREAT, 0o600))
    key_path.write_bytes(content)
    with pytest.raises(TitoError, match=rf"a key of {len(content)} bytes"):
        organizer_key(tmp_path / "shared")


def test_a_key_that_cannot_be_made_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file" / "key"))
    with pytest.raises(TitoError, match="the organizer's key: "):
        organizer_key(tmp_path / "shared")


def test_without_a_variable_the_key_is_in_the_user_s_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert key_file().parts[-2:] == ("tinytorch", "organizer.key")


def test_a_receipt_of_an_unreadable_entry_can_be_sealed() -> None:
    problem = {"code": "files", "file": "x", "field": "", "found": "nothing", "expected": "a file"}
    fields = {"track": None, "division": None, "status": "refused", "problems": [problem], "times": [], "quality": None}
    receipt = Receipt.model_validate(make_receipt().model_dump() | fields)
    assert is_sealed_by(seal(receipt, KEY), KEY)
