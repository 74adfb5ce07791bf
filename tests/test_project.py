"""Which checkout a command works on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tito import project
from tito.errors import TitoError
from tito.project import find_project


@pytest.fixture(autouse=True)
def _no_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TITO_ROOT", raising=False)


def checkout(folder: Path) -> Path:
    (folder / "suites").mkdir(parents=True)
    (folder / "pyproject.toml").touch()
    return folder.resolve()


def test_the_nearest_parent_that_is_a_checkout_is_found(tmp_path: Path) -> None:
    checkout(tmp_path)
    inner = checkout(tmp_path / "inner")
    (inner / "suites" / "deep").mkdir()
    found = find_project(inner / "suites" / "deep")
    assert found.root == inner
    assert (found.suites, found.reports, found.submissions) == (
        inner / "suites",
        inner / "reports",
        inner / "submissions",
    )


def test_the_working_directory_is_where_the_search_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout(tmp_path))
    assert find_project().root == tmp_path.resolve()


def test_the_variable_wins_over_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "named" / "suites").mkdir(parents=True)
    monkeypatch.chdir(checkout(tmp_path / "here"))
    monkeypatch.setenv("TITO_ROOT", str(tmp_path / "named"))
    assert find_project().root == (tmp_path / "named").resolve()


def test_a_variable_that_names_no_project_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TITO_ROOT", str(tmp_path))
    with pytest.raises(TitoError, match=r"TITO_ROOT=.*no folder suites/"):
        find_project()


def test_elsewhere_it_is_the_checkout_that_tito_came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = checkout(tmp_path / "own")
    monkeypatch.setattr(project, "__file__", str(own / "tito" / "project.py"))
    assert find_project(tmp_path).root == own


def test_nowhere_is_an_error_that_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "__file__", str(tmp_path / "site" / "tito" / "project.py"))
    with pytest.raises(TitoError, match=r"not inside a TinyTorch checkout.*TITO_ROOT"):
        find_project(tmp_path)
