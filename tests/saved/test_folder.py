"""The folder of a saved model: it is replaced as a whole or not at all, and nothing else is deleted."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tinytorch as tt
from tests.saved.sample import bits, mlp
from tinytorch.saved import load_model, save_model


def test_only_a_saved_model_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    save_model(mlp(), folder)
    save_model(tt.Linear(2, 2), folder)
    assert isinstance(load_model(folder), tt.Linear)
    assert [path.name for path in folder.parent.iterdir()] == ["b"]
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(tt.StateError, match="contains notes"):
        save_model(mlp(), folder)
    assert isinstance(load_model(folder), tt.Linear)  # other files do not disturb loading
    (tmp_path / "file").write_text("")
    with pytest.raises(tt.StateError, match="is a file"):
        save_model(mlp(), tmp_path / "file")
    (tmp_path / "new").mkdir(mode=0o750)
    save_model(mlp(), tmp_path / "new")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o750
    (tmp_path / "link").symlink_to(tmp_path / "new")
    save_model(tt.Linear(1, 1), tmp_path / "link")
    assert isinstance(load_model(tmp_path / "new"), tt.Linear)


def failing(real: Callable[..., Any], at: int) -> Callable[..., Any]:
    """Return the function, changed so that call number `at` fails because the disk is full."""
    calls = [0]

    def call(*args: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == at:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args, **named)

    return call


# fsync calls 2 and 4 are for folders. Some systems reject these, so a failure there is not an error.
FAILURES = [(os, "fsync", 1), (os, "fsync", 3), (Path, "mkdir", 1), (Path, "mkdir", 2), (Path, "replace", 1)]
FAILURES += [(Path, "replace", 2), (Path, "chmod", 1), (Path, "rename", 1), (Path, "rename", 2)]


@pytest.mark.parametrize(("owner", "name", "at"), FAILURES)
def test_failure_at_any_point_keeps_the_old_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, at: int
) -> None:
    save_model(mlp(), tmp_path / "m")
    old = load_model(tmp_path / "m").state_dict()
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, failing(getattr(owner, name), at))
        with pytest.raises(OSError, match="No space left"):
            save_model(tt.Linear(1, 1), tmp_path / "m")
    remaining = load_model(tmp_path / "m").state_dict()
    assert {k: bits(v) for k, v in remaining.items()} == {k: bits(v) for k, v in old.items()}
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_leftovers_of_killed_saves_are_removed_after_an_hour(tmp_path: Path) -> None:
    for name, age in ((".m.1-1.part", 4000), (".m.1-2.old", 4000), (".m.1-3.part", 10), (".other.1-1.part", 4000)):
        (tmp_path / name).mkdir()
        then = (tmp_path / name).stat().st_mtime - age
        os.utime(tmp_path / name, (then, then))
    save_model(mlp(), tmp_path / "m")
    assert {path.name for path in tmp_path.iterdir()} == {"m", ".m.1-3.part", ".other.1-1.part"}


def test_a_missing_file_is_named_once(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    with pytest.raises(tt.StateError) as caught:
        load_model(folder)
    assert str(caught.value).count(str(folder)) == 1
