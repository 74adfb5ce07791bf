"""Measuring entries in batches, each between two self-tests of its tracks, and writing their receipts.

The test after one batch is also the test before the next one. A long run thus writes receipts as it goes, and a host
that becomes unfit for measuring costs one batch.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tito.compete.folder import SharedFolder
from tito.compete.journal import Journal
from tito.compete.ledger import Files
from tito.compete.manifest import MANIFEST
from tito.compete.measure import Host
from tito.compete.outcome import Outcome, outcome_of
from tito.compete.problems import Problem, RefusedError
from tito.compete.receipt import Layer
from tito.compete.selftest import Tester
from tito.compete.writing import ReceiptWriter, Span
from tito.files import scratch

BATCH = 24  # entries between two self-tests, which take as long as three to four entries


@dataclass(frozen=True)
class Work:
    """An entry that passed the check and is to be measured."""

    id: str
    files: Files
    layers: list[Layer]
    shown: list[str]  # techniques that its files show

    @property
    def track(self) -> str:
        """The track that its manifest names."""
        assert self.files.manifest is not None
        return self.files.manifest.track


@dataclass
class Session:
    """Measurements on one host."""

    host: Host
    shared: SharedFolder
    writer: ReceiptWriter
    tester: Tester
    again: bool

    def run(self, works: Sequence[Work]) -> None:
        """Measure all entries; the receipts of a batch are written when its self-tests have passed."""
        batches = in_batches(works)
        for batch in batches:
            for work in batch:
                self.tester.progress.plan(work.track, self._rounds(work.track))
            for track in tracks_of(batch):
                self.tester.plan(track)
        for track in tracks_of(works):
            self.tester.plan(track)  # one test more than batches
        for batch in batches:
            self._measure(batch)

    def _measure(self, batch: Sequence[Work]) -> None:
        for track in tracks_of(batch):
            if track not in self.tester.passed:
                self.tester.test(track, "before the entries")
        able = [work for work in batch if work.track in self.tester.passed]
        outcomes = {work.id: self._outcome(work) for work in able}
        for track in tracks_of(able):
            self.tester.test(track, "after the entries")
        for work in batch:
            test = self.tester.passed.get(work.track)
            if test and work.id in outcomes:
                outcome, span = outcomes[work.id]
                self.writer.write(work.id, work.files, outcome, test, work.layers, work.shown, span)
            self._journal(work).remove()  # also if it was measured on a host that failed its test

    def _outcome(self, work: Work) -> tuple[Outcome, Span]:
        """Measure one entry from a private copy; return what came out, and when."""
        began, start, progress = datetime.now(UTC), time.monotonic(), self.tester.progress
        journal = self._journal(work)
        if self.again:
            journal.remove()
        done = progress.begin(work.track, work.id, work.track, self._rounds(work.track))
        with scratch("entry") as private:
            try:
                copy = self.shared.private_copy(work.id, private / "entry", work.files.model_sha256)
                if copy.manifest != work.files.manifest:
                    raise RefusedError([Problem("changed", MANIFEST, "", "another one", "the one that was checked")])
                outcome = outcome_of(self.host, work.track, copy.path, self.tester.rounds, journal, done)
            except RefusedError as error:
                outcome = Outcome(list(error.problems))
        progress.finish()
        return outcome, Span(began, time.monotonic() - start)

    def _journal(self, work: Work) -> Journal:
        return Journal.of(self.host.ground.id, work.id, work.files.model_sha256)

    def _rounds(self, track: str) -> int:
        return sum(len(self.host.seeds(track, what, self.tester.rounds)) for what in ("quality", "times"))


def in_batches(works: Sequence[Work]) -> list[list[Work]]:
    """Split entries into batches, track by track, so that few tracks need a self-test for each batch."""
    ordered = sorted(works, key=lambda work: work.track)
    return [ordered[i : i + BATCH] for i in range(0, len(ordered), BATCH)]


def tracks_of(works: Sequence[Work]) -> list[str]:
    """Return the tracks of entries, each once."""
    return list(dict.fromkeys(work.track for work in works))
