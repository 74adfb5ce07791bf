"""Run contenders in rounds of fresh processes, in alternating order, and compute the ratios."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from tinytorch.benchmarking import Comparison, alternate, compare
from tito.errors import RunError
from tito.versus import works
from tito.versus.contest import Contest, run_contender, same_work


@dataclass(frozen=True)
class Outcome:
    """One measurement of one work against one version of PyTorch."""

    work: str
    title: str
    measurement: str
    yardstick: str
    seconds: float
    yardstick_seconds: float
    comparison: Comparison
    bar: float | None

    @property
    def met(self) -> bool | None:
        """Whether the bar was reached; None without a bar."""
        return None if self.bar is None else self.comparison.ratio >= self.bar


def names() -> list[str]:
    """Return the names of all works."""
    return sorted(module.name for module in pkgutil.iter_modules(works.__path__))


def load(name: str) -> ModuleType:
    """Return a work by its name."""
    if name not in names():
        raise RunError(f"no work is named '{name}'; available: {', '.join(names())}")
    return importlib.import_module(f"tito.versus.works.{name}")


def yardsticks(work: ModuleType) -> list[str]:
    """Return the names of the functions that a work is measured against."""
    return [name for name in vars(work) if name == "pytorch" or name.startswith("pytorch_")]


def run_work(name: str, rounds: int, pinned: dict[str, str], report: Callable[[str, int], None]) -> list[Outcome]:
    """Run all comparisons of one work.

    Raises:
        RunError: PyTorch is not installed, a contender failed, or the two sides did different work.
    """
    work = load(name)
    outcomes = []
    for yardstick in yardsticks(work):
        done = 0

        def once(contender: str, yardstick: str = yardstick) -> Contest:
            nonlocal done
            result = run_contender(name, contender, pinned)
            done += 1
            report(yardstick, done)
            return result

        ours, theirs = alternate(lambda: once("tinytorch"), lambda: once(yardstick), rounds=rounds)  # noqa: B023
        for mine, other in zip(ours, theirs, strict=True):
            same_work(name, yardstick, mine, other)
        for measurement in ours[0].medians:
            a, b = ([contest.medians[measurement] for contest in side] for side in (ours, theirs))
            bar = work.BARS.get(measurement) if yardstick == "pytorch" else None
            comparison = compare(a, b)
            outcomes.append(
                Outcome(
                    name, work.TITLE, measurement, yardstick, float(np.median(a)), float(np.median(b)), comparison, bar
                )
            )
    return outcomes
