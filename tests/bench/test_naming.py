"""tito.bench.naming: a record is found by its id, its end, or its suite; otherwise a line says what to type."""

from __future__ import annotations

import pytest

from tests.report.sample import make_record
from tito.bench.entry import Entry, entry_of
from tito.bench.naming import find_entry, short_names
from tito.errors import UnknownRecordError


def entry(id: str, suite: str) -> Entry:
    return entry_of(make_record(id=id, suite=suite))


ENTRIES = [
    entry("20250101T000000Z-xor-aaaaaa", "xor"),
    entry("20250102T000000Z-xor-bbbbbb", "xor"),
    entry("20250103T000000Z-mnist-aaaaaa", "mnist"),
    entry("20250104T000000Z-xor-cccccc", "xor"),
    entry("20250105T000000Z-xor-cccccc", "xor"),
    entry("odd", "xor"),
]


def test_names_are_short_where_they_are_unique() -> None:
    assert short_names(ENTRIES) == [
        "xor-aaaaaa",
        "xor-bbbbbb",
        "mnist-aaaaaa",
        "20250104T000000Z-xor-cccccc",
        "20250105T000000Z-xor-cccccc",
        "odd",
    ]


def test_every_listed_name_finds_its_record() -> None:
    for name, one in zip(short_names(ENTRIES), ENTRIES, strict=True):
        assert find_entry(name, ENTRIES) is one
        assert find_entry(one.id, ENTRIES) is one


@pytest.mark.parametrize(("name", "index"), [("xor", -1), ("xor~0", -1), ("xor~1", -2), ("xor~4", 0), ("mnist", 2)])
def test_a_suite_means_its_newest_record(name: str, index: int) -> None:
    assert find_entry(name, ENTRIES) is ENTRIES[index]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("xor~9", "xor~9: there are 5 records of xor; the oldest is xor~4"),
        ("xor-cccccc", "xor-cccccc: 2 records end so: 20250104T000000Z-xor-cccccc, 20250105T000000Z-xor-cccccc"),
        ("tinygpt", "no record of tinygpt yet; tito suite run tinygpt makes one"),
        (
            "xor-aaaaab",
            "no record or suite 'xor-aaaaab' (did you mean xor-aaaaaa?); tito record list lists the records",
        ),
        ("mnits", "no record or suite 'mnits' (did you mean mnist?); tito record list lists the records"),
        ("../../etc", "no record or suite '../../etc'; tito record list lists the records"),
    ],
)
def test_an_unknown_name_is_one_line(name: str, line: str) -> None:
    with pytest.raises(UnknownRecordError) as caught:
        find_entry(name, ENTRIES, ["xor", "mnist", "tinygpt"])
    assert str(caught.value) == line
