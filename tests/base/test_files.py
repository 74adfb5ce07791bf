"""Atomic writes: complete or not at all, never through a link, and only where a regular file may be."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from tinytorch.base.errors import InputTypeError, PathError
from tinytorch.base.files import atomic_write, writable_path


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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_and_a_link_to_one_are_refused_and_stay(tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link):
        with pytest.raises(PathError, match=f"^{path}: not a regular file"):
            atomic_write(path, b"new")
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert link.is_symlink()


def test_a_link_that_leads_nowhere_is_replaced(tmp_path: Path) -> None:
    for name, target in (("dangling", "nowhere"), ("loop", "loop")):
        (tmp_path / name).symlink_to(target)
        atomic_write(tmp_path / name, b"new")
        assert (tmp_path / name).read_bytes() == b"new"


@pytest.mark.parametrize("path", [None, 5, b"x", ["a"]])
def test_what_is_not_a_path_is_refused(path: Any) -> None:
    with pytest.raises(InputTypeError, match=r"^path is .*: expected a str or a Path$"):
        atomic_write(path, b"new")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("a\0.onnx", "expected a name without characters that the system cannot encode"),
        ("\ud800", "expected a name without characters that the system cannot encode"),
        ("", "a folder: expected the name of a file"),
        ("new/", "new/: the name of a folder: expected the name of a file"),
        ("new/.", "the name of a folder"),
        ("new/..", "the name of a folder"),
        ("file/x.onnx", "file/x.onnx: .*file is not a folder"),
        ("file/folder/x.onnx", "file/folder/x.onnx: .*file is not a folder"),
        ("n" * 256, "^/.*nnn: [^.]*$"),
    ],
)
def test_other_names_are_refused_and_nothing_is_written(tmp_path: Path, name: str, problem: str) -> None:
    (tmp_path / "file").write_text("as it was")
    for write in (writable_path, lambda path: atomic_write(path, b"new")):
        with pytest.raises(PathError, match=problem) as caught:
            write(f"{tmp_path}/{name}")
        assert isinstance(caught.value, OSError)
        assert ".part" not in str(caught.value)
        str(caught.value).encode()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_name_as_long_as_the_system_allows_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250)
    assert atomic_write(path, b"new").read_bytes() == b"new"


def test_an_error_of_the_system_names_the_path_and_keeps_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PathError) as caught:
        atomic_write(tmp_path / "file", b"new")
    assert str(caught.value) == f"{tmp_path / 'file'}: {os.strerror(errno.ENOSPC)}"
    assert (caught.value.errno, caught.value.strerror) == (errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_permission_is_refused_before_the_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *given, **named: False)
    with pytest.raises(PathError, match=f"^{tmp_path / 'new' / 'file'}: {os.strerror(errno.EACCES)}$"):
        writable_path(tmp_path / "new" / "file")
