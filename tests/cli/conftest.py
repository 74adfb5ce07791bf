"""Projects with the tiny suite: a fresh one, and one in which it was run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.running import Run, make_root, tito


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path)


@pytest.fixture(scope="session")
def passed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A project in which the suite was run once, and what that printed; shared, so no test changes it."""
    root = make_root(tmp_path_factory.mktemp("passed"))
    return root, tito(root, "suite", "run", "tiny", "--quick")
