"""How long a run will take: by the newest comparable record of this machine, or else as its suite states.

Pure functions: records and times in, seconds out. An estimate says where it comes from; without a source there is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tito.bench.record import CaseResult, Record, SeedRun
from tito.bench.suite import ENGINE_METRICS, LoadedSuite

STARTING = 0.5  # seconds for starting a process, in records that do not state its whole time
SURE = 5.0  # seconds after which the pace so far corrects the estimate
SLOWEST, FASTEST = 4.0, 0.25  # limits of that correction


@dataclass(frozen=True)
class Expected:
    """The seconds that a run is expected to take.

    Args:
        total: all of it.
        source: where this comes from, in words.
        seeds: for each case, seconds of one seed; empty if only the total is known.
    """

    total: float
    source: str
    seeds: Mapping[str, float] = field(default_factory=dict)


def expected(
    loaded: LoadedSuite, plan: Sequence[tuple[str, int]], quick: bool, machine: str, records: Sequence[Record]
) -> Expected | None:
    """Return what a run is expected to take; None if nothing comparable was run, and the suite states nothing.

    Args:
        loaded: the suite.
        plan: the cases to run, each with its number of seeds.
        quick: whether it is a quick run.
        machine: this machine's fingerprint.
        records: earlier runs, oldest first.
    """
    for record in reversed(records):
        alike = (record.suite, record.quick) == (loaded.suite.name, quick) and not record.mine and not record.resumed
        cases = {case.name: case for case in record.cases if case.runs}
        if alike and record.provenance.machine.fingerprint == machine and all(name in cases for name, _ in plan):
            seeds = {name: _seed_seconds(cases[name]) for name, _ in plan}
            rest = max(record.seconds - sum(_seconds(run) for case in cases.values() for run in case.runs), 0.0)
            total = sum(seeds[name] * count for name, count in plan) + rest
            return Expected(total, f"the run of {record.created:%Y-%m-%d}", seeds)
    stated = loaded.suite.duration
    seconds = stated and (stated.quick if quick else stated.full)
    if not seconds or loaded.altered:
        return None
    return Expected(seconds, "its suite, for two cores")


class TimeLeft:
    """The time left of a run, by what is expected and by its pace so far.

    Args:
        expected: what the run is expected to take.
        plan: the cases, each with its number of seeds.
    """

    def __init__(self, expected: Expected, plan: Sequence[tuple[str, int]]) -> None:
        self._expected = expected
        self._to_run = dict(plan)
        self._total = expected.total
        self._done = self._took = 0.0  # expected and measured seconds of finished seeds

    def finish(self, case: str, seconds: float | None) -> None:
        """Count a finished seed; `seconds` is None for one that was taken over."""
        usual = self._expected.seeds.get(case, 0.0)
        self._to_run[case] = self._to_run.get(case, 1) - 1
        self._total -= usual
        if seconds is not None:
            self._done += usual
            self._took += seconds

    def seconds(self, elapsed: float, in_seed: float) -> float | None:
        """Return the seconds left; None if the run takes longer than expected.

        Args:
            elapsed: seconds since the run began.
            in_seed: seconds since the current seed or measurement began.
        """
        if not self._expected.seeds:
            left = self._total - elapsed
        else:
            pace = min(max(self._took / self._done, FASTEST), SLOWEST) if self._done >= SURE else 1.0
            left = self._total * pace - in_seed
        return left if left > 0 else None


def _seed_seconds(case: CaseResult) -> float:
    """Return the mean time of a seed."""
    return sum(map(_seconds, case.runs)) / len(case.runs)


def _seconds(run: SeedRun) -> float:
    """Return how long a seed's process took."""
    if run.seconds is not None:
        return run.seconds
    return sum(run.metrics.get(name, 0.0) for name in ENGINE_METRICS) + STARTING
