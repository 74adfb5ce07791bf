"""`tito milestone` as a process: what is unlocked, and nothing else runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.running import HOME


def tito(workspace: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command on this checkout, with a workspace of its own."""
    return subprocess.run(
        [sys.executable, "-m", "tito", *arguments],
        env=os.environ | {"TITO_ROOT": str(HOME), "TITO_WORKSPACE": str(workspace), "PYTHONPATH": str(HOME)},
        cwd=workspace,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_all_milestones_are_listed_with_the_module_that_unlocks_them(tmp_path: Path) -> None:
    done = tito(tmp_path, "milestone", "list")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    assert [(row[0], row[1], row[-1]) for row in rows] == [
        ("perceptron", "1957", "04"),
        ("xor", "1969", "06"),
        ("mnist", "1986", "08"),
        ("cifar10", "2012", "10"),
        ("tinygpt", "2018", "14"),
        ("tinymlperf", "2025", "20"),
    ]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("mnist", "milestone mnist is locked until modules 01 to 08 are complete"),
        ("1969", "milestone xor is locked until modules 01 to 06 are complete"),
        ("gpt5", "milestone 'gpt5': expected one of perceptron, xor, mnist, cifar10, tinygpt, tinymlperf"),
    ],
)
def test_a_milestone_that_cannot_be_run_is_one_line_and_exit_code_2(tmp_path: Path, name: str, complaint: str) -> None:
    done = tito(tmp_path, "milestone", "run", name)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert complaint in line
