"""Rounds that were measured and are in no receipt yet, on the organizer's own disk.

    <state>/verify/<ground>/<entry>.<model hash>/<case>.<round>.json

Each round is kept as soon as it ends. Whoever interrupts `tito verify` loses one round, and the next one goes on from
there. An entry's rounds are removed when its receipt is written.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from pydantic import ValidationError

from tinytorch.base.files import atomic_write
from tito.bench.record import SeedRun
from tito.errors import TitoError
from tito.files import LARGE_BYTES, read_plain, user_path

VARIABLE = "TITO_STATE"


def state_folder() -> Path:
    """Return where this host keeps rounds: the folder in TITO_STATE, or the user's folder for state."""
    named = os.environ.get(VARIABLE)
    return user_path(named) if named else platformdirs.user_state_path("tinytorch")


@dataclass(frozen=True)
class Journal:
    """The rounds of one entry's files on one ground; `folder` need not exist."""

    folder: Path

    @classmethod
    def of(cls, ground_id: str, entry_id: str, model_sha256: str) -> Journal:
        """Return the journal of an entry, whose id is valid."""
        name = f"{entry_id.replace('/', '.')}.{model_sha256[:16]}"
        return cls(state_folder() / "verify" / ground_id / name)

    def read(self, case: str, seed: int) -> SeedRun | None:
        """Return a round that is kept; None if there is none, or if its file is damaged."""
        try:
            return SeedRun.model_validate_json(read_plain(self._file(case, seed), LARGE_BYTES))
        except (OSError, ValidationError):
            return None

    def keep(self, case: str, run: SeedRun) -> None:
        """Keep a round.

        Raises:
            TitoError: the folder cannot be written.
        """
        try:
            atomic_write(self._file(case, run.seed), run.model_dump_json().encode())
        except OSError as error:
            raise TitoError(f"{self.folder}: a measured round cannot be kept: {error.strerror or error}") from None

    def remove(self) -> None:
        """Forget all rounds."""
        with suppress(OSError):
            shutil.rmtree(self.folder)

    def _file(self, case: str, seed: int) -> Path:
        return self.folder / f"{case}.{seed}.json"
