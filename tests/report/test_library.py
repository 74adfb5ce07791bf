"""tito.report.library: few records are read, and the newest of each kind are found."""

from __future__ import annotations

from pathlib import Path

from tests.report.sample import make_record
from tito.bench.entry import Entry, entry_of
from tito.bench.record import Record
from tito.report.library import Library, newest_full
from tito.report.pages import write_pages


def test_after_a_run_only_the_records_that_are_shown_are_read(tmp_path: Path) -> None:
    records = [make_record(number=number, quick=number % 2 == 1) for number in range(12)]
    library = Library.of(records)
    write_pages(library, tmp_path)
    read: list[str] = []

    def load(entry: Entry) -> Record:
        read.append(entry.id)
        return library.load(entry)

    write_pages(Library(library.entries, load), tmp_path, only=records[-1])
    assert set(read) == {"sample-11", "sample-10"}  # the newest and the newest full run
    read.clear()
    write_pages(Library(library.entries, load), tmp_path)
    assert set(read) == {"sample-11", "sample-10"}


def test_a_full_run_is_neither_quick_nor_altered() -> None:
    full, quick = make_record(number=1), make_record(number=2, quick=True)
    altered = make_record(number=3, altered=["1 of 3 seeds"])
    assert newest_full([entry_of(one) for one in (full, quick, altered)]) == entry_of(full)
    assert newest_full([entry_of(quick)]) is None


def test_records_with_one_id_in_two_suites_stay_apart() -> None:
    library = Library.of([make_record(), make_record(suite="other", title="other")])
    assert [library.load(entry).suite for entry in library.entries] == [entry.suite for entry in library.entries]
    assert list(library.by_suite()) == ["other", "sample"]
