"""`tito checkpoint` as a process: the question, the answer on the learner's own file, and the way from 1957 to 2025."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.course import RELU, file_of, make_course, solve
from tests.cli.running import tito


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = make_course(tmp_path)
    assert tito(root, "module", "start", "3").returncode == 0
    return root


def state(root: Path) -> str:
    done = tito(root, "checkpoint", "status")
    assert done.returncode == 0
    (line,) = [line for line in done.stdout.splitlines() if "Intelligence" in line]
    return re.split(r"\s{2,}", line.strip())[-1]


def test_the_answer_follows_the_files(root: Path) -> None:
    assert state(root) == "later"
    done = tito(root, "checkpoint", "test", "2")
    assert done.returncode == 1
    assert "tinytorch: yours: 03 activations; reference: the rest" in done.stdout
    assert "Can I add nonlinearity?  not yet  0 of 1 tests" in done.stdout
    assert "03 _relu: yours to write" in done.stdout
    assert state(root) == "not yet"
    solve(root, "_relu", RELU)
    assert state(root) == "test again"
    done = tito(root, "checkpoint", "test", "intelligence")
    assert done.returncode == 0
    assert "Can I add nonlinearity?  yes  1 of 1 tests" in done.stdout
    assert state(root) == "yes"
    file_of(root).write_text(file_of(root).read_text() + "\n# a comment\n")
    assert state(root) == "test again"


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"version": 1}', '{"version": 99}'])
def test_a_damaged_state_counts_as_not_tested(root: Path, damage: str) -> None:
    solve(root, "_relu", RELU)
    tito(root, "checkpoint", "test", "2")
    (root / "workspace" / ".tito" / "checkpoint-02.json").write_text(damage)
    assert state(root) == "later"


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("16", "checkpoint '16': expected a number from 0 to 15"),
        ("visoin", "did you mean Vision?"),
        ("4", "module 05 losses is not started: tito module start 05 creates its file"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_code_2(root: Path, name: str, complaint: str) -> None:
    done = tito(root, "checkpoint", "test", name)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert complaint in line


def test_the_timeline_is_drawn_and_written_as_a_page(root: Path) -> None:
    done = tito(root, "checkpoint", "timeline")
    assert done.returncode == 0
    assert "› 03 Activations" in done.stdout
    assert "0 of 20 modules complete" in done.stdout
    done = tito(root, "checkpoint", "timeline", "--html")
    page = root / "reports" / "journey.html"
    assert str(page) in done.stdout
    assert "<strong>0 of 20</strong> modules complete" in page.read_text("utf-8")
