"""reports/journey.html: what it says at each stage, and how it looks in a browser."""

from __future__ import annotations

import re

import pytest

from tests.course.progressing import made_progress
from tests.report.browser import browse, in_a_browser, widths
from tito.course.journey import make_journey
from tito.errors import ReportError
from tito.report.journey import percent, write_journey
from tito.report.pages import write_index

TITLES = {"mnist": "Reading <handwriting>"}


def test_the_page_says_where_the_learner_stands(tmp_path):
    page = write_journey(make_journey(made_progress(6), {0: "passed", 1: "failed"}), tmp_path, TITLES)
    assert page == tmp_path / "journey.html"
    text = page.read_text("utf-8")
    assert "<strong>6 of 20</strong> modules complete" in text
    assert "<strong>1 of 16</strong> checkpoints passed" in text
    assert "3 of 7 steps" in text
    assert "<code>tito module test 07</code>" in text
    assert text.count('aria-current="step"') == 1
    assert text.count("unlocked: <code>tito milestone run") == 2
    assert "locked until module 08 is complete" in text
    assert "Reading &lt;handwriting&gt;" in text
    assert "Can I compute gradients?" in text


def test_a_learner_who_is_done_has_arrived(tmp_path):
    text = write_journey(make_journey(made_progress(20)), tmp_path).read_text("utf-8")
    assert "you have arrived" in text
    assert "Next:" not in text
    assert text.count("unlocked: <code>tito milestone run") == 6


def test_milestones_lead_to_the_pages_that_exist(tmp_path):
    (tmp_path / "xor.html").write_text("")
    text = write_journey(make_journey(made_progress(0)), tmp_path).read_text("utf-8")
    assert re.findall(r'href="([^"]*\.html)"', text) == ["index.html", "xor.html"]


def test_the_index_leads_to_the_journey_once_it_is_written(tmp_path):
    assert "journey.html" not in write_index([], tmp_path).read_text("utf-8")
    write_journey(make_journey(made_progress(0)), tmp_path)
    assert 'href="journey.html"' in write_index([], tmp_path).read_text("utf-8")


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "reports").write_text("a file")
    with pytest.raises(ReportError, match="cannot write the report there"):
        write_journey(make_journey(made_progress(0)), tmp_path / "reports")


def test_the_axis_is_to_scale():
    assert [percent(year) for year in (1950, 1987.5, 2025)] == ["0.00", "50.00", "100.00"]


class TestInABrowser:
    pytestmark = in_a_browser

    def test_the_console_stays_empty(self, tmp_path):
        page = write_journey(make_journey(made_progress(6)), tmp_path, TITLES)
        dom, console = browse(page, tmp_path / "profile")
        assert console == []
        assert dom.count('class="dot') == 6

    @pytest.mark.parametrize("width", [400, 1400])
    def test_no_page_is_wider_than_the_window(self, tmp_path, width):
        pages = [write_journey(make_journey(made_progress(count)), tmp_path / str(count)) for count in (0, 14, 20)]
        assert widths(pages, width, tmp_path / "profile") == [width] * 3
