"""A changed file is tested again before a command relies on it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.course import RELU, SIGMOID, file_of, make_course, solve
from tests.cli.running import tito

CHANGED = "03 activations: changed since its last test, so it was tested again: "


@pytest.fixture
def complete(tmp_path: Path) -> Path:
    root = make_course(tmp_path)
    assert tito(root, "module", "start", "3").returncode == 0
    solve(root, "_relu", RELU)
    solve(root, "_sigmoid", SIGMOID)
    assert tito(root, "module", "complete", "3").returncode == 0
    return root


def test_status_says_what_it_tested_again_and_tests_nothing_twice(complete: Path) -> None:
    assert CHANGED not in tito(complete, "module", "status").stderr
    file_of(complete).write_text(file_of(complete).read_text() + "\n# a remark\n")
    done = tito(complete, "module", "status")
    assert CHANGED + "all steps pass" in done.stderr
    assert re.search(r"03 +Activations +complete +2/2", done.stdout)
    assert CHANGED not in tito(complete, "module", "status").stderr


def test_a_module_that_was_broken_afterwards_is_no_longer_complete(complete: Path) -> None:
    file_of(complete).write_text(file_of(complete).read_text().replace(SIGMOID, "    return x\n"))
    done = tito(complete, "module", "status")
    assert CHANGED + "1 of 2 steps pass" in done.stderr
    assert re.search(r"03 +Activations +started +1/2", done.stdout)
