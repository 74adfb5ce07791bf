"""`tito verify`: measure every entry that has no receipt of this ground, and write the receipts.

    wait for the turn -> check each entry -> self-test -> rounds of each entry -> self-test -> receipts

The receipts of a track are written once both of its self-tests have passed. Until then its rounds are in the journal:
an interruption loses one round, and the next run goes on from there. Nothing that an entry claims is used, except who
it is by and what it is meant to be.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tito.compete.check import inspect
from tito.compete.folder import SharedFolder
from tito.compete.journal import Journal
from tito.compete.ledger import Files, files_of, sealed_receipts
from tito.compete.measure import Host, ground_of, host_for
from tito.compete.outcome import Outcome, layers_of, outcome_of
from tito.compete.problems import Problem, RefusedError
from tito.compete.progress import Progress, Report, Rounds
from tito.compete.receipt import Layer, SelfTest
from tito.compete.rules import Rules, load_rules
from tito.compete.seal import organizer_key
from tito.compete.selftest import self_test
from tito.compete.writing import ReceiptWriter
from tito.errors import RunError, TitoError
from tito.process.backend import BackendChoice, choose_backend
from tito.process.blas import KernelChoice, choose_kernel
from tito.process.turn import turn
from tito.project import Project

Shard = tuple[int, int]  # number I of N, from 1


@dataclass(frozen=True)
class Summary:
    """What a verification did.

    Attributes:
        self_tests: by track, the later one of each.
        failed: why tracks have no receipts, by track.
        receipts: the files that were written.
        problems: what is at the place of an entry or a receipt and is none.
    """

    verified: int = 0
    refused: int = 0
    self_tests: Mapping[str, SelfTest] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    receipts: Sequence[Path] = ()
    problems: Sequence[Problem] = ()

    @property
    def passed(self) -> bool:
        """Whether every self-test passed."""
        return not self.failed

    def __str__(self) -> str:
        if not (self.receipts or self.failed or self.self_tests):
            return "nothing to do: every entry has a receipt of this ground"
        tested = "tied" if self.self_tests else "not needed"
        told = f"failed: {'; '.join(self.failed.values())}" if self.failed else tested
        return f"verified {self.verified}, refused {self.refused}, self-test {told}"


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


def verify(
    project: Project,
    folder: Path,
    ids: Sequence[str] | None = None,
    *,
    rounds: int | None = None,
    again: bool = False,
    shard: Shard | None = None,
    report: Report = lambda progress: None,
    kernel: KernelChoice | None = None,
    backend: BackendChoice | None = None,
) -> Summary:
    """Verify entries of a shared folder.

    Args:
        ids: the entries, `submitter/entry`; by default all.
        rounds: processes that time each entry; by default as many as the suite has seeds. Fewer than 11 give a receipt
            that ranks by size and quality only.
        again: also those that have a receipt of this ground.
        shard: only part I of N of the entries, which together are all of them.
        report: receives the progress.
        kernel, backend: by default chosen here.

    Raises:
        TitoError: the folder, the rules, or the key cannot be used, or an id names no entry.
    """
    rules, shared, key = load_rules(project), SharedFolder(folder), organizer_key(folder)
    assert key is not None
    chosen, problems = choose(shared, ids, shard)
    what = f"tito verify {chosen[0]}" if len(chosen) == 1 else f"tito verify, {len(chosen)} entries"
    with turn(what, lambda holder: report(Progress("waiting", f"for {holder}"))):
        kernel, backend = kernel or choose_kernel(), backend or choose_backend()
        writer = ReceiptWriter(shared, key, ground_of(rules, kernel, backend))
        run = Verification(rules, shared, writer, kernel, backend, rounds, again, report)
        due, foreign = run.due(chosen)
        tests, failed = run.measure(run.check(due))
    return Summary(writer.verified, writer.refused, tests, failed, writer.written, (*problems, *foreign))


def self_tests_alone(
    project: Project,
    *,
    rounds: int | None = None,
    report: Report = lambda progress: None,
    kernel: KernelChoice | None = None,
    backend: BackendChoice | None = None,
) -> Summary:
    """Test the measurement of every track, without entries and receipts; arguments and errors as `verify`."""
    rules = load_rules(project)
    tracks = list(rules.tracks)
    with turn("tito verify --self-test", lambda holder: report(Progress("waiting", f"for {holder}"))):
        kernel, backend = kernel or choose_kernel(), backend or choose_backend()
        report(Progress("self-test", f"preparing the data of {', '.join(tracks)}"))
        with host_for(rules, tracks, kernel, backend) as host:
            session = Session(host, SharedFolder(project.submissions), rounds, Rounds(report))
            for track in tracks:
                session.progress.plan(track, session.self_test_rounds(track))
            tests, failed = session.self_tests(tracks, "alone")
    return Summary(self_tests=tests, failed=failed)


def choose(shared: SharedFolder, ids: Sequence[str] | None, shard: Shard | None) -> tuple[list[str], list[Problem]]:
    """Return the ids of the entries to look at, and what is at the place of an entry and is none.

    Raises:
        TitoError: an id names no entry, or the shard is not one.
    """
    found, problems = shared.scan()
    known = [entry.id for entry in found]
    for id in ids or ():
        if id not in known:
            raise TitoError(f"{shared.path}: no entry {id!r}; `tito check` lists what is there")
    chosen = known if ids is None else [id for id in known if id in ids]
    if shard is not None:
        number, parts = shard
        if not 1 <= number <= parts:
            raise TitoError(f"--shard {number}/{parts}: expected I/N with I from 1 to N")
        chosen = [id for id in chosen if _part(id, parts) == number - 1]
    return chosen, problems


def _part(id: str, parts: int) -> int:
    """Return which of so many parts an entry belongs to, the same on every host."""
    return int.from_bytes(hashlib.sha256(id.encode()).digest()[:8], "big") % parts


@dataclass(frozen=True)
class Verification:
    """One run of `verify`: its steps, and what they share."""

    rules: Rules
    shared: SharedFolder
    writer: ReceiptWriter
    kernel: KernelChoice
    backend: BackendChoice
    rounds: int | None
    again: bool
    report: Report

    def due(self, ids: Sequence[str]) -> tuple[dict[str, Files], list[Problem]]:
        """Return the entries without a receipt of this ground for their present files, and the receipts of others."""
        receipts, foreign = sealed_receipts(self.shared, self.writer.key)
        newest = {receipt.entry: receipt for receipt in receipts if receipt.ground == self.writer.ground}
        files = {id: files_of(self.shared, id) for id in ids}
        done = {id for id in ids if id in newest and files[id].are_those_of(newest[id])}
        return {id: files[id] for id in ids if self.again or id not in done}, foreign

    def check(self, due: Mapping[str, Files]) -> list[Work]:
        """Check the entries; write the receipts of those that are refused, and return the others."""
        others = self.shared.models() if due else {}
        works = []
        for number, (id, files) in enumerate(due.items(), 1):
            self.report(Progress(id, f"checking, {number} of {len(due)}"))
            began = time.monotonic()
            with TemporaryDirectory(prefix="tito-check-") as private:
                try:
                    copy = self.shared.private_copy(id, Path(private) / "entry", files.model_sha256)
                    checked = inspect(copy.path, id, self.rules, others)
                    problems = checked.problems
                except RefusedError as error:
                    problems = list(error.problems)
            if problems:
                self.writer.write(id, files, Outcome(problems), seconds=time.monotonic() - began)
            else:
                assert checked.model is not None
                works.append(Work(id, files, layers_of(checked.model), checked.shown))
        return works

    def measure(self, works: list[Work]) -> tuple[dict[str, SelfTest], dict[str, str]]:
        """Measure entries between two self-tests and write their receipts; return the tests, and why tracks failed."""
        tracks = list(dict.fromkeys(work.track for work in works))
        if not tracks:
            return {}, {}
        self.report(Progress("self-test", f"preparing the data of {', '.join(tracks)}"))
        with host_for(self.rules, tracks, self.kernel, self.backend) as host:
            session = Session(host, self.shared, self.rounds, Rounds(self.report))
            for work in works:
                session.expect(work)
            before, failed = session.self_tests(tracks, "before the entries")
            outcomes = {work.id: session.measure(work, self.again) for work in works if work.track in before}
            after, failed_after = session.self_tests(list(before), "after the entries")
        for work in works:
            if work.track in after:
                outcome, seconds = outcomes[work.id]
                test = after[work.track]
                self.writer.write(work.id, work.files, outcome, test, work.layers, work.shown, seconds)
            session.journal(work).remove()  # also if it was measured on a host that failed its test
        return after, failed | failed_after


@dataclass
class Session:
    """Measurements between two self-tests."""

    host: Host
    shared: SharedFolder
    rounds: int | None
    progress: Rounds

    def journal(self, work: Work) -> Journal:
        return Journal.of(self.host.ground.id, work.id, work.files.model_sha256)

    def expect(self, work: Work) -> None:
        """Plan the rounds of an entry and, with the first one of a track, those of its self-tests."""
        if work.track not in self.progress.planned:
            self.progress.plan(work.track, 2 * self.self_test_rounds(work.track))
        self.progress.plan(work.track, self._rounds(work.track))

    def self_tests(self, tracks: Sequence[str], when: str) -> tuple[dict[str, SelfTest], dict[str, str]]:
        """Test each track; return the tests that passed, and why others failed."""
        passed: dict[str, SelfTest] = {}
        failed: dict[str, str] = {}
        for track in tracks:
            done = self.progress.begin(track, f"self-test {track}", when, self.self_test_rounds(track))
            try:
                test = self_test(self.host, track, self._count(track), done)
            except RunError as error:
                self.progress.finish()
                failed[track] = f"{track}: the reference itself cannot be measured: {error}"
                continue
            if test.passed:
                passed[track] = test
            else:
                failed[track] = f"{track}, {when}: {describe(test)}"
        return passed, failed

    def measure(self, work: Work, again: bool) -> tuple[Outcome, float]:
        """Measure one entry from a private copy; return what came out, and the seconds that it took."""
        began = time.monotonic()
        journal = self.journal(work)
        if again:
            journal.remove()
        done = self.progress.begin(work.track, work.id, work.track, self._rounds(work.track))
        with TemporaryDirectory(prefix="tito-entry-") as private:
            try:
                copy = self.shared.private_copy(work.id, Path(private) / "entry", work.files.model_sha256)
                if copy.manifest != work.files.manifest:
                    found = Problem("changed", "submission.json", "", "another manifest", "the one that was checked")
                    raise RefusedError([found])
                outcome = outcome_of(self.host, work.track, copy.path, self.rounds, journal, done)
            except RefusedError as error:
                outcome = Outcome(list(error.problems))
        self.progress.finish()
        return outcome, time.monotonic() - began

    def self_test_rounds(self, track: str) -> int:
        """Return the rounds of one self-test: of the reference and of its slowed twin."""
        return 2 * self._count(track)

    def _rounds(self, track: str) -> int:
        return self._count(track) + len(self.host.seeds(track, "quality", self.rounds))

    def _count(self, track: str) -> int:
        return len(self.host.seeds(track, "times", self.rounds))


def describe(test: SelfTest) -> str:
    """Say in one line how a self-test came out."""
    same, slow = test.same, test.slowed
    told = f"the reference against itself {same.verdict} ({same.ratio:.3f}, {same.low:.3f} to {same.high:.3f})"
    return f"{told}; 10% slower {slow.verdict} ({slow.ratio:.3f}, {slow.low:.3f} to {slow.high:.3f})"
