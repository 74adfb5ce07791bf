"""Atomic writes: complete or not at all, and never through a link."""

from __future__ import annotations

from pathlib import Path

from tinytorch.base.files import atomic_write


def test_a_link_is_replaced_and_its_target_stays(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "precious"
    target.parent.mkdir()
    target.write_text("as it was")
    target.chmod(0o600)
    link = tmp_path / "index.html"
    link.symlink_to(target)
    assert atomic_write(link, b"new") == link
    assert target.read_text() == "as it was"
    assert not link.is_symlink()
    assert link.read_bytes() == b"new"


def test_a_linked_folder_is_written_into(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "reports").symlink_to("real")
    assert atomic_write(tmp_path / "reports" / "page", b"new") == tmp_path / "real" / "page"


def test_the_mode_of_a_file_stays(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "file").chmod(0o640)
    atomic_write(tmp_path / "file", b"new")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
