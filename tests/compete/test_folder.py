"""tito.compete.folder: an entry is there completely or not at all, it never changes, and no link leads elsewhere."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.compete.competition import make_entry, small_model, write_manifest
from tito.compete import folder as module
from tito.compete import plain
from tito.compete.folder import EntryRef, SharedFolder, read_entry, read_model
from tito.compete.manifest import model_sha256
from tito.compete.problems import RefusedError
from tito.errors import TitoError

FILES = ["model.json", "model.safetensors", "submission.json"]


@pytest.fixture
def shared(tmp_path: Path) -> SharedFolder:
    return SharedFolder(tmp_path / "shared")


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    return make_entry(tmp_path / "staged", small_model())


def refused(call: Callable[[], object]) -> list[tuple[str, str]]:
    with pytest.raises(RefusedError) as caught:
        call()
    return [(problem.code, problem.file) for problem in caught.value.problems]


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# Publishing -------------------------------------------------------------------------------------------


def test_a_published_entry_is_the_staged_one(shared: SharedFolder, staged: Path) -> None:
    path = shared.publish(staged, "alice/small")
    assert path == shared.path / "alice" / "small" == shared.entry_path("alice/small")
    assert everything(path) == everything(staged)
    assert shared.entries() == [EntryRef("alice/small", path)]
    assert [p.name for p in path.parent.iterdir()] == ["small"]


def test_a_folder_that_does_not_exist_yet_is_empty(shared: SharedFolder) -> None:
    assert (shared.scan(), shared.receipts(), shared.models()) == (([], []), [], {})


def test_an_existing_name_is_taken_and_stays_as_it_is(shared: SharedFolder, staged: Path, tmp_path: Path) -> None:
    path = shared.publish(staged, "alice/small")
    before = everything(path)
    other = make_entry(tmp_path / "other", small_model(seed=2))
    assert refused(lambda: shared.publish(other, "alice/small")) == [("taken", "alice/small")]
    assert everything(shared.path) == {f"alice/small/{name}": content for name, content in before.items()}


@pytest.mark.parametrize("kind", ["file", "empty folder", "dangling link", "link to a folder"])
def test_whatever_has_the_name_is_not_replaced(shared: SharedFolder, staged: Path, tmp_path: Path, kind: str) -> None:
    place = shared.path / "alice" / "small"
    place.parent.mkdir(parents=True)
    if kind == "file":
        place.write_text("mine")
    elif kind == "empty folder":
        place.mkdir()
    else:
        target = tmp_path / "target"
        place.symlink_to(target)
        if kind == "link to a folder":
            target.mkdir()
    before = place.lstat()
    assert refused(lambda: shared.publish(staged, "alice/small")) == [("taken", "alice/small")]
    assert place.lstat().st_ino == before.st_ino
    assert not list(tmp_path.glob("target/*"))


@pytest.mark.parametrize("kind", ["file", "empty folder", "full folder", "dangling link", "link to a folder"])
def test_a_name_that_is_taken_at_the_last_moment(
    shared: SharedFolder, staged: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, target = shared.path / "alice" / "small", tmp_path / "target"
    rename = plain.Folder.rename

    def late(folder: plain.Folder, old: str, new: str) -> None:
        if kind == "file":
            place.write_text("mine")
        elif "link" in kind:
            place.symlink_to(target)
            if kind == "link to a folder":
                target.mkdir()
        else:
            place.mkdir()
            if kind == "full folder":
                (place / "x").touch()
        rename(folder, old, new)

    monkeypatch.setattr(plain.Folder, "rename", late)
    if kind == "empty folder":  # it held nothing that could be lost
        assert everything(shared.publish(staged, "alice/small")) == everything(staged)
    else:
        assert refused(lambda: shared.publish(staged, "alice/small")) == [("taken", "alice/small")]
        assert [p.name for p in place.parent.iterdir()] == ["small"]
        assert not list(tmp_path.glob("target/*"))


def test_staged_files_that_changed_after_the_check(shared: SharedFolder, staged: Path) -> None:
    with (staged / "model.json").open("a") as file:
        file.write(" ")
    assert refused(lambda: shared.publish(staged, "alice/small")) == [("changed", "model.json, model.safetensors")]
    assert shared.entries() == []


def test_a_manifest_of_another_entry_is_not_published(shared: SharedFolder, staged: Path) -> None:
    assert refused(lambda: shared.publish(staged, "alice/other")) == [("manifest", "submission.json")]


@pytest.mark.parametrize(
    "id", ["../small", "alice/../../x", "/tmp/x", "alice", "receipts/small", "Alice/small", "a/nul"]
)
def test_a_bad_name_is_no_path(shared: SharedFolder, staged: Path, id: str) -> None:
    for call in (lambda: shared.publish(staged, id), lambda: shared.entry_path(id), lambda: shared.read(id)):
        assert refused(call)[0][0] == "name"
    assert not shared.path.exists()


def test_a_linked_submitter_leads_nowhere(shared: SharedFolder, staged: Path, tmp_path: Path) -> None:
    shared.path.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (shared.path / "alice").symlink_to(tmp_path / "elsewhere")
    assert refused(lambda: shared.publish(staged, "alice/small")) == [("not-plain", "alice")]
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_submitter_that_becomes_a_link_leads_nowhere(
    shared: SharedFolder, staged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere, write = tmp_path / "elsewhere", plain.Folder.write
    elsewhere.mkdir()

    def late(folder: plain.Folder, name: str, content: bytes, mode: int = 0o666) -> None:
        if (shared.path / "alice").is_symlink() is False:
            (shared.path / "alice").rename(shared.path / "moved")
            (shared.path / "alice").symlink_to(elsewhere)
        write(folder, name, content, mode)

    monkeypatch.setattr(plain.Folder, "write", late)
    shared.publish(staged, "alice/small")
    assert list(elsewhere.iterdir()) == []
    assert sorted(p.name for p in (shared.path / "moved" / "small").iterdir()) == FILES


def test_a_disk_that_refuses_is_one_line_and_leaves_nothing(
    shared: SharedFolder, staged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(TitoError, match=r"shared: cannot be written: No space left on device$"):
        shared.publish(staged, "alice/small")
    assert list((shared.path / "alice").iterdir()) == []


def test_what_a_killed_writer_left_is_no_entry_and_goes_after_an_hour(shared: SharedFolder, staged: Path) -> None:
    shared.publish(staged, "alice/small")
    old, new = (shared.path / "alice" / f".x.{i}.part" for i in "01")
    for part in (old, new):
        part.mkdir()
        (part / "model.json").touch()
    os.utime(old, (0, 0))
    assert shared.scan()[1] == []
    shared.publish(write_manifest(staged, "alice/second"), "alice/second")
    assert sorted(p.name for p in (shared.path / "alice").iterdir()) == [".x.1.part", "second", "small"]


def test_sixteen_threads_of_one_name_publish_one_entry(shared: SharedFolder, staged: Path) -> None:
    def attempt(_: int) -> str:
        try:
            return str(shared.publish(staged, "alice/small"))
        except RefusedError as error:
            return error.problems[0].code

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(attempt, range(16)))
    assert sorted(answers) == [str(shared.path / "alice" / "small"), *["taken"] * 15]
    assert everything(shared.path / "alice" / "small") == everything(staged)


# Listing ----------------------------------------------------------------------------------------------


def test_what_is_no_entry_is_skipped_and_named(shared: SharedFolder, staged: Path, tmp_path: Path) -> None:
    shared.publish(staged, "alice/small")
    (shared.path / "README.md").touch()
    for name in (".git", "reference/mnist", "receipts/0123456789ab", "Bob/x", "alice/Big", "аlice/small", "con/x"):
        (shared.path / name).mkdir(parents=True)
    (shared.path / "alice" / "notes.txt").touch()
    (shared.path / "eve").symlink_to(tmp_path)
    (shared.path / "alice" / "link").symlink_to(staged)
    os.mkfifo(shared.path / "alice" / "pipe")
    entries, problems = shared.scan()
    assert [entry.id for entry in entries] == ["alice/small"]
    assert {(problem.code, problem.file) for problem in problems} == {
        ("name", "Bob"),
        ("name", "con"),
        ("name", "аlice"),
        ("name", "alice/Big"),
        ("files", "alice/notes.txt"),
        ("not-plain", "eve"),
        ("not-plain", "alice/link"),
        ("not-plain", "alice/pipe"),
    }


def test_a_folder_without_end_is_not_listed(
    shared: SharedFolder, staged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared.publish(staged, "alice/small")
    for i in range(20):
        (shared.path / "bob" / str(i)).mkdir(parents=True)
    monkeypatch.setattr(plain.Folder.names, "__defaults__", (10,))
    entries, problems = shared.scan()
    assert [entry.id for entry in entries] == ["alice/small"]
    assert [str(problem) for problem in problems] == ["files bob: found more than 10 names, expected fewer"]


def test_models_say_who_holds_them(shared: SharedFolder, staged: Path, tmp_path: Path) -> None:
    shared.publish(staged, "alice/small")
    other = make_entry(tmp_path / "other", small_model(seed=2), "bob/other")
    shared.publish(other, "bob/other")
    hashes = {model_sha256(*read_model(folder)): id for folder, id in ((staged, "alice/small"), (other, "bob/other"))}
    assert shared.models() == hashes


def test_of_two_holders_the_older_one_is_first(shared: SharedFolder, staged: Path) -> None:
    for id, age in (("alice/late", 200), ("bob/early", 100), ("carol/later", 300)):
        os.utime(shared.publish(write_manifest(staged, id), id), (age, age))
    assert list(shared.models().values()) == ["bob/early"]


def test_nobody_claims_a_model_that_they_do_not_hold(shared: SharedFolder, staged: Path, tmp_path: Path) -> None:
    sha256 = model_sha256(*read_model(staged))
    liar = make_entry(shared.path / "eve" / "claim", small_model(seed=2), "eve/claim", model_sha256=sha256)
    os.utime(liar, (0, 0))
    assert shared.models(new=sha256) == {}
    shared.publish(staged, "alice/small")
    assert shared.models() == {sha256: "alice/small"}


# Private copies ---------------------------------------------------------------------------------------


def test_a_private_copy_is_the_entry_and_nobody_else_s(shared: SharedFolder, staged: Path, tmp_path: Path) -> None:
    shared.publish(staged, "alice/small")
    copy = shared.private_copy("alice/small", tmp_path / "copies" / "one")
    assert everything(copy.path) == everything(staged)
    assert copy.manifest.id == "alice/small"
    assert copy.model_sha256 == model_sha256(*read_model(staged)) == copy.manifest.model_sha256
    assert stat.S_IMODE(copy.path.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in copy.path.iterdir()} == {0o600}


def test_an_entry_that_changed_between_check_and_copy(shared: SharedFolder, staged: Path, tmp_path: Path) -> None:
    path = shared.publish(staged, "alice/small")
    checked = model_sha256(*read_model(path))
    other = make_entry(tmp_path / "other", small_model(seed=2))
    (path / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    assert refused(lambda: shared.private_copy("alice/small", tmp_path / "one"))[0][0] == "changed"
    write_manifest(path)  # consistent again, and yet another model than the one that was checked
    assert refused(lambda: shared.private_copy("alice/small", tmp_path / "one", checked))[0][0] == "changed"
    assert not (tmp_path / "one").exists()
    assert shared.private_copy("alice/small", tmp_path / "one").manifest.id == "alice/small"


@pytest.mark.parametrize("name", FILES)
def test_no_link_is_copied(shared: SharedFolder, staged: Path, tmp_path: Path, name: str) -> None:
    path = shared.publish(staged, "alice/small")
    (path / name).unlink()
    (path / name).symlink_to(staged / name)
    assert refused(lambda: shared.private_copy("alice/small", tmp_path / "one")) == [("not-plain", name)]


def test_a_file_that_is_swapped_while_it_is_read(
    shared: SharedFolder, staged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shared.publish(staged, "alice/small")
    os_open = os.open

    def late(name: str, flags: int, *more: int, dir_fd: int | None = None) -> int:
        if name == "model.json" and not flags & os.O_CREAT:
            (path / name).unlink()
            (path / name).symlink_to("/etc/passwd")
        return os_open(name, flags, *more, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", late)
    assert refused(lambda: shared.private_copy("alice/small", tmp_path / "one"))[0][1] == "model.json"
    assert not (tmp_path / "one").exists()


def test_a_file_that_is_replaced_while_it_is_read(
    shared: SharedFolder, staged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shared.publish(staged, "alice/small")
    os_open = os.open

    def late(name: str, flags: int, *more: int, dir_fd: int | None = None) -> int:
        if name == "model.json" and not flags & os.O_CREAT:
            (path / "new").write_text("{}")
            (path / "new").rename(path / name)
        return os_open(name, flags, *more, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", late)
    problems = refused(lambda: shared.private_copy("alice/small", tmp_path / "one"))
    assert problems == [("changed", "model.json")]


def test_a_file_that_grows_while_it_is_read(
    shared: SharedFolder, staged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, read = shared.publish(staged, "alice/small"), plain._read

    def late(handle: int, most: int) -> bytes:
        with (path / "submission.json").open("ab") as file:
            file.write(b" " * 100)
        return read(handle, most)

    monkeypatch.setattr(plain, "_read", late)
    assert ("changed", "submission.json") in refused(lambda: shared.private_copy("alice/small", tmp_path / "one"))


def test_an_entry_that_is_not_there(shared: SharedFolder, tmp_path: Path) -> None:
    shared.path.mkdir()
    assert refused(lambda: shared.read("alice/small")) == [("files", "alice")]
    with pytest.raises(TitoError, match="cannot be read: No such file"):
        read_entry(tmp_path / "no" / "where")


# Receipts ---------------------------------------------------------------------------------------------

GROUND = "0123456789ab"


def test_a_receipt_is_written_once_outside_the_entries(shared: SharedFolder, staged: Path) -> None:
    shared.publish(staged, "alice/small")
    path = shared.save_receipt(GROUND, "alice/small", "20261124T000000Z-1", '{"a": 1}\n')
    assert path == shared.path / "receipts" / GROUND / "alice.small.20261124T000000Z-1.json"
    assert shared.receipts() == [path]
    assert shared.read_receipt(path) == b'{"a": 1}\n'
    with pytest.raises(TitoError, match="never overwritten"):
        shared.save_receipt(GROUND, "alice/small", "20261124T000000Z-1", "{}")
    assert [entry.id for entry in shared.entries()] == ["alice/small"]
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("ground", "id", "receipt"),
    [
        ("../../../tmp", "a/b", "1"),
        (GROUND, "a/b", "../x"),
        (GROUND, "a/b", ""),
        (GROUND, "../b", "1"),
        ("", "a/b", "1"),
    ],
)
def test_a_receipt_has_a_place_of_its_own(shared: SharedFolder, ground: str, id: str, receipt: str) -> None:
    with pytest.raises(TitoError):
        shared.save_receipt(ground, id, receipt, "{}")
    assert not shared.path.exists()


@pytest.mark.parametrize("level", ["receipts", "ground"])
def test_receipts_are_not_written_or_read_through_a_link(shared: SharedFolder, tmp_path: Path, level: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.b.1.json").write_text("{}")
    place = shared.path / "receipts" if level == "receipts" else shared.path / "receipts" / GROUND
    place.parent.mkdir(parents=True)
    place.symlink_to(elsewhere)
    with pytest.raises(RefusedError, match="not-plain"):
        shared.save_receipt(GROUND, "a/b", "2", "{}")
    assert [p.name for p in elsewhere.iterdir()] == ["a.b.1.json"]
    assert shared.receipts() == []


def test_what_is_no_receipt_is_not_listed(shared: SharedFolder, tmp_path: Path) -> None:
    path = shared.save_receipt(GROUND, "a/b", "1", "{}")
    for name in (".a.b.2.json.0.part", "notes.txt", ".hidden.json"):
        (path.parent / name).touch()
    (path.parent / "a.b.3.json").symlink_to(path)
    (path.parent / "a.b.4.json").mkdir()
    (shared.path / "receipts" / "notes").mkdir()
    assert shared.receipts() == [path]
    assert refused(lambda: shared.read_receipt(path.with_name("a.b.3.json"))) == [("not-plain", "a.b.3.json")]


def test_a_huge_receipt_is_not_read(shared: SharedFolder) -> None:
    path = shared.save_receipt(GROUND, "a/b", "1", "{}")
    os.truncate(path, module.RECEIPT_BYTES + 1)
    assert refused(lambda: shared.read_receipt(path)) == [("too-large", path.name)]
