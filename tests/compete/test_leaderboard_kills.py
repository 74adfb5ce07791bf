"""`kill -9` while the leaderboard is written: every page is complete, and the next run finishes the work.

A few kills in each run; `nox -s compete-kills` does 50.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.compete.competition import ROOT
from tests.compete.crowd import make_crowd
from tests.compete.measuring import Organizer, organizer_at
from tito.compete.ledger import files_of
from tito.compete.seal import organizer_key, receipt_text, seal

KILLS = int(os.environ.get("TITO_KILLS", "3"))
COUNT = 60


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """`tito leaderboard --html` on a project with many sealed receipts; its reports are in tmp_path."""
    organizer = organizer_at(tmp_path, monkeypatch)
    fill(organizer)
    root = tmp_path / "project"
    root.mkdir()
    (root / "suites").symlink_to(ROOT / "suites")
    monkeypatch.setenv("TITO_ROOT", str(root))
    monkeypatch.setenv("TITO_SUBMISSIONS", str(organizer.folder))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return [sys.executable, "-m", "tito", "leaderboard", "--html"]


def fill(organizer: Organizer) -> None:
    key = organizer_key(organizer.folder)
    assert key
    for receipt in make_crowd(COUNT):
        organizer.enter(receipt.entry)
        files = files_of(organizer.shared, receipt.entry)
        hashes = {"model_sha256": files.model_sha256, "manifest_sha256": files.manifest_sha256}
        sealed = seal(receipt.model_copy(update=hashes), key)
        organizer.shared.save_receipt(receipt.ground.id, receipt.entry, receipt.id, receipt_text(sealed))


def pages(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "project" / "reports").rglob("*.html"))


def test_no_page_is_half_written_and_the_next_run_finishes(command: list[str], tmp_path: Path) -> None:
    chance = random.Random(KILLS)
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    whole = time.monotonic() - began
    complete = {path.name for path in pages(tmp_path)}
    assert len(complete) == COUNT + 2
    killed = 0
    for _ in range(4 * KILLS):
        if killed == KILLS:
            break
        there = pages(tmp_path)
        for path in chance.sample(there, len(there) // 2):
            path.unlink()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # importing takes most of the time; pages are written at the end
        time.sleep(whole * chance.uniform(0.2, 0.95))
        process.kill()
        killed += process.wait() == -9
        for path in pages(tmp_path):
            assert path.read_text("utf-8").rstrip().endswith("</html>"), path
    subprocess.run(command, check=True, capture_output=True)
    assert {path.name for path in pages(tmp_path)} == complete
    page = (tmp_path / "project" / "reports" / "leaderboard.html").read_text("utf-8")
    assert len(re.findall("<tr data-t=", page)) == COUNT
    print(f"killed {killed} times")  # noqa: T201 (shown by pytest -rP)
    assert killed == KILLS
