"""`tito verify` killed with -9 at random moments: nothing half-written is read, and the next run completes.

`nox -s compete-kills` kills 50 processes.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.compete.measuring import BACKEND, KERNEL, Organizer, organizer_at
from tito.compete.journal import state_folder
from tito.compete.ledger import sealed_receipts
from tito.compete.receipt import Receipt
from tito.compete.seal import organizer_key
from tito.compete.verify import verify

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("TITO_KILLS", "6"))
IDS = ["alice/a", "alice/b", "bob/c"]


@pytest.fixture
def organizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Organizer:
    made = organizer_at(tmp_path, monkeypatch)
    for id in IDS:
        made.enter(id, "speedup=1.5")
    (made.enter("eve/e") / "submission.json").write_text("{")
    return made


def killed(root: Path, seconds: float | None) -> tuple[bool, float]:
    """Start a verification and kill it after so many seconds; None lets it finish.

    Returns whether the kill ended it, and the seconds that it worked.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.compete.verifier", str(root)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "began\n"
        began = time.monotonic()
        if seconds is not None:
            time.sleep(seconds)
            process.kill()
        process.wait()
        return process.returncode != 0, time.monotonic() - began


def counted(organizer: Organizer) -> list[Receipt]:
    """Return the receipts, if every file at the place of one is whole and sealed."""
    found, problems = sealed_receipts(organizer.shared, organizer_key(organizer.folder))
    assert problems == []
    return found


def test_kills_lose_nothing_and_leave_nothing_half_written(organizer: Organizer, tmp_path: Path) -> None:
    ended, seconds = killed(tmp_path, None)
    assert not ended
    assert len(counted(organizer)) == len(IDS) + 1
    rng, count = random.Random(9), 0
    for number in range(KILLS):
        before = {receipt.id for receipt in counted(organizer)}
        organizer.enter(f"carol/entry-{number}", "speedup=1.5", seed=1000 + number)
        count += killed(tmp_path, rng.uniform(0, seconds))[0]
        assert before <= {receipt.id for receipt in counted(organizer)}
    assert count > 0
    summary = verify(organizer.project, organizer.folder, kernel=KERNEL, backend=BACKEND)
    assert summary.passed
    entries = [receipt.entry for receipt in counted(organizer)]
    assert sorted(entries) == sorted([*IDS, "eve/e", *(f"carol/entry-{number}" for number in range(KILLS))])
    assert [path for path in state_folder().rglob("*") if path.is_file()] == []
    again = verify(organizer.project, organizer.folder, kernel=KERNEL, backend=BACKEND)
    assert str(again).startswith("nothing to do")
    print(f"killed {count} of {KILLS} verifications; {len(entries)} receipts, none lost")  # noqa: T201 (shown by nox)
