"""tito.report.suite_page: the newest run first, whatever its kind, and every run linked."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.report.sample import make_record
from tests.report.test_pages import texts
from tito.bench.record import Record


def missed(number: int, **changes: object) -> Record:
    """A run whose gate was missed."""
    case = make_record(number=number).cases[0]
    gate = case.verdicts[0].model_copy(update={"met": False})
    cases = [case.model_copy(update={"verdicts": [gate, *case.verdicts[1:]]})]
    return make_record(number=number, cases=cases, status="gate missed", reason="mlp: accuracy is below", **changes)


@pytest.mark.parametrize("changes", [{"quick": True}, {"altered": ["gate accuracy=0.999"]}, {}])
def test_no_page_opens_with_an_older_verdict_than_the_newest_runs(changes: dict[str, object], tmp_path: Path) -> None:
    shown = texts(tmp_path, [make_record(number=1), missed(2, **changes)])
    for page in ("sample/sample-2.html", "sample.html", "index.html"):
        verdicts = re.findall(r'class="status [\w-]+">([\w ]+)<', shown[page])
        assert verdicts[0] == "Gate missed", page
    if changes:  # the full run is named as such, with its date
        assert "Newest full run" in shown["sample.html"]
        assert "Newest full run, 2021-01-02: gate met" in shown["index.html"]


def test_a_suites_page_lists_all_its_runs_newest_first_and_links_each(tmp_path: Path) -> None:
    records = [make_record(number=1), missed(2, quick=True), missed(3, altered=["1 of 3 seeds"])]
    table = texts(tmp_path, records)["sample.html"].partition('<h2 id="runs">')[2]
    assert re.findall(r'href="(sample/[^"]+)"', table) == [f"sample/sample-{number}.html" for number in (3, 2, 1)]
    assert re.findall(r"<td>(full|quick|altered)</td>", table) == ["altered", "quick", "full"]


def test_many_runs_are_folded_behind_the_newest(tmp_path: Path) -> None:
    records = [make_record(number=number, cases=[], profile=None) for number in range(25)]
    table = texts(tmp_path, records)["sample.html"].partition('<h2 id="runs">')[2]
    assert "<summary>5 earlier runs</summary>" in table
    assert table.index("sample-5.html") < table.index("<details>") < table.index("sample-4.html")


def test_a_run_from_a_clock_set_to_the_future_does_not_hide_those_after_it(tmp_path: Path) -> None:
    future = make_record(number=2, status="failed", reason="odd clock", created=datetime(2096, 1, 1, tzinfo=UTC))
    past = make_record(number=1, created=datetime(2020, 1, 1, tzinfo=UTC))
    shown = texts(tmp_path, [future, past])
    assert 'href="sample/sample-1.html"' in shown["sample.html"].partition("</section>")[0]
    assert "odd clock" not in shown["index.html"]
