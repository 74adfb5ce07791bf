"""Run contenders in rounds of fresh processes, in alternating order, and compute the ratios."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from tinytorch.benchmarking import Comparison, compare
from tito.errors import RequestError, did_you_mean
from tito.versus import contest, works
from tito.versus.contender import Rate
from tito.versus.contest import Contest, run_contender, same_work
from tito.versus.rivals import TITLES

OWN = "tinytorch"


@dataclass(frozen=True)
class Outcome:
    """One measurement of one work against one rival.

    Attributes:
        rate: the goal as a rate, where the work has one.
        own, library: TinyTorch and the rival's library, with their versions. threads: the threads that each used.
    """

    work: str
    title: str
    measurement: str
    rival: str
    seconds: float
    rival_seconds: float
    comparison: Comparison
    bar: float | None
    rate: Rate | None
    own: str
    library: str
    threads: int

    @property
    def met(self) -> bool | None:
        """Whether the bar was reached; None without a bar."""
        return None if self.bar is None else self.comparison.ratio >= self.bar


def names() -> list[str]:
    """Return the names of all works."""
    return sorted(module.name for module in pkgutil.iter_modules(works.__path__))


def load(name: str) -> ModuleType:
    """Return a work by its name.

    Raises:
        RequestError: there is no such work.
    """
    if name not in names():
        meant = did_you_mean(name, names())
        raise RequestError(f"no work is named '{name}'{meant}; available: {', '.join(names())}")
    return importlib.import_module(f"tito.versus.works.{name}")


def rivals_of(work: ModuleType) -> list[str]:
    """Return the rivals that a work defines."""
    return [name for name in TITLES if name in vars(work)]


def run_work(
    name: str, rivals: Sequence[str], rounds: int, pinned: dict[str, str], report: Callable[[str], None]
) -> list[Outcome]:
    """Run one work with TinyTorch and some of its rivals, and compare each of them with TinyTorch.

    In each round, each contender runs once, in one order in even rounds and in the opposite one in odd rounds.

    Args:
        report: receives the name of each contender that has run.

    Raises:
        RunError: a contender failed, or two of them did different work.
    """
    work = load(name)
    results: dict[str, list[Contest]] = {contender: [] for contender in (OWN, *rivals)}
    for i in range(rounds):
        for contender in list(results)[:: 1 if i % 2 == 0 else -1]:
            results[contender].append(run_contender(name, contender, pinned))
            report(contender)
        for rival in rivals:
            same_work(name, rival, results[OWN][i], results[rival][i], getattr(work, "TOLERANCE", contest.TOLERANCE))
    return [outcome for rival in rivals for outcome in _outcomes(name, work, rival, results[OWN], results[rival])]


def _outcomes(name: str, work: ModuleType, rival: str, ours: list[Contest], theirs: list[Contest]) -> list[Outcome]:
    """Return the comparisons of all measurements that both sides have."""
    outcomes = []
    for measurement in ours[0].medians.keys() & theirs[0].medians.keys():
        a, b = ([result.medians[measurement] for result in side] for side in (ours, theirs))
        bar = work.BARS.get(rival, {}).get(measurement)
        seconds, rival_seconds = float(np.median(a)), float(np.median(b))
        rate = getattr(work, "RATES", {}).get(measurement)
        libraries = ours[0].library, theirs[0].library, ours[0].threads
        outcomes.append(
            Outcome(name, work.TITLE, measurement, rival, seconds, rival_seconds, compare(a, b), bar, rate, *libraries)
        )
    return sorted(outcomes, key=lambda outcome: list(ours[0].medians).index(outcome.measurement))
