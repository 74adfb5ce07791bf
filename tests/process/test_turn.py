"""tito.process.turn: two measurements never overlap, and a holder that is killed blocks nobody."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tito.errors import TitoError
from tito.process.turn import turn, turn_file

HOLD = """
import sys, time
from pathlib import Path
from tito.process.turn import turn
with turn(sys.argv[1], lambda holder: print("waits for", holder, flush=True), Path(sys.argv[2])):
    print("began", time.monotonic(), flush=True)
    time.sleep(float(sys.argv[3]))
    print("ended", time.monotonic(), flush=True)
"""


def holder(path: Path, what: str, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, what, str(path), str(seconds)], stdout=subprocess.PIPE, text=True
    )


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline()


def test_measurements_never_overlap(tmp_path: Path) -> None:
    processes = [holder(tmp_path / "lock", f"number {i}", 0.05) for i in range(6)]
    spans = []
    for process in processes:
        told = [text for text in process.communicate()[0].splitlines() if not text.startswith("waits")]
        spans.append(tuple(float(text.split()[1]) for text in told))
    assert all(len(span) == 2 for span in spans)
    spans.sort()
    assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(spans))


def test_who_waits_says_for_whom(tmp_path: Path) -> None:
    first = holder(tmp_path / "lock", "tito verify alice/\x1bint8", 60)
    assert line(first).startswith("began")
    second = holder(tmp_path / "lock", "second", 0)
    assert line(second).startswith(f"waits for tito verify alice/\\x1bint8 (process {first.pid}, since ")
    first.kill()
    assert line(second).startswith("began")
    for process in (first, second):
        process.communicate()


def test_a_holder_that_is_killed_blocks_nobody(tmp_path: Path) -> None:
    first = holder(tmp_path / "lock", "first", 60)
    assert line(first).startswith("began")
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    waited: list[str] = []
    start = time.monotonic()
    with turn("second", waited.append, tmp_path / "lock"):
        pass
    assert waited == []
    assert time.monotonic() - start < 5


def test_an_error_inside_releases_the_turn(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), turn("first", print, tmp_path / "lock"):
        raise KeyboardInterrupt
    with turn("second", lambda holder: pytest.fail(holder), tmp_path / "lock"):
        pass


def test_a_child_does_not_keep_the_turn(tmp_path: Path) -> None:
    with turn("first", print, tmp_path / "lock"):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        with turn("second", lambda holder: pytest.fail(holder), tmp_path / "lock"):
            pass
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"pid": "x"}', b"\xff\xfe", b"[]", b'{"pid":1,"what":"a","since":1e999}']
)
def test_a_description_that_cannot_be_read_still_waits(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "lock"
    first = holder(path, "first", 60)
    assert line(first).startswith("began")
    path.write_bytes(content)
    second = holder(path, "second", 0)
    assert line(second) == "waits for another measurement\n"
    first.kill()
    assert line(second).startswith("began")
    for process in (first, second):
        process.communicate()


def test_a_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TitoError, match="a link or another user's"), turn("first", print, tmp_path / "link" / "lock"):
        pass


def test_the_place_of_the_lock_does_not_depend_on_the_kind_of_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TITO_TURN", raising=False)
    before = turn_file()
    for name in ("TMPDIR", "XDG_RUNTIME_DIR", "HOME"):
        monkeypatch.setenv(name, "/somewhere/else")
    assert turn_file() == before
    monkeypatch.setenv("TITO_TURN", "/named/lock")
    assert turn_file() == Path("/named/lock")


def test_a_link_at_the_place_of_the_lock_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TitoError, match="cannot be opened"), turn("first", print, tmp_path / "lock"):
        pass
    assert not (tmp_path / "elsewhere").exists()
