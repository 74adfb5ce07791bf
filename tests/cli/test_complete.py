"""Shell completion, as bash asks for it: names of what there is, and no error where there is nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.running import HOME, Run, environment, records


def completed(root: Path, line: str) -> list[str]:
    """Return what Tab offers at the end of a command line."""
    words = line.split(" ")
    variables = {"_TITO_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    env = environment(root) | variables
    done = subprocess.run([sys.executable, "-m", "tito"], env=env, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("tito sui", ["suite"]),
        ("tito suite run ", ["tiny"]),
        ("tito suite show ti", ["tiny"]),
        ("tito suite run tiny --case ", ["clouds"]),
        ("tito suite run tiny --quick --gate ", ["accuracy="]),
        ("tito suite run tiny --backend one", ["onednn"]),
        ("tito suite run tiny --qu", ["--quick"]),
        ("tito module start 0", [f"0{number}" for number in range(1, 10)]),
        ("tito module test tens", ["tensor"]),
        ("tito checkpoint test vis", ["vision"]),
        ("tito milestone run m", ["mnist"]),
        ("tito data fetch s", ["shakespeare"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_tab_offers_the_names_that_there_are(root: Path, line: str, offered: list[str]) -> None:
    assert completed(root, line) == offered


def test_tab_offers_records_and_the_suites_that_have_some(passed: Run) -> None:
    (record,) = records(passed[0])
    assert completed(passed[0], "tito record show ") == ["tiny", record.id]
    assert completed(passed[0], "tito record list --suite ") == ["tiny"]


def test_tracks_are_those_of_the_rules(root: Path) -> None:
    assert completed(root, "tito leaderboard ") == []
    shutil.copytree(HOME / "suites" / "2025_competition", root / "suites" / "2025_competition")
    shutil.copytree(HOME / "suites" / "2025_tinymlperf", root / "suites" / "2025_tinymlperf")
    shutil.copytree(HOME / "submissions" / "reference", root / "submissions" / "reference")
    assert "cifar10" in completed(root, "tito leaderboard ")


def test_outside_a_project_tab_offers_nothing(tmp_path: Path) -> None:
    for line in ("tito suite run ", "tito record show ", "tito suite run tiny --case ", "tito leaderboard "):
        assert completed(tmp_path, line) == []


def test_the_shells_of_the_manual_get_a_script(root: Path) -> None:
    for shell in ("bash", "zsh", "fish"):
        env = environment(root) | {"_TITO_COMPLETE": f"source_{shell}"}
        done = subprocess.run([sys.executable, "-m", "tito"], env=env, capture_output=True, text=True, check=True)
        assert "_TITO_COMPLETE" in done.stdout
