"""The data cache: every way in which fetching a file succeeds or fails, without network access."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.sample import everything_in, zipped
from tinytorch.base.errors import DataError, TinyTorchError
from tinytorch.datasets import downloads
from tinytorch.datasets import sources as obtaining
from tinytorch.datasets.catalogue import CATALOGUE
from tinytorch.datasets.downloads import cache_folder, fetch, file_state
from tinytorch.datasets.sources import DataFiles, FileFact, Source, SourceFailed

REPOSITORY = Path(__file__).parents[2]
FILES = {"first.bin": b"the first file" * 50, "second.bin": b"the second one" * 70}
FACTS = {name: FileFact(len(content), hashlib.sha256(content).hexdigest()) for name, content in FILES.items()}


def unzip(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            yield name, archive.read(name)


def source(content: bytes | str, name: str = "a package") -> Source:
    """Return a source whose archive is `content`; if `content` is a string, the source fails with that reason."""

    def obtain(archive: str, folder: Path) -> Path:
        if isinstance(content, str):
            raise SourceFailed(content)
        (folder / archive).write_bytes(content)
        return folder / archive

    return Source(name, {f"{name.split()[-1]}.zip": tuple(FILES)}, obtain, unzip)


def data(*sources: Source) -> DataFiles:
    return DataFiles("pair", "The pair", "two files", FACTS, sources)


GOOD = source(zipped(FILES))
NO_NETWORK = source("no answer", "the address")


def test_files_come_from_the_first_source_that_works(tmp_path: Path) -> None:
    lines: list[str] = []
    folder = fetch(data(NO_NETWORK, GOOD, source("never used")), tmp_path, report=lines.append)
    assert everything_in(folder) == FILES
    assert [line for line in lines if "no answer" in line] == ["The pair: the address: no answer"]
    assert not [line for line in lines if "never used" in line]


def test_complete_files_are_not_fetched_again(tmp_path: Path) -> None:
    fetch(data(GOOD), tmp_path)
    lines: list[str] = []
    fetch(data(NO_NETWORK), tmp_path, report=lines.append)
    assert lines == []


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda content: content[:100], "100 bytes instead of 700"),
        (lambda content: content + b"x", "701 bytes instead of 700"),
        (lambda content: b"T" + content[1:], "its SHA-256 differs"),
        (lambda content: b"", "0 bytes instead of 700"),
    ],
    ids=["truncated", "longer", "changed", "empty"],
)
def test_corrupt_file_is_rejected_and_fetched_again(
    tmp_path: Path, damage: Callable[[bytes], bytes], said: str
) -> None:
    path = fetch(data(GOOD), tmp_path) / "first.bin"
    path.write_bytes(damage(FILES["first.bin"]))
    assert file_state(path, FACTS["first.bin"]) == "corrupt"
    with pytest.raises(DataError, match=said):
        list(downloads.contents(data(NO_NETWORK), tmp_path, True, None))
    lines: list[str] = []
    read = list(downloads.contents(data(GOOD), tmp_path, True, lines.append))
    assert [content.tobytes() for content in read] == list(FILES.values())
    assert said in lines[0]
    assert "fetching it again" in lines[0]
    assert file_state(path, FACTS["first.bin"]) == "ok"


def test_only_missing_files_are_replaced(tmp_path: Path) -> None:
    folder = fetch(data(GOOD), tmp_path)
    (folder / "first.bin").unlink()
    before = (folder / "second.bin").stat()
    fetch(data(GOOD), tmp_path)
    after = (folder / "second.bin").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert everything_in(folder) == FILES


@pytest.mark.parametrize(
    ("archive", "said"),
    [
        (zipped({**FILES, "second.bin": b"the wrong one " * 70}), "second.bin does not have the pinned content"),
        (zipped({"first.bin": FILES["first.bin"]}), "does not contain second.bin"),
        (zipped(FILES)[:-40], "truncated, corrupt, or not the expected archive"),
        (b"<html>Log in to this network</html>", "truncated, corrupt, or not the expected archive"),
        (b"", "truncated, corrupt, or not the expected archive"),
    ],
    ids=["wrong hash", "missing file", "truncated", "login page", "empty"],
)
def test_bad_archive_is_reported_in_one_line_and_the_next_source_is_tried(
    tmp_path: Path, archive: bytes, said: str
) -> None:
    with pytest.raises(DataError, match=said) as caught:
        fetch(data(source(archive)), tmp_path)
    assert len([line for line in str(caught.value).splitlines() if said in line]) == 1
    assert "second.bin" not in {path.name for path in tmp_path.rglob("*")}
    assert everything_in(fetch(data(source(archive), GOOD), tmp_path)) == FILES


def test_archive_placed_by_hand_is_used_before_any_download(tmp_path: Path) -> None:
    (tmp_path / "pair").mkdir()
    (tmp_path / "pair" / "package.zip").write_bytes(zipped(FILES))
    fetch(data(NO_NETWORK, GOOD), tmp_path, download=False)
    assert all(file_state(tmp_path / "pair" / name, fact) == "ok" for name, fact in FACTS.items())


def test_bad_archive_placed_by_hand_does_not_block_other_sources(tmp_path: Path) -> None:
    (tmp_path / "pair").mkdir()
    (tmp_path / "pair" / "package.zip").write_bytes(b"not a zip")
    with pytest.raises(DataError, match=r"package\.zip in the cache: package\.zip is truncated"):
        fetch(data(GOOD), tmp_path, download=False)
    fetch(data(GOOD), tmp_path)


def test_final_error_lists_what_was_tried_and_where_the_files_belong(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        fetch(data(NO_NETWORK, source("npm is not installed")), tmp_path)
    message = str(caught.value)
    for part in (
        "first.bin in the cache: missing",
        "the address: no answer",
        "a package: npm is not installed",
        str(tmp_path / "pair"),
        "first.bin, second.bin",
        "address.zip",
        "package.zip",
    ):
        assert part in message
    assert isinstance(caught.value, TinyTorchError)


def test_without_download_no_source_is_used(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="download=False"):
        fetch(data(GOOD), tmp_path, download=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_write_error_names_the_folder_and_leaves_no_partial_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(DataError) as caught:
        fetch(data(GOOD), tmp_path)
    for part in (str(tmp_path / "pair"), "first.bin", os.strerror(code), "TINYTORCH_DATA"):
        assert part in str(caught.value)
    assert list((tmp_path / "pair").iterdir()) == []


def test_read_only_root_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(DataError, match="Permission denied"):
        fetch(data(GOOD), tmp_path)


def test_file_in_place_of_the_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "pair").write_text("in the way")
    with pytest.raises(DataError, match=r"pair: cannot write into it"):
        fetch(data(GOOD), tmp_path)


def test_unreadable_cached_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch(data(GOOD), tmp_path)

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(np, "fromfile", refuse)
    with pytest.raises(DataError, match=r"first\.bin: cannot be read \(Permission denied\)"):
        list(downloads.contents(data(GOOD), tmp_path, True, None))


def test_full_disk_during_a_download_is_reported_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.TemporaryDirectory", refuse)
    with pytest.raises(DataError, match=r"a package: .*No space left"):
        fetch(data(GOOD), tmp_path)


CONCURRENT = """
import hashlib, shutil, sys, time
from pathlib import Path
from tinytorch.datasets.downloads import contents
from tinytorch.datasets.sources import DataFiles, FileFact, Source

archive, root = Path(sys.argv[1]), Path(sys.argv[2])
content = bytes(range(256)) * 4000
fact = FileFact(len(content), hashlib.sha256(content).hexdigest())
source = Source("a copy", {"all": ("big.bin",)}, lambda name, folder: Path(shutil.copy(archive, folder / name)),
                lambda path: iter([("big.bin", path.read_bytes())]))
data = DataFiles("big", "Big", "a file", {"big.bin": fact}, (source,))
print("ready", flush=True)
while not (root / "go").exists():
    time.sleep(0.001)
for turn in range(30):
    (read,) = contents(data, root / str(turn), True, lambda line: None)
    assert read.tobytes() == content
"""


def test_concurrent_fetches_leave_complete_files(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(bytes(range(256)) * 4000)
    command = [sys.executable, "-c", CONCURRENT, str(archive), str(tmp_path)]
    processes = [
        subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    (tmp_path / "go").touch()
    assert [process.communicate(timeout=60)[1] for process in processes] == ["", ""]
    assert [process.returncode for process in processes] == [0, 0]
    for turn in range(30):
        assert everything_in(tmp_path / str(turn) / "big") == {"big.bin": archive.read_bytes()}


# The clients that fetch packages


def test_missing_and_failing_clients_are_reported_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(SourceFailed, match="npm is not installed"):
        obtaining.from_npm("a@1.0.0", "a-1.0.0.tgz", tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SourceFailed, match="no pip in this Python environment"):
        obtaining.from_pypi("a==1.0.0", "a.whl", tmp_path)

    said = "npm error code ENOTFOUND\nnpm error network request failed, and much more\n"
    monkeypatch.setattr("shutil.which", lambda name: name)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1, "", said))
    with pytest.raises(SourceFailed) as caught:
        obtaining.from_npm("a@1.0.0", "a-1.0.0.tgz", tmp_path)
    assert str(caught.value) == "npm could not fetch it (npm error code ENOTFOUND)"

    def hang(command: list[str], **_: object) -> None:
        raise subprocess.TimeoutExpired(command, 1)

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(SourceFailed, match="pip did not finish"):
        obtaining.from_pypi("a==1.0.0", "a.whl", tmp_path)


def test_wheel_is_fetched_by_the_environments_pip_or_else_any_pip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        (tmp_path / "a.whl").write_bytes(b"")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    obtaining.from_pypi("a==1.0.0", "a.whl", tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert obtaining.from_pypi("a==1.0.0", "a.whl", tmp_path) == tmp_path / "a.whl"
    assert [command[0] for command in commands] == [sys.executable, "/usr/bin/pip"]
    assert all({"--no-deps", "--only-binary"} < set(command) for command in commands)
    with pytest.raises(SourceFailed, match=r"there is no b\.whl"):
        obtaining.from_pypi("b==1.0.0", "b.whl", tmp_path)


def test_unreachable_address_is_reported_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pooch = pytest.importorskip("pooch")

    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("HTTPSConnectionPool(host='example.org', port=443): " + "Max retries " * 20)

    monkeypatch.setattr(pooch, "retrieve", fail)
    with pytest.raises(SourceFailed) as caught:
        obtaining.from_address("https://example.org/folder/", "a.gz", tmp_path)
    assert str(caught.value) == "no file from example.org (ConnectionError)"


def test_cache_folder_is_the_argument_then_the_variable_then_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYTORCH_DATA", str(tmp_path / "variable"))
    assert cache_folder(tmp_path / "argument") == tmp_path / "argument"
    assert cache_folder() == tmp_path / "variable"
    monkeypatch.delenv("TINYTORCH_DATA")
    assert cache_folder().parts[-2:] == ("tinytorch", "data")
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    assert cache_folder() == Path.home() / ".cache" / "tinytorch" / "data"


@pytest.mark.parametrize("data", CATALOGUE.values(), ids=lambda data: data.name)
def test_the_hint_for_files_by_hand_says_where_to_get_every_archive(data: DataFiles, tmp_path: Path) -> None:
    def refuse(archive: str, folder: Path) -> Path:
        raise SourceFailed("no network")

    offline = replace(data, sources=tuple(replace(source, obtain=refuse) for source in data.sources))
    with pytest.raises(DataError) as caught:
        fetch(offline, tmp_path)
    lines = str(caught.value).splitlines()
    for source in data.sources:
        (line,) = [line for line in lines if line.strip().startswith(", ".join(source.provides))]
        assert line.endswith(f"(from: {source.address})")
        package = source.name.rpartition(" ")[2]  # a registry is asked by its own client, which knows where it is
        command = (
            source.address.startswith(("`npm pack ", "`python -m pip download ")) and f" {package}`" in source.address
        )
        assert source.address.startswith("https://") or command
