"""The commands of submissions/README.md, run as they are printed there, in a copy of the checkout.

It takes about half an hour, so only `nox -s compete-walkthrough` runs it. `test_documents` checks in every run that the
commands and their options exist. `tito verify` is repeated for tracks whose self-test failed, as its message advises:
on a machine that others share, a self-test can fail at any time.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compete.competition import ROOT
from tests.compete.test_documents import README, shell_lines

VERIFICATIONS = 3  # at most; each measures only what has no receipt yet

pytestmark = pytest.mark.skipif(
    "TITO_WALKTHROUGH" not in os.environ, reason="half an hour of measuring: nox -s compete-walkthrough runs it"
)


def test_a_fresh_checkout_reaches_a_leaderboard(tmp_path: Path) -> None:
    checkout = copy_of_the_checkout(tmp_path / "checkout")
    names = {"TITO_KEY": "key", "TITO_STATE": "state"}
    environment = os.environ | {name: str(tmp_path / part) for name, part in names.items()}
    environment |= {"TITO_ROOT": str(checkout), "PYTHONPATH": str(checkout)}
    environment.pop("TITO_SUBMISSIONS", None)

    def run(words: list[str]) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *(["-m", "tito"] if words[0] == "tito" else []), *words[1:]]
        done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
        print(f"$ {' '.join(words)}\n{done.stdout}")  # noqa: T201 (shown by pytest -rP)
        return done

    printed: dict[str, list[str]] = {}
    for words in shell_lines(README):
        for _ in range(VERIFICATIONS if words[1] == "verify" else 1):
            done = run(words)
            printed.setdefault(words[1], []).append(done.stdout.splitlines()[-1] if done.stdout else "")
            if done.returncode == 0 or "self-test failed: " not in printed[words[1]][-1]:
                break
        assert done.returncode == 0, done.stderr
    assert printed["check"] == ["checked 9, with problems 0"]
    counted = [re.match(r"verified (\d+), refused 0, self-test ", line) for line in printed["verify"]]
    assert all(counted), printed["verify"]
    assert sum(int(found[1]) for found in counted if found) == 9
    assert printed["verify"][-1].endswith("self-test tied")
    page = (checkout / "reports" / "leaderboard.html").read_text("utf-8")
    assert page.count("<tr data-t=") == 9

    def tito(*words: str) -> str:
        done = run(["tito", *words])
        assert done.returncode == 0, done.stderr
        return done.stdout

    boards = json.loads(tito("leaderboard", "--json"))["boards"]
    assert {board["track"] for board in boards} == {"mnist", "cifar10", "tinygpt"}
    assert sum(len(board["entries"]) for board in boards) == 9
    assert all(row["quality_gate_met"] for board in boards for row in board["entries"])
    assert tito("verify") == "nothing to do: every entry has a receipt of this ground\n"


def copy_of_the_checkout(to: Path) -> Path:
    """Copy the files that git tracks."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, to / name)
    return to
