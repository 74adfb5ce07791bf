"""tito.report.timeline: all suites by year, those that have not run with their command."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from tests.report.sample import make_record
from tests.report.test_pages import texts
from tests.report.test_suite_page import missed
from tito.bench.suites import find_suites
from tito.report import units
from tito.report.library import Library
from tito.report.pages import write_pages
from tito.report.timeline import counts, stops


def test_the_index_shows_the_suites_that_have_not_run_with_their_command_and_duration(tmp_path: Path) -> None:
    suites = [loaded.suite for loaded in find_suites(Path(__file__).parents[2] / "suites")]
    write_pages([make_record(suite="mnist")], tmp_path, suites)
    index = (tmp_path / "index.html").read_text("utf-8").replace(units.THIN, " ")
    assert f"1 of {len(suites)} suites ran" in index
    assert "Not run yet: <code>tito suite run cifar10</code> <span>about 4 min on two cores</span>" in index
    assert index.count("Not run yet") == len(suites) - 1
    names = re.findall(r"<h2>(?:<a [^>]*>)?<code>(\w+)</code>", index)
    assert names == [suite.name for suite in sorted(suites, key=lambda suite: (suite.year, suite.name))]


def test_the_index_is_in_historical_order(tmp_path: Path) -> None:
    records = [make_record(suite=name, year=year) for name, year in (("c", 2012), ("a", 1957), ("b", 1986))]
    index = texts(tmp_path, records)["index.html"]
    assert re.findall(r'href="(\w+)\.html"', index) == ["a", "b", "c"]


def test_commands_are_shown_as_they_are_typed_here(tmp_path: Path) -> None:
    suites = [loaded.suite for loaded in find_suites(Path(__file__).parents[2] / "suites")]
    library = replace(Library.of([make_record(suite="mnist")]), typed=lambda command: f"nox: {command}")
    write_pages(library, tmp_path, suites)
    assert "<code>nox: tito suite run cifar10</code>" in (tmp_path / "index.html").read_text("utf-8")
    assert ">nox: tito suite run mnist --quick</code>" in (tmp_path / "mnist.html").read_text("utf-8")


def test_the_counts_say_how_the_newest_runs_ended() -> None:
    records = [make_record(suite="a"), missed(1, suite="b"), make_record(suite="c", status="failed", reason="killed")]
    assert counts(stops(Library.of(records), [])) == "3 of 3 suites ran, 1 missed a gate, 1 failed"
