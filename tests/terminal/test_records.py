"""tito.terminal.records: the list of records at the widths of terminals."""

from __future__ import annotations

import pytest

from tests.report.sample import make_record
from tests.terminal.sample import printed
from tito.bench.entry import Entry, entry_of
from tito.terminal import records
from tito.terminal.records import RecordList


def entry(number: int = 0, **changes: object) -> Entry:
    id = f"2021010{number + 1}T120000Z-tinymlperf-aaaaa{number}"
    return entry_of(make_record(number=number, id=id, suite="tinymlperf", **changes))


def test_a_line_has_name_date_commit_status_and_figure() -> None:
    head, line = printed(RecordList([entry()]), 120).splitlines()
    assert head.split() == ["record", "date", "commit", "status", "figure"]
    assert line.split()[:6] == ["tinymlperf-aaaaa0", "2021-01-01", "12:00", "0123456+", "passed", "accuracy"]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_names_are_whole_and_nothing_is_wider_than_the_terminal(width: int) -> None:
    entries = [entry(0, quick=True, status="gate missed", reason="x"), entry(1, note="a long note of someone" * 3)]
    text = printed(RecordList(entries), width)
    assert "tinymlperf-aaaaa0" in text
    assert max(map(len, text.splitlines())) <= width


def test_at_80_columns_a_quick_run_is_one_line() -> None:
    assert len(printed(RecordList([entry(0, quick=True)]), 80).splitlines()) == 2


def test_marks_and_note_follow() -> None:
    altered = entry(0, altered=["1 of 3 seeds"], note="after the allocator").model_copy(update={"noisy": True})
    assert printed(RecordList([altered])).splitlines()[1].rstrip().endswith("altered, noisy, after the allocator")


@pytest.mark.parametrize("metric", ["train_seconds", "mlp.p50_us"])
def test_a_metric_is_the_head_of_its_values(metric: str) -> None:
    head, line = printed(RecordList([entry()], metric)).splitlines()
    assert head.split()[-1] == metric
    assert line.split()[-1] in ("s", "µs")


@pytest.mark.parametrize("metric", ["", "train_seconds"])
@pytest.mark.parametrize("width", [60, 72, 80, 120])
def test_no_word_and_no_unit_is_broken(width: int, metric: str) -> None:
    entries = [entry(i, quick=True, status="gate missed", reason="x", altered=["1 of 3 seeds"]) for i in range(2)]
    text = printed(RecordList([one.model_copy(update={"noisy": True}) for one in entries], metric), width)
    words = ["figure", "accuracy", " %"] if not metric else [metric, " s"]
    for word in [*words, "2021-01-02", "gate missed", "quick,", "altered,", "noisy"]:
        assert word in text, word


def test_a_long_note_is_cut_in_the_table() -> None:
    text = printed(RecordList([entry(0, note="a long note of someone " * 8)]), 80)
    assert "…" in text
    assert len(text.splitlines()) < 8


def test_a_record_without_figures_or_commit_has_dashes() -> None:
    source = make_record().provenance.model_copy(update={"commit": None, "dirty": None})
    text = printed(RecordList([entry(0, cases=[], profile=None, provenance=source)]))
    assert text.splitlines()[1].split()[3:] == ["–", "passed", "–"]


def test_a_long_list_is_the_same_list_with_each_record_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [entry(0, quick=True), entry(1, note="a long note of someone " * 5)]
    table = printed(RecordList(entries), 120)
    monkeypatch.setattr(records, "MOST", 1)
    lines = printed(RecordList(entries), 120).splitlines()
    assert [line.split()[:7] for line in lines] == [line.split()[:7] for line in table.splitlines() if "  " in line][:3]
    assert max(map(len, lines)) == 120
    assert lines[2].endswith("…")
