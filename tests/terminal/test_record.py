"""What is printed of records: words that say what colors say, figures with units, nothing interpreted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.terminal.sample import case, printed, record
from tito.bench.entry import entry_of
from tito.bench.record import Omission
from tito.bench.suites import load_suite
from tito.doctor import Finding
from tito.terminal.machine import list_findings
from tito.terminal.record import show_record
from tito.terminal.records import RecordList
from tito.terminal.suite import show_suite

TINY = Path(__file__).parents[1] / "bench" / "suites" / "2001_tiny"


def test_a_record_shows_gate_speed_size_and_origin() -> None:
    text = printed(show_record(record()))
    for part in (
        "1986 mnist",
        "passed",
        "MLP [bold]784-10[/bold], 1 seed",
        "98.61 % (sd 0.05, n = 3)",
        "at least 95 %",
        "latency, alone   ",
        "p50 29.0 µs   p90 33.0 µs   p99 1.25 ms",
        "200 000 /s, at batch size 512",
        "2.14 MB, 535 818 parameters",
        "19.2 s",
        "SkylakeX is faster",
        "tito suite run mnist",
    ):
        assert part in text


def test_a_missed_gate_says_so_in_words() -> None:
    missed = record(
        status="gate missed", reason="mlp: accuracy 0.9 is below 0.95", cases=[case(0.9, met=False)], profile=None
    )
    text = printed(show_record(missed))
    assert "gate missed: mlp: accuracy 0.9 is below 0.95" in text
    assert "90.00 % (sd 0.05, n = 3)" in text
    gate = next(line for line in text.splitlines() if line.strip().startswith("gate  "))
    assert gate.rstrip().endswith("missed")
    assert "latency" not in text


def test_what_was_not_measured_is_named_once_with_its_reason() -> None:
    omitted = [Omission(what="latency", why="the run failed"), Omission(what="stacks", why="the run failed")]
    failed = record(status="failed", reason="it died", cases=[case(None, met=False)], profile=None, omitted=omitted)
    text = printed(show_record(failed))
    assert "latency, stacks: the run failed" in text
    assert "not measured" in text


def test_a_noisy_run_says_so_and_why_and_stands_out_in_the_list() -> None:
    disturbed = case()
    run = disturbed.runs[0].model_copy(update={"conditions": {"seconds": 9.0, "others": 0.5}})
    noisy = record(cases=[disturbed.model_copy(update={"runs": [run]})])
    assert "noisy: other processes used 50% of the cores' time" in printed(show_record(noisy))
    assert "noisy" in printed(RecordList([entry_of(noisy)]))
    assert "noisy" not in printed(show_record(record())) + printed(RecordList([entry_of(record())]))


def test_text_from_records_is_not_interpreted() -> None:
    assert "MLP [bold]784-10[/bold]" in printed(show_record(record()))


@pytest.mark.parametrize("width", [40, 80, 200])
def test_everything_fits_the_width(width: int) -> None:
    for content in (
        show_record(record()),
        show_suite(load_suite(TINY)),
        RecordList([entry_of(record())]),
        list_findings([Finding("BLAS kernel", "note", "Haswell " * 20, "set it " * 30)]),
    ):
        assert max(map(len, printed(content, width).splitlines())) <= width


def test_tables_of_records_have_one_line_a_row_in_80_columns() -> None:
    (row,) = (line for line in printed(show_record(record()), 80).splitlines() if line.startswith("  gate"))
    assert " ".join(row.split()) == "gate Accuracy 98.61 % (sd 0.05, n = 3) at least 95 % met"
    altered = entry_of(record(quick=True, altered=["1 of 3 seeds"]))
    assert len(printed(RecordList([altered]), 80).splitlines()) == 2


def test_an_altered_run_says_how_it_differs() -> None:
    altered = record(altered=["gate accuracy=0.01", "1 of 3 seeds"])
    assert "not a full result: gate accuracy=0.01, 1 of 3 seeds" in printed(show_record(altered))
    assert "not a full result" not in printed(show_record(record()))


def test_numbers_use_spaces_that_every_encoding_has() -> None:
    printed(show_record(record())).encode("cp1252")


def test_a_note_is_shown() -> None:
    assert "after the allocator" in printed(show_record(record(note="after the allocator")))
