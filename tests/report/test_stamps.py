"""tito.report.stamps: a page is written again if its code, its record, or the earlier runs changed, and only then."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.sample import make_record
from tito.report import stamps
from tito.report.pages import write_pages
from tito.report.stamps import is_current, stamp


def inodes(folder: Path) -> dict[str, int]:
    return {path.stem: path.stat().st_ino for path in (folder / "sample").glob("*.html")}


def test_a_page_that_is_as_it_should_be_stays_untouched(tmp_path: Path) -> None:
    records = [make_record(number=number) for number in range(2)]
    first = write_pages(records, tmp_path)
    before = inodes(tmp_path)
    assert write_pages(records, tmp_path) == first
    assert inodes(tmp_path) == before


def test_an_earlier_run_that_appears_changes_the_pages_after_it(tmp_path: Path) -> None:
    records = [make_record(number=number) for number in range(3)]
    write_pages([records[0], records[2]], tmp_path)
    before = inodes(tmp_path)
    write_pages(records, tmp_path)
    after = inodes(tmp_path)
    assert after["sample-0"] == before["sample-0"]
    assert after["sample-2"] != before["sample-2"]


def test_other_code_writes_every_page_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pages([make_record()], tmp_path)
    before = inodes(tmp_path)
    monkeypatch.setattr(stamps, "_code", lambda: "other")
    write_pages([make_record()], tmp_path)
    assert inodes(tmp_path) != before


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b'<meta name="tito-stamp" content="0">'])
def test_a_page_that_is_not_there_or_has_another_stamp_is_not_current(content: bytes | None, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    if content is not None:
        page.write_bytes(content)
    assert not is_current(page, stamp(["a"]))
