"""tito.compete.plain: folders are opened step by step, and nothing is followed or read without end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tito.compete.plain import made, opened, part_name, survey
from tito.compete.problems import RefusedError


def test_each_step_must_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "file").touch()
    with opened(tmp_path, "a", "b") as folder:
        assert folder.name == "b"
    for name, found in (("link", "a symbolic link"), ("file", "a file"), ("gone", "nothing")):
        with pytest.raises(RefusedError, match=f"found {found}, expected a folder"), opened(tmp_path, name, "b"):
            pass


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(20):
        with opened(tmp_path, "a", "b") as folder, made(folder, "c") as inner:
            inner.write(part_name("x"), b"1")
            survey(inner, {"x": 10})
        with pytest.raises(RefusedError), opened(tmp_path, "a", "gone"):
            pass
        with pytest.raises(ValueError, match="inside"), opened(tmp_path, "a"):
            raise ValueError("inside")
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_a_file_is_written_once(tmp_path: Path) -> None:
    with opened(tmp_path) as folder:
        folder.write("x", b"one")
        with pytest.raises(FileExistsError):
            folder.write("x", b"two")
        (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(FileExistsError):
            folder.write("link", b"two")
        assert folder.read("x", 3) == b"one"
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_of_exactly_the_limit_is_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    with opened(tmp_path) as folder:
        assert folder.read("x", 5) == b"12345"
        with pytest.raises(RefusedError, match="too-large x: found 5 bytes, expected at most 4"):
            folder.read("x", 4)


def test_removing_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "x").touch()
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    with opened(tmp_path) as folder:
        for name in ("part", "link", "gone"):
            folder.remove(name)
    assert [str(p.relative_to(tmp_path)) for p in sorted(tmp_path.rglob("*"))] == ["kept", "kept/x"]


def test_a_folder_is_listed_up_to_a_number_of_names(tmp_path: Path) -> None:
    for i in range(5):
        (tmp_path / str(i)).touch()
    with opened(tmp_path) as folder:
        assert folder.names(5) == ["0", "1", "2", "3", "4"]
        with pytest.raises(RefusedError, match="more than 4 names"):
            folder.names(4)


def test_names_of_any_bytes_are_reported(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\x1b[2J")).touch()
    with opened(tmp_path) as folder:
        found, problems = survey(folder, {"x": 1})
    assert found == {}
    assert [problem.code for problem in problems] == ["files", "files"]
    assert all(str(problem).isprintable() for problem in problems)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser reads everything")
def test_a_file_that_may_not_be_read_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "x").touch(mode=0)
    with opened(tmp_path) as folder, pytest.raises(RefusedError, match="files x: found Permission denied"):
        folder.read("x", 1)
