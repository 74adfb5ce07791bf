"""Templates to files: whole pages only, and no page of something that is gone."""

from __future__ import annotations

import html
import os
import time
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from tito.report.rendering import coded, environment, render, replace_documents


def test_a_value_is_escaped_and_a_missing_one_is_an_error() -> None:
    made = environment()
    assert made.from_string("{{ value }}").render(value="<b>") == "&lt;b&gt;"
    with pytest.raises(UndefinedError):
        made.from_string("{{ value }}").render()
    assert "default-src 'none'" in html.unescape(render(made, "base.html.j2"))


def test_code_in_backticks_is_marked_and_nothing_else_is_markup() -> None:
    assert coded("a `b<c` <d>") == "a <code>b&lt;c</code> &lt;d&gt;"
    assert coded("one ` <b>") == "one ` &lt;b&gt;"


def test_a_folder_holds_the_given_pages_and_no_others(tmp_path: Path) -> None:
    replace_documents({"a.html": "a", "b.html": "b"}, tmp_path / "new")
    (tmp_path / "new" / "notes.txt").write_text("mine")
    replace_documents({"b.html": "c"}, tmp_path / "new")
    assert {path.name: path.read_text() for path in (tmp_path / "new").iterdir()} == {
        "b.html": "c",
        "notes.txt": "mine",
    }


def test_what_a_killed_writer_left_is_removed_after_an_hour(tmp_path: Path) -> None:
    for name, age in ((".a.html.1.part", 7200), (".b.html.2.part", 60)):
        (tmp_path / name).write_text("half")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    replace_documents({"a.html": "a"}, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"a.html", ".b.html.2.part"}


def test_a_page_that_cannot_be_renamed_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(KeyboardInterrupt):
        replace_documents({"a.html": "a"}, tmp_path)
    assert list(tmp_path.iterdir()) == []
