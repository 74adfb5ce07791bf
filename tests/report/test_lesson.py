"""A lesson as a page."""

from __future__ import annotations

from pathlib import Path

from tests.report.browser import browse, in_a_browser, widths
from tito.course.lesson import read_lesson
from tito.course.modules import find_module
from tito.project import find_project
from tito.report.lesson import title_of, to_html, write_lesson

PROJECT = find_project(Path(__file__))


def test_the_page_holds_the_lesson(tmp_path):
    module = find_module("16")
    page = write_lesson(module, read_lesson(PROJECT, module), tmp_path, PROJECT.root / "modules" / module.folder)
    assert page == tmp_path / "lessons" / "16_acceleration.html"
    text = page.read_text("utf-8")
    assert "<title>16 Acceleration: the same results, faster</title>" in text
    assert "<h2>The rungs</h2>" in text


def test_html_in_a_lesson_is_text_and_links_into_the_checkout_are_words():
    made = to_html("<b>x</b> [here](../x.md) [there](https://example.org) [run](javascript:alert(1))", Path())
    assert "&lt;b&gt;" in made
    assert made.count("<a ") == made.count("</a>") == 1
    assert "here" in made
    assert 'href="https://example.org"' in made
    assert "<table>" in to_html("| a |\n|---|\n| 1 |\n", Path())


def test_drawings_are_embedded_and_other_images_are_their_descriptions(tmp_path):
    (tmp_path / "arrow.svg").write_text("<svg/>")
    made = to_html("![An arrow](arrow.svg) ![A secret](../arrow.svg) ![Web](https://example.org/x.svg)", tmp_path)
    assert made.count("<img ") == 1
    assert 'src="data:image/svg+xml;base64,PHN2Zy8+"' in made
    assert "A secret" in made
    assert "Web" in made
    assert "example.org" not in made


def test_a_title_is_the_first_heading():
    assert title_of("text\n\n# One `two`\n\n# Three") == "One two"
    assert title_of("no heading") is None


class TestInABrowser:
    pytestmark = in_a_browser

    def test_a_lesson_fits_a_phone_and_the_console_stays_empty(self, tmp_path):
        module = find_module("16")
        page = write_lesson(module, read_lesson(PROJECT, module), tmp_path, PROJECT.root / "modules" / module.folder)
        assert browse(page, tmp_path / "profile")[1] == []
        assert widths([page], 400, tmp_path / "profile") == [400]
