"""`tito verify`: measure every entry that has no receipt of this ground, and write the receipts.

    wait for the turn -> check each entry -> self-test -> rounds of each entry -> self-test -> receipts

The receipts of a batch of entries are written once the self-tests before and after it have passed. Until then its
rounds are in the journal: an interruption loses one round, and the next run goes on from there. Nothing that an entry
claims is used, except who it is by and what it is meant to be.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from tito.compete.anchor import anchors_of, compare_anchors, known_ground, must_compare
from tito.compete.check import inspect
from tito.compete.folder import SharedFolder
from tito.compete.journal import Journal
from tito.compete.ledger import Files, files_of, holders_of, sealed_receipts
from tito.compete.measure import Host, ground_of, host_for
from tito.compete.outcome import Outcome, layers_of
from tito.compete.problems import Problem, RefusedError
from tito.compete.progress import Progress, Report, Rounds
from tito.compete.receipt import Anchor, Receipt, SelfTest
from tito.compete.rules import Rules, load_rules
from tito.compete.seal import organizer_key
from tito.compete.selftest import Tester
from tito.compete.session import Session, Work, tracks_of
from tito.compete.writing import ReceiptWriter, Span
from tito.errors import RequestError, TitoError, did_you_mean
from tito.files import scratch
from tito.process.backend import BackendChoice, choose_backend
from tito.process.blas import KernelChoice, choose_kernel
from tito.process.provenance import this_host
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
        anchors: entries of other hosts that were measured here, to see whether the figures compare.
    """

    verified: int = 0
    refused: int = 0
    self_tests: Mapping[str, SelfTest] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    receipts: Sequence[Path] = ()
    problems: Sequence[Problem] = ()
    anchors: Sequence[Anchor] = ()

    @property
    def passed(self) -> bool:
        """Whether every self-test passed."""
        return not self.failed

    def __str__(self) -> str:
        if not (self.receipts or self.failed or self.self_tests):
            return "nothing to do: every entry has a receipt of this ground"
        tested = "tied" if self.self_tests else "not needed"
        again = "run the command again when nothing else uses this machine"
        told = f"failed: {'; '.join([*self.failed.values(), again])}" if self.failed else tested
        return f"verified {self.verified}, refused {self.refused}, self-test {told}"


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
        receipts, foreign = sealed_receipts(shared, key)
        ground = known_ground(ground_of(rules, kernel, backend), this_host(), receipts)
        writer = ReceiptWriter(shared, key, ground)
        run = Verification(rules, shared, writer, receipts, kernel, backend, rounds, again, report)
        tests, failed = run.measure(run.check(run.due(chosen)))
    return Summary(
        writer.verified, writer.refused, tests, failed, writer.written, (*problems, *foreign), writer.anchors
    )


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
            tester = Tester(host, rounds, Rounds(report))
            for track in tracks:
                tester.plan(track)
            for track in tracks:
                tester.test(track, "alone")
    return Summary(self_tests=tester.passed, failed=tester.failed)


def choose(shared: SharedFolder, ids: Sequence[str] | None, shard: Shard | None) -> tuple[list[str], list[Problem]]:
    """Return the ids of the entries to look at, and what is at the place of an entry and is none.

    Raises:
        TitoError: an id names no entry, or the shard is not one.
    """
    found, problems = shared.scan()
    known = [entry.id for entry in found]
    for id in ids or ():
        if id not in known:
            raise RequestError(f"{shared.path}: no entry {id!r}{did_you_mean(id, known)}; `tito check` lists them")
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
    receipts: Sequence[Receipt]  # those that this organizer sealed, oldest first
    kernel: KernelChoice
    backend: BackendChoice
    rounds: int | None
    again: bool
    report: Report

    def due(self, ids: Sequence[str]) -> dict[str, Files]:
        """Return the entries without a receipt of this ground for their present files."""
        newest = {receipt.entry: receipt for receipt in self.receipts if receipt.ground == self.writer.ground}
        files = {id: files_of(self.shared, id) for id in ids}
        done = {id for id in ids if id in newest and files[id].are_those_of(newest[id])}
        for id in done:  # killed between its receipt and the end of its journal
            Journal.of(self.writer.ground.id, id, files[id].model_sha256).remove()
        return {id: files[id] for id in ids if self.again or id not in done}

    def check(self, due: Mapping[str, Files]) -> list[Work]:
        """Check the entries; write the receipts of those that are refused, and return the others."""
        others = holders_of(self.shared, self.receipts) if due else {}
        works = []
        for number, (id, files) in enumerate(due.items(), 1):
            self.report(Progress(id, f"checking, {number} of {len(due)}"))
            began, start = datetime.now(UTC), time.monotonic()
            with scratch("check") as private:
                try:
                    copy = self.shared.private_copy(id, private / "entry", files.model_sha256)
                    checked = inspect(copy.path, id, self.rules, others)
                    problems = checked.problems
                except RefusedError as error:
                    problems = list(error.problems)
            if problems:
                self.writer.write(id, files, Outcome(problems), span=Span(began, time.monotonic() - start))
            else:
                assert checked.model is not None
                works.append(Work(id, files, layers_of(checked.model), checked.shown))
        return works

    def measure(self, works: list[Work]) -> tuple[dict[str, SelfTest], dict[str, str]]:
        """Measure entries and write their receipts; return the newest self-tests, and why tracks failed theirs."""
        tracks = tracks_of(works)
        if not tracks:
            return {}, {}
        self.report(Progress("self-test", f"preparing the data of {', '.join(tracks)}"))
        with host_for(self.rules, tracks, self.kernel, self.backend) as host:
            host = self._on_its_ground(host, tracks)
            tester = Tester(host, self.rounds, Rounds(self.report))
            Session(host, self.shared, self.writer, tester, self.again).run(works)
        return tester.passed, tester.failed

    def _on_its_ground(self, host: Host, tracks: Sequence[str]) -> Host:
        """Return the host on the ground that its receipts will be of."""
        host, name = replace(host, ground=self.writer.ground), this_host()
        if must_compare(host.ground, name, self.receipts):
            anchors = anchors_of(host.ground, self.shared, self.receipts, tracks)
            host, self.writer.anchors = compare_anchors(host, name, self.shared, anchors, self.report)
            self.writer.ground = host.ground
        return host
