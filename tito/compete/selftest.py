"""The check of the measurement itself, before and after entries are measured.

A track's reference, entered as it is, must tie with the reference; a twin slowed by 10% must lose. Otherwise no figure
of this host is worth a receipt. `nox -s compete-selftest` records 60 processes of each and counts, over 200 pairs of
entries drawn from them, how often the ranking is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from tito.bench.record import SeedRun
from tito.compete.intervals import FEWEST_CHILDREN, Latency, latency
from tito.compete.journal import Journal
from tito.compete.measure import REFERENCE, Host, one_round, ratio_of
from tito.compete.progress import Rounds
from tito.compete.receipt import SelfTest
from tito.errors import RunError

SLOWED = 0.1  # the share by which the twin is slower


def recorded(
    host: Host,
    track: str,
    rounds: int,
    done: Callable[[], None] = lambda: None,
    journals: tuple[Journal | None, Journal | None] = (None, None),
) -> tuple[list[SeedRun], list[SeedRun]]:
    """Run rounds of the reference as an entry and of its slowed twin, alternating, and return both."""
    same: list[SeedRun] = []
    slow: list[SeedRun] = []
    for seed in range(1, rounds + 1):
        for runs, share, journal in ((same, 0.0, journals[0]), (slow, SLOWED, journals[1])):
            runs.append(one_round(host, track, "times", REFERENCE, seed, slowed=share, journal=journal))
            done()
    return same, slow


def self_test(host: Host, track: str, rounds: int, done: Callable[[], None] = lambda: None) -> SelfTest:
    """Test the measurement of one track; whether it passed is in the result.

    Raises:
        RunError: the reference itself could not be measured.
    """
    same, slow = recorded(host, track, rounds, done)
    return SelfTest(created=datetime.now(UTC), children=rounds, same=ratio_of(same), slowed=ratio_of(slow))


@dataclass
class Tester:
    """Tests tracks, and knows which of them may be measured now.

    Attributes:
        rounds: processes that time an entry; None for as many as the suite has seeds. A self-test has at least 11.
        passed: by track, the newest test, if all of its tests passed.
        failed: by track, why one did not; it is not tested again.
    """

    host: Host
    rounds: int | None
    progress: Rounds
    passed: dict[str, SelfTest] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def plan(self, track: str) -> None:
        """Expect one test of a track."""
        self.progress.plan(track, 2 * self._count(track))

    def test(self, track: str, when: str) -> None:
        """Test a track, unless it has failed before."""
        if track in self.failed:
            return
        self.passed.pop(track, None)
        done = self.progress.begin(track, f"self-test {track}", when, 2 * self._count(track))
        try:
            test = self_test(self.host, track, self._count(track), done)
        except RunError as error:
            self.failed[track] = f"{track}: the reference itself cannot be measured: {error}"
        else:
            if test.passed:
                self.passed[track] = test
            else:
                self.failed[track] = f"{track}, {when}: {describe(test)}"
        self.progress.finish()

    def _count(self, track: str) -> int:
        return max(FEWEST_CHILDREN, len(self.host.seeds(track, "times", self.rounds)))


def describe(test: SelfTest) -> str:
    """Say in one line how a self-test came out."""
    same, slow = test.same, test.slowed
    told = f"the reference against itself {same.verdict} ({same.ratio:.3f}, {same.low:.3f} to {same.high:.3f})"
    return f"{told}; 10% slower {slow.verdict} ({slow.ratio:.3f}, {slow.low:.3f} to {slow.high:.3f})"


@dataclass(frozen=True)
class Counts:
    """How the ranking judged pairs of entries that are the same, and pairs of which one is 10% slower."""

    pairs: int
    false: int  # same pairs of which one beat the other
    found: int  # slowed ones that lost

    @property
    def passed(self) -> bool:
        """Whether at most 1% of the same pairs were told apart, and at least 99% of the slowed ones were found."""
        return self.false <= 0.01 * self.pairs and self.found >= 0.99 * self.pairs


def count_pairs(same: Sequence[SeedRun], slow: Sequence[SeedRun], size: int, pairs: int = 200, seed: int = 0) -> Counts:
    """Draw pairs of entries of `size` processes each from recorded ones, and let the ranking judge them.

    The two entries of a pair share no process.
    """
    rng = np.random.default_rng(seed)
    false = found = 0
    for number in range(pairs):
        chosen = rng.permutation(len(same))[: 2 * size]
        a, b = (_entry(same, part, f"{number} {side}") for side, part in enumerate(np.split(chosen, 2)))
        c = _entry(slow, rng.permutation(len(slow))[:size], f"{number} slow")
        false += a.beats(b) or b.beats(a)
        found += a.beats(c)
    return Counts(pairs, false, found)


def _entry(runs: Sequence[SeedRun], chosen: np.ndarray, name: str) -> Latency:
    own, reference = (np.array([runs[i].metrics[key] for i in chosen]) for key in ("p50_us", "reference_p50_us"))
    return latency(own, reference, name)
