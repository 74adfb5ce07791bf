"""Fixtures of the competition's tests."""

from __future__ import annotations

import pytest

from tests.compete.competition import make_project
from tito.compete.rules import Rules, load_rules


@pytest.fixture(scope="session")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Rules:
    """The repository's own rules and references, with a tiny suite. Not to be changed by a test."""
    return load_rules(make_project(tmp_path_factory.mktemp("project")))
