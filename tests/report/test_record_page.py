"""tito.report.record_page: the order of a run's page, its anchors, and its first screen."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from tests.report.sample import make_case, make_record
from tests.report.test_pages import SAMPLE, texts
from tito.bench.record import Omission, Record
from tito.report.library import Library
from tito.report.pages import write_pages
from tito.report.pieces import Absent, Images, Piece, Plot
from tito.report.record_page import fill_rows, left_out, provenance
from tito.report.verdicts import worst_first


def test_no_row_of_two_is_left_half_empty() -> None:
    narrow, wide = Absent("n", ""), Absent("w", "", wide=True)

    def widths(*pieces: Piece) -> list[bool]:
        return [piece.wide for piece in fill_rows(pieces)]

    assert widths(narrow) == [True]
    assert widths(narrow, narrow) == [False, False]
    assert widths(narrow, narrow, narrow) == [False, False, False]  # three share one row
    assert widths(narrow, wide, narrow, narrow, wide) == [True, True, False, False, True]
    assert widths(*[narrow] * 5, wide) == [False] * 4 + [True, True]
    square, pictures = Plot("s", "", [], {}, shape="square"), Images("p", "", [])
    assert widths(square, pictures, pictures) == [False, False, True]
    assert widths(narrow, square, pictures) == [False, False, True]


def test_each_figure_of_a_record_has_an_anchor_of_its_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    twins = [make_case(rng), make_case(rng)]
    page = texts(tmp_path, [make_record(cases=twins)])[SAMPLE]
    assert len(re.findall(r'<h3 id="[^"]+">', page)) == page.count("<h3") - 1  # the last heads a list
    every = re.findall(r' id="([^"]+)"', page)
    assert len(every) == len(set(every))


def test_what_was_met_is_folded_where_it_is_long_and_what_was_missed_is_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    record = make_record(cases=[make_case(rng, name=f"case{number}") for number in range(4)])
    rows = worst_first(record)
    missed, met = sum(not row.met for row in rows), sum(row.met for row in rows)
    assert 0 < missed < met
    first = texts(tmp_path, [record])[SAMPLE].partition("</section>")[0]
    open_part, fold = first.split("<details>")
    assert f"<summary>{met} requirements met</summary>" in fold
    assert (open_part.count('class="result short"'), open_part.count('class="result met"')) == (missed, 0)
    assert (fold.count('class="result short"'), fold.count('class="result met"')) == (0, met)


def test_a_note_stands_below_the_table_and_names_its_case(tmp_path: Path) -> None:
    noted = make_record().cases[0].model_copy(update={"note": "expected <to> fail"})
    page = texts(tmp_path, [make_record(cases=[noted])])[SAMPLE]
    note = page.index("<li><b>MLP 784-512-256-10:</b> Expected &lt;to&gt; fail</li>")
    assert page.index("</table>") < note < page.index('<h2 class="of">')
    assert page.count("&lt;to&gt;") == 1


def test_seeds_that_all_cases_share_are_named_once() -> None:
    rng = np.random.default_rng(1)
    cases = [make_case(rng, name="first"), make_case(rng, name="second")]
    assert dict(provenance(make_record(cases=cases)))["Seeds"] == "1–3, in each of 2 cases"
    cases.append(make_case(rng, seeds=1, name="third"))
    assert dict(provenance(make_record(cases=cases)))["Seeds"] == "first: 1–3; second: 1–3; third: 1"


def timed(number: int, p50: float) -> Record:
    """A run whose median latency is `p50` microseconds."""
    record = make_record(number=number, created=datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=number))
    assert record.profile
    latency = [run.model_copy(update={"p50_us": p50}) for run in record.profile.latency]
    return record.model_copy(update={"profile": record.profile.model_copy(update={"latency": latency})})


def test_each_figure_says_how_it_changed_and_the_page_against_what(tmp_path: Path) -> None:
    records = [timed(number, 10 + 0.01 * number) for number in range(6)] + [timed(6, 13.0)]
    shown = texts(tmp_path, records)
    page = shown["sample/sample-6.html"]
    assert re.search(
        r'Latency p50</p>.*?<small class="change worse">\+29.7 %, worse than usual</small>', page, re.DOTALL
    )
    assert "Changes are against the median of the 6 runs before it on this machine: of its figures, 1 worse" in page
    assert "tito record compare sample-5 sample-6" in page
    assert 'class="change worse">+29.7 %, worse' in shown["sample.html"]
    first = shown["sample/sample-0.html"]
    assert "No change is shown, because no earlier run of this kind is recorded on this machine." in first
    assert 'class="change' not in first


def test_what_was_not_measured_is_listed_once() -> None:
    gates = "speed is measured only for a model that meets its gates"
    record = make_record(omitted=[Omission(what="latency", why=gates)])
    missing = [("Latency of one query", "No latency was measured in this run."), ("Samples", "No sample was kept.")]
    assert left_out(record, missing) == [("latency", gates), ("Samples", "No sample was kept.")]


def test_commands_are_as_they_are_typed_here_and_advice_is_code(tmp_path: Path) -> None:
    made = [
        make_record(number=n, omitted=[Omission(what="stacks", why="`pip install x` enables it")]) for n in range(3)
    ]
    library = replace(Library.of(made), typed=lambda command: f"python -m {command}")
    page = write_pages(library, tmp_path)[2].read_text("utf-8")
    assert '<code id="command">python -m tito suite run sample</code>' in page
    assert "<code>python -m tito record compare " in page
    assert "<dt>Stacks</dt><dd><code>pip install x</code> enables it</dd>" in page
