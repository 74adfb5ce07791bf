"""Styles and scripts beside the pages: written once, whole, and never through a link."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.report.sample import make_record
from tito.errors import ReportError
from tito.report import assets
from tito.report.pages import write_pages

SMALL = ["style.css", "page.js"]


def test_pages_share_their_files_and_are_small(tmp_path: Path) -> None:
    pages = write_pages([make_record(), make_record(suite="other", year=1957)], tmp_path)
    assert (tmp_path / "assets" / assets.PLOTLY).stat().st_size > 1_000_000
    assert all(page.stat().st_size < 1_000_000 for page in pages)  # the samples and pictures of a record, no Plotly
    assert not any("Plotly.newPlot" in page.read_text("utf-8") for page in pages)


def test_plotly_is_written_for_pages_with_figures_only(tmp_path: Path) -> None:
    write_pages([], tmp_path)
    assert not (tmp_path / "assets" / assets.PLOTLY).exists()


def test_a_file_that_is_there_stays_and_a_changed_one_is_replaced(tmp_path: Path) -> None:
    assets.write_assets(SMALL, tmp_path)
    style, page = (tmp_path / "assets" / name for name in SMALL)
    before = style.stat().st_ino
    page.write_text("changed")
    assets.write_assets(SMALL, tmp_path)
    assert style.stat().st_ino == before
    assert page.read_text("utf-8") == assets.text_of("page.js")


def test_a_link_in_place_of_a_file_is_replaced_and_its_target_stays(tmp_path: Path) -> None:
    target = tmp_path / "mine.css"
    target.write_text("mine")
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "style.css").symlink_to(target)
    assets.write_assets(SMALL, tmp_path)
    assert target.read_text() == "mine"
    assert not (tmp_path / "assets" / "style.css").is_symlink()


def test_the_address_changes_with_the_content(monkeypatch: pytest.MonkeyPatch) -> None:
    before = assets.address("style.css", "../")
    assert re.fullmatch(r"\.\./assets/style\.css\?v=[0-9a-f]{8}", before)
    assets._digest.cache_clear()
    monkeypatch.setattr(assets, "text_of", lambda name: "other")
    assert assets.address("style.css", "../") != before
    assets._digest.cache_clear()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "assets").write_text("a file")
    with pytest.raises(ReportError, match="assets: cannot write the report there"):
        assets.write_assets(SMALL, tmp_path)
