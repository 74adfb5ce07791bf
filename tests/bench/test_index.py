"""tito.bench.index: a list reads only what is new or changed, and believes the index in nothing else."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from tests.report.sample import make_record
from tito.bench import index, store
from tito.bench.index import index_path
from tito.bench.store import Store


@pytest.fixture
def reads(monkeypatch):
    """The names of the files that are read, as they are read."""
    names: list[str] = []
    real = store.read_record

    def read(path: Path):
        names.append(path.stem)
        return real(path)

    monkeypatch.setattr(store, "read_record", read)
    return names


@pytest.fixture
def full(tmp_path):
    """A store with three records, written long enough ago to be believed."""
    made = Store(tmp_path)
    for number in range(3):
        made.save(make_record(number=number))
    return made


def listed(made, reads):
    """The listed ids, and which files were read for it."""
    reads.clear()
    found = [entry.id for entry in made.entries()[0]]
    return found, sorted(reads)


def later(made):
    """Let the index be written long after the records, as it usually is."""
    path = index_path(made.folder / "sample")
    when = time.time() + 10
    os.utime(path, (when, when))


ALL = ["sample-0", "sample-1", "sample-2"]


def test_a_second_list_reads_no_record(full, reads):
    assert listed(full, reads) == (ALL, ALL)
    later(full)
    assert listed(full, reads) == (ALL, [])


def test_a_new_record_is_the_only_one_that_is_read(full, reads):
    listed(full, reads)
    later(full)
    full.save(make_record(number=3))
    assert listed(full, reads) == ([*ALL, "sample-3"], ["sample-3"])


def test_a_removed_record_is_gone(full, reads):
    listed(full, reads)
    later(full)
    (full.folder / "sample" / "sample-1.json").unlink()
    assert listed(full, reads) == (["sample-0", "sample-2"], [])


def test_a_changed_file_is_read_again_even_with_its_old_size_and_time(full, reads):
    listed(full, reads)
    later(full)
    path = full.folder / "sample" / "sample-1.json"
    before = path.stat()
    path.write_text(path.read_text().replace('"status":"passed"', '"status":"failed"'))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert listed(full, reads) == (ALL, ["sample-1"])
    assert [entry.status for entry in full.entries()[0]] == ["passed", "failed", "passed"]


def test_a_file_as_young_as_the_index_is_read_again(full, reads):
    listed(full, reads)
    assert listed(full, reads) == (ALL, ALL)  # nothing is two seconds old


def test_another_file_under_the_same_name_is_read(full, reads):
    listed(full, reads)
    later(full)
    folder = full.folder / "sample"
    shutil.copy2(folder / "sample-2.json", folder / "copy.json")
    (folder / "copy.json").replace(folder / "sample-0.json")
    assert listed(full, reads)[1] == ["sample-0"]


def test_a_bad_file_is_remembered_with_its_line(full, reads):
    bad = full.folder / "sample" / "bad.json"
    bad.write_text("{")
    warnings = full.entries()[1]
    later(full)
    assert listed(full, reads) == (ALL, [])
    assert full.entries()[1] == warnings == [f"skipped {bad}: not complete JSON: cut short or damaged"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"code": "x", "rows": []}'])
def test_an_index_that_is_none_is_written_again(full, reads, content):
    listed(full, reads)
    path = index_path(full.folder / "sample")
    path.write_bytes(content)
    assert listed(full, reads) == (ALL, ALL)
    assert len(json.loads(path.read_text())["rows"]) == 3


def test_an_index_of_other_code_is_written_again(full, reads, monkeypatch):
    listed(full, reads)
    later(full)
    monkeypatch.setattr(index, "_code", lambda: "other")
    assert listed(full, reads) == (ALL, ALL)


def test_without_an_index_everything_is_read(full, reads):
    listed(full, reads)
    index_path(full.folder / "sample").unlink()
    assert listed(full, reads) == (ALL, ALL)


def test_a_pipe_in_place_of_the_index_hangs_nothing(full, reads):
    os.mkfifo(index_path(full.folder / "sample"))
    assert listed(full, reads) == (ALL, ALL)


def test_a_link_in_place_of_the_index_is_replaced(full, reads, tmp_path):
    target = tmp_path / "precious"
    target.write_text("mine")
    index_path(full.folder / "sample").symlink_to(target)
    listed(full, reads)
    assert target.read_text() == "mine"


def test_a_list_works_where_no_index_can_be_written(full, reads, monkeypatch):
    def refuse(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(index, "atomic_write", refuse)
    assert listed(full, reads) == (ALL, ALL)


def test_one_suite_reads_only_its_records(full, reads):
    full.save(make_record(suite="other"))
    reads.clear()
    assert [entry.suite for entry in full.entries("other")[0]] == ["other"]
    assert reads == ["sample-0"]


def test_files_of_editors_are_no_records(full, reads):
    (full.folder / "sample" / ".#sample-0.json").symlink_to("nobody@nowhere.1")
    (full.folder / "notes.json").write_text("{}")
    assert full.entries() == full.entries()
    assert full.entries()[1] == []
    assert full.all()[1] == []


def test_a_folder_that_cannot_be_listed_is_one_line(full, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(store, "rows_of", refuse)
    assert full.entries() == ([], [f"skipped {full.folder / 'sample'}: cannot be listed: Permission denied"])
