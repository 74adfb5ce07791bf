"""The journal: a round that ended is there, whole; a damaged one is measured again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tito.bench.record import SeedRun
from tito.compete.journal import VARIABLE, Journal, state_folder
from tito.errors import TitoError

RUN = SeedRun(seed=3, metrics={"p50_us": 30.25}, curve=[], exhibits=[], raw={"own_us": [30.0, 30.5]})


def test_a_kept_round_comes_back_unchanged(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "entry")
    assert journal.read("mnist_times", 3) is None
    journal.keep("mnist_times", RUN)
    assert journal.read("mnist_times", 3) == RUN
    assert journal.read("mnist_times", 2) is None
    assert journal.read("mnist_quality", 3) is None


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"seed": 3}', b'{"seed": 3, "metrics": {"a": NaN}}'])
def test_a_damaged_round_is_none(tmp_path: Path, content: bytes) -> None:
    journal = Journal(tmp_path)
    journal.keep("case", RUN)
    (tmp_path / "case.3.json").write_bytes(content)
    assert journal.read("case", 3) is None


def test_other_files_and_other_grounds_are_other_journals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    first = Journal.of("aa" * 6, "alice/int8", "ab" * 32)
    others = [
        Journal.of("bb" * 6, "alice/int8", "ab" * 32),
        Journal.of("aa" * 6, "alice/int8", "cd" * 32),
        Journal.of("aa" * 6, "bob/int8", "ab" * 32),
    ]
    first.keep("case", RUN)
    assert [other.read("case", 3) for other in others] == [None] * 3
    assert Journal.of("aa" * 6, "alice/int8", "ab" * 32).read("case", 3) == RUN
    first.remove()
    first.remove()
    assert first.read("case", 3) is None


def test_a_round_that_cannot_be_kept_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TitoError, match="a measured round cannot be kept"):
        Journal(tmp_path / "file").keep("case", RUN)


def test_without_a_variable_it_is_in_the_user_s_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert state_folder().name == "tinytorch"
