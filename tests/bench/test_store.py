"""tito.bench.store: a record is whole or not there, and one bad file hides no other."""

from __future__ import annotations

import base64
import errno
import json
import os
from datetime import timedelta

import pytest

from tinytorch.datasets.png import decode
from tito.bench.record import SCHEMA_VERSION, Pictures, Record
from tito.bench.store import Store, record_schema
from tito.errors import RecordError


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "reports")


def test_a_record_comes_back_as_it_went(store, tiny_record):
    path = store.save(tiny_record)
    assert path == store.folder / "tiny" / f"{tiny_record.id}.json"
    assert store.load(tiny_record.id) == tiny_record
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_record_of_before_there_were_backends_is_read(store, tiny_record):
    path = store.save(tiny_record)
    document = json.loads(path.read_text())
    assert document["provenance"].pop("backend")["name"] == "numpy"
    path.write_text(json.dumps(document))
    assert store.load(tiny_record.id).provenance.backend is None


def test_a_record_is_never_overwritten(store, tiny_record):
    store.save(tiny_record)
    with pytest.raises(RecordError, match="never overwritten"):
        store.save(tiny_record)


def test_all_gives_the_oldest_first_and_an_empty_folder_gives_none(store, tiny_record):
    assert store.all() == ([], [])
    older = tiny_record.model_copy(update={"id": "z", "created": tiny_record.created - timedelta(days=1)})
    store.save(tiny_record)
    store.save(older)
    assert [record.id for record in store.all()[0]] == ["z", tiny_record.id]


def test_a_run_from_the_future_hides_no_later_one(store, tiny_record):
    wrong = tiny_record.model_copy(update={"id": "wrong", "created": tiny_record.created.replace(year=2096)})
    store.save(wrong)
    store.save(tiny_record)
    assert [record.id for record in store.all()[0]] == ["wrong", tiny_record.id]
    assert [entry.id for entry in store.entries()[0]] == ["wrong", tiny_record.id]


def test_pictures_are_stored_as_png_and_those_of_older_records_are_read(store, tiny_record):
    pixels = [[0, 128, 255], [1, 2, 3]]
    exhibit = Pictures.model_validate({"title": "p", "pictures": [{"caption": "c", "pixels": pixels}]})
    case = tiny_record.cases[0]
    runs = [run.model_copy(update={"exhibits": [exhibit]}) for run in case.runs]
    record = tiny_record.model_copy(update={"cases": [case.model_copy(update={"runs": runs})]})
    path = store.save(record)
    document = json.loads(path.read_text())
    stored = document["cases"][0]["runs"][0]["exhibits"][0]["pictures"][0]
    assert "pixels" not in stored
    assert decode(base64.b64decode(stored["png"])).tolist() == pixels
    assert store.load(record.id) == record

    document["schema_version"] = 1
    for run in document["cases"][0]["runs"]:
        run["exhibits"][0]["pictures"] = [{"caption": "c", "pixels": pixels}]
    path.write_text(json.dumps(document))
    assert store.load(record.id).cases == record.cases


@pytest.mark.parametrize("text", ['"\\u001b[2J"', '"\\u009b2J"', '"\u009b2J"', '"\u202e"', '"\\r"'])
def test_no_control_character_of_a_record_is_read_as_it_is(store, tiny_record, text):
    path = store.save(tiny_record)
    path.write_text(path.read_text().replace(json.dumps(tiny_record.title), text))
    assert store.load(tiny_record.id).title.isprintable()


def newer(text):
    return json.dumps(json.loads(text) | {"schema_version": SCHEMA_VERSION + 1, "hologram": 1})


def put(path, value):
    """The record with something else at that place."""

    def spoil(text):
        document = json.loads(text)
        place = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        return json.dumps(document)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda text: text[: len(text) // 2], "cut short"),
        (lambda text: "", "cut short"),
        (newer, "written by a newer tito (schema 3; this tito reads 2): update tito"),
        (lambda text: '{"hello": 1}', "not a record of tito"),
        (lambda text: "[1, 2]", "not a record of tito"),
        (lambda text: json.dumps(json.loads(text) | {"status": "splendid"}), "status"),
        (lambda text: json.dumps(json.loads(text) | {"seconds": float("nan")}), "seconds"),
        (lambda text: "[" * 200_000, "not complete JSON"),
        (lambda text: json.dumps(json.loads(text) | {"schema_version": True}), "no schema_version"),
        (lambda text: json.dumps(json.loads(text) | {"created": "2031-01-01T00:00:00"}), "created"),
        (lambda text: json.dumps(json.loads(text) | {"suite": "../evil"}), "suite"),
        (lambda text: json.dumps(json.loads(text) | {"suite": "tiny\n"}), "suite"),
        (lambda text: json.dumps(json.loads(text) | {"suite": "index"}), "suite"),
        (lambda text: json.dumps(json.loads(text) | {"year": 10**30}), "year"),
        (put(["profile", "latency", 0, "samples_us"], []), "samples_us"),
        (put(["profile", "latency", 0, "samples_us", 0], 0.0), "samples_us.0"),
        (put(["profile", "latency", 0, "p50_us"], -1.0), "p50_us"),
        (put(["profile", "throughput", 0, "samples_per_second"], []), "samples_per_second"),
        (put(["profile", "throughput", 0, "samples_per_second", 0], 0.0), "samples_per_second.0"),
        (put(["profile", "throughput", 0, "batch"], 0), "batch"),
        (put(["profile", "stacks"], {"tool": "", "rate_hz": 1, "seconds": 1, "collapsed": [["a", 0]]}), "collapsed"),
        (put(["cases", 0, "runs", 0, "exhibits", 0, "counts", 0, 0], -1), "counts.0.0"),
    ],
)
def test_a_bad_file_is_skipped_with_a_line_and_the_others_still_come(store, tiny_record, spoil, words):
    good = store.save(tiny_record)
    bad = good.with_name("bad.json")
    bad.write_text(spoil(good.read_text()))
    records, warnings = store.all()
    assert [record.id for record in records] == [tiny_record.id]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"skipped {bad}: ")
    assert words in warnings[0]
    assert "\n" not in warnings[0]
    with pytest.raises(RecordError):
        store.load("bad")


def test_bytes_that_are_no_text_are_skipped(store, tiny_record):
    good = store.save(tiny_record)
    good.with_name("bad.json").write_bytes(b"\xff\xfe{}")
    assert len(store.all()[1]) == 1


@pytest.mark.parametrize("id", ["nothing", "../../secret", "*", ""])
def test_an_unknown_id_is_said(store, tiny_record, id):
    store.save(tiny_record)
    with pytest.raises(RecordError, match="no record"):
        store.load(id)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_refuses_is_named_and_nothing_is_left(store, tiny_record, monkeypatch, code):
    def refuse(handle):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(RecordError, match=os.strerror(code)) as caught:
        store.save(tiny_record)
    assert str(store.folder) in str(caught.value)
    assert list((store.folder / "tiny").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(store, tiny_record):
    store.folder.parent.parent.mkdir(exist_ok=True)
    store.folder.parent.write_text("a file where the folder should be")
    with pytest.raises(RecordError, match="cannot write the record into"):
        store.save(tiny_record)


def test_whether_records_can_be_kept_is_known_beforehand(store):
    store.check_writable()
    assert list(store.folder.iterdir()) == []
    store.folder.rmdir()
    store.folder.write_text("in the way")
    with pytest.raises(RecordError, match=f"cannot write records into {store.folder}: File exists"):
        store.check_writable()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser writes everywhere")
def test_a_read_only_folder_is_named(store, tiny_record):
    store.folder.mkdir(parents=True)
    store.folder.chmod(0o555)
    with pytest.raises(RecordError, match="Permission denied"):
        store.save(tiny_record)


def test_the_schema_describes_a_record():
    schema = record_schema()
    assert schema["title"] == "Record"
    assert set(schema["properties"]) == set(Record.model_fields)
    assert schema["additionalProperties"] is False
