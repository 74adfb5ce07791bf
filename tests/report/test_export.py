"""tito.report.export: tables that other programs read, whatever a note or a title contains."""

from __future__ import annotations

import csv
import io

from tests.report.sample import make_record
from tito.bench.entry import Entry, entry_of
from tito.report.export import FACTS, as_csv, as_markdown


def entries(*notes: str) -> list[Entry]:
    return [entry_of(make_record(number=number, note=note)) for number, note in enumerate(notes)]


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_has_a_line_for_each_run_and_a_column_for_each_figure() -> None:
    found = entries("first", "second")
    first, second = rows(as_csv(found))
    assert list(first) == [*FACTS, *found[0].figures]
    assert float(second["mlp.p50_us"]) == found[1].figures["mlp.p50_us"]
    assert (first["note"], first["created"], first["dirty"]) == ("first", "2021-01-01T12:00:00+00:00", "True")


def test_csv_of_one_metric_leaves_the_others_out() -> None:
    (row,) = rows(as_csv(entries(""), "p50_us"))
    assert list(row) == [*FACTS, "mlp.p50_us"]


def test_a_figure_that_a_run_lacks_is_empty() -> None:
    found = [entry_of(make_record(number=0, profile=None)), entry_of(make_record(number=1))]
    assert rows(as_csv(found))[0]["mlp.p50_us"] == ""


def test_no_cell_is_a_formula_and_no_text_breaks_a_line() -> None:
    notes = ["=1+1", "@x", "-2", 'a "b", c', "+49"]
    assert [row["note"] for row in rows(as_csv(entries(*notes)))] == ["'=1+1", "'@x", "'-2", 'a "b", c', "'+49"]


def test_markdown_of_several_runs_is_a_table() -> None:
    text = as_markdown(entries("", "a | b <script> *c*"))
    lines = text.splitlines()
    assert lines[0] == "| date (UTC) | record | commit | status | figure |"
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    assert "a \\| b \\<script\\> \\*c\\*" in text
    assert lines[2].startswith("| 2021-01-01 12:00 | `sample-0` | 0123456+ | passed |")
    assert lines[2].endswith("accuracy 98.24 % |".replace("_", "\\_")) or "accuracy" in lines[2]


def test_markdown_of_one_run_has_all_its_figures() -> None:
    text = as_markdown(entries(""))
    assert text.startswith("**sample** passed, 2021-01-01 12:00 UTC, commit 0123456+, `sample-0`\n\n| case |")
    assert "| mlp | train\\_seconds | " in text


def test_markdown_of_nothing_is_an_empty_table() -> None:
    assert as_markdown([]).count("\n") == 2
