"""Single files: they contain what the pages link, allow only that to run, and lead nowhere that is not there."""

from __future__ import annotations

import html
import re
from pathlib import Path

from tests.report.sample import make_record
from tito.report import assets
from tito.report.pages import write_pages
from tito.report.standalone import contained, write_standalone


def test_a_single_file_contains_its_styles_and_scripts_and_allows_no_others(tmp_path: Path) -> None:
    pages = write_pages([make_record()], tmp_path)
    for path in write_standalone(pages, tmp_path):
        page = html.unescape(path.read_text("utf-8"))
        assert "assets/" not in page
        allowed = re.search(r"script-src ([^\"]*)", page)
        assert allowed
        assert "self" not in allowed[1]
        for script in re.findall(r"<script>(.*?)</script>", path.read_text("utf-8"), re.DOTALL):
            assert assets.hash_of(script) in allowed[1]
    figures = next(path for path in write_standalone(pages, tmp_path) if path.stat().st_size > 1_000_000)
    assert assets.hash_of(assets.text_of(assets.PLOTLY)) in html.unescape(figures.read_text("utf-8"))


HEAD = '<meta http-equiv="Content-Security-Policy" content="x"></head><body>'


def test_links_to_pages_that_stay_behind_lose_their_target(tmp_path: Path) -> None:
    body = '<a href="../index.html">i</a><a class="c" href="b.html">b</a><a href="#part">p</a></body>'
    page = contained(HEAD + body, "mnist/a.html", ["index.html", "mnist/a.html"], tmp_path)
    assert '<a href="../index.html">i</a><a class="c">b</a><a href="#part">p</a>' in page


def test_a_file_to_save_is_inside_and_cannot_end_its_element(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text('{"a": "</script><b>"}', "utf-8")
    link = '<a download="r.json" href="../r.json">r</a><a download="gone.json" href="gone.json">g</a></body>'
    page = contained(HEAD + link, "mnist/a.html", [], tmp_path)
    assert '<a download="r.json" href="#file-1" data-embedded="file-1">r</a><a download="gone.json">g</a>' in page
    assert '<script type="application/json" id="file-1">{"a": "\\u003c/script\\u003e\\u003cb\\u003e"}</script>' in page
