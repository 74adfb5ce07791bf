"""tito.course.inside: a journal is read as far as it was written."""

from __future__ import annotations

from pathlib import Path

from tito.course.inside import read_journal


def test_half_a_line_and_foreign_lines_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "0.jsonl"
    assert read_journal(path) == []
    path.write_bytes(b'{"event": "test", "test": "a"}\nnoise\n[1]\n{"other": 1}\n\xff\n{"event": "en')
    assert read_journal(path) == [{"event": "test", "test": "a"}]
