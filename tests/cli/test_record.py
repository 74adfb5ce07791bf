"""`tito record`: what a run saved is listed and shown as it was printed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.cli.running import Run, records, tito
from tito.bench.record import Record


def test_records_are_listed_and_shown_as_when_they_were_made(passed: Run) -> None:
    root, done = passed
    id = records(root)[0].id
    assert id in tito(root, "record", "list").stdout
    assert id in tito(root, "record", "list", "--suite", "tiny").stdout
    assert id not in tito(root, "record", "list", "--suite", "other").stdout
    assert tito(root, "record", "show", id).stdout == done.stdout
    assert tito(root, "record", "show", "tiny").stdout == done.stdout


def test_a_record_as_json_is_the_record(passed: Run) -> None:
    root, _ = passed
    (record,) = records(root)
    assert Record.model_validate_json(tito(root, "record", "show", record.id, "--json").stdout) == record


def test_the_schema_is_json_schema(root: Path) -> None:
    schema = json.loads(tito(root, "record", "schema").stdout)
    assert schema["type"] == "object"
    assert "provenance" in schema["required"]


def test_an_unknown_record_is_one_line(root: Path) -> None:
    done = tito(root, "record", "show", "20200101T000000Z-tiny-000000")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("tito: no record or suite '20200101T000000Z-tiny-000000'")
    assert done.stderr.count("\n") == 1


def test_a_suite_without_a_record_says_how_to_make_one(root: Path) -> None:
    for words in (["record", "show", "tiny"], ["record", "list", "--suite", "tiny"]):
        done = tito(root, *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "tito: no record of tiny yet; python -m tito suite run tiny makes one\n"


def test_a_cut_record_is_named_and_the_others_still_shown(passed: Run, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(passed[0], root)
    whole = next((root / "reports" / "records" / "tiny").glob("*.json"))
    cut = whole.with_name("20200101T000000Z-tiny-cut.json")
    cut.write_bytes(whole.read_bytes()[:500])
    done = tito(root, "record", "list")
    assert done.returncode == 0
    assert whole.stem in done.stdout
    assert str(cut) in done.stderr
    assert str(root / "reports" / "index.html") in tito(root, "report").stdout
