"""Files that anybody may have put there, paths that a user typed, and folders that a killed run left."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tito.errors import TitoError
from tito.files import read_plain, scratch, scratch_prefix, user_path


def test_a_regular_file_and_a_link_to_one_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_plain(tmp_path / "file", 7) == read_plain(tmp_path / "link", 7) == b"content"


def test_what_is_no_file_or_too_large_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    (tmp_path / "large").write_bytes(bytes(1001))
    for name, reason in (
        ("pipe", "not a regular file"),
        ("endless", "not a regular file"),
        ("large", "larger than 0.001 MB"),
        ("missing", "No such file"),
    ):
        with pytest.raises(OSError) as found:  # noqa: PT011 (the reason is in strerror)
            read_plain(tmp_path / name, 1000)
        assert reason in str(found.value.strerror)
    with pytest.raises(OSError):  # noqa: PT011
        read_plain(tmp_path, 1000)


def test_a_home_of_nobody_is_an_error_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/models") == tmp_path / "models"
    with pytest.raises(TitoError, match=r"^~nosuch-user/models: no such user; write \./~nosuch-user/models for a file"):
        user_path("~nosuch-user/models")


def test_a_scratch_folder_is_removed_and_so_are_those_of_processes_that_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = "import os; from tito.files import scratch\nwith scratch('run') as folder: os._exit(9)"
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"TMPDIR": str(tmp_path)}, check=False)
    (left,) = tmp_path.iterdir()
    mine = tmp_path / f"{scratch_prefix('run')}abc"
    others = [tmp_path / "tito-notes", tmp_path / "tito-run-x-1-a", mine]
    for folder in others:
        folder.mkdir()
    (tmp_path / f"tito-run-{2**22 + 5}-1-link").symlink_to(others[0])
    with scratch("run") as folder:
        assert folder.is_dir()
        assert not left.exists()
        assert all(other.is_dir() for other in others)
    assert not folder.exists()


def test_a_folder_that_goes_while_it_is_looked_at_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = [tmp_path / f"tito-run-{2**22 + number}-1-x" for number in range(5)]
    for folder in left:
        folder.mkdir()
    scan = os.scandir

    @contextmanager
    def racing(path: Path) -> Iterator[Iterator[os.DirEntry[str]]]:
        """Entries of which another process removes every second one as soon as it is listed."""

        def listed() -> Iterator[os.DirEntry[str]]:
            for number, entry in enumerate(entries):
                if number % 2 == 0:
                    Path(entry.path).rmdir()
                yield entry

        with scan(path) as entries:
            yield listed()

    monkeypatch.setattr("tito.files.os.scandir", racing)
    with scratch("run"):
        assert not any(folder.exists() for folder in left)
