"""A program that verifies a shared folder with stand-in rounds, so that a test can kill it: `verifier.py ROOT`.

It prints "began" once everything is imported.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from tests.compete.measuring import BACKEND, KERNEL, organizer_at
from tito.compete.verify import verify

SECONDS = 0.003  # that each stand-in round takes


def main(root: Path) -> None:
    """Verify the entries below `root`, as an organizer whose key and state are there, too."""
    with pytest.MonkeyPatch.context() as patch:
        organizer = organizer_at(root, patch)
        organizer.rounds.before = lambda case, recipe, seed: time.sleep(SECONDS)
        sys.stdout.write("began\n")
        sys.stdout.flush()
        verify(organizer.project, organizer.folder, kernel=KERNEL, backend=BACKEND)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
