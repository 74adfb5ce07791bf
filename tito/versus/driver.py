"""Runs contenders in rounds of fresh processes, in alternating order, and works out the ratios."""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from tinytorch.benchmarking import Comparison, alternate, compare
from tito.bench.process import child_environment
from tito.errors import RunError
from tito.versus import works

TIMEOUT = 300.0
TOLERANCE = 2e-3  # of the checks, relative to their size: float32 sums in another order differ by about 1e-4


@dataclass(frozen=True)
class Outcome:
    """One measurement of one work against one yardstick."""

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
        """Whether the bar was reached; None where there is none."""
        return None if self.bar is None else self.comparison.ratio >= self.bar


def names() -> list[str]:
    """All works, by name."""
    return sorted(module.name for module in pkgutil.iter_modules(works.__path__))


def load(name: str) -> ModuleType:
    """A work by name."""
    if name not in names():
        raise RunError(f"no work is called '{name}': there are {', '.join(names())}")
    return importlib.import_module(f"tito.versus.works.{name}")


def yardsticks(work: ModuleType) -> list[str]:
    """The names of the functions it is measured against."""
    return [name for name in vars(work) if name == "pytorch" or name.startswith("pytorch_")]


def run_work(name: str, rounds: int, pinned: dict[str, str], report: Callable[[str, int], None]) -> list[Outcome]:
    """All comparisons of one work.

    Raises:
        RunError: PyTorch is missing, a contender failed, or the two sides did not compute the same.
    """
    work = load(name)
    outcomes = []
    for yardstick in yardsticks(work):
        done = 0

        def once(contender: str, yardstick: str = yardstick) -> dict[str, dict[str, float]]:
            nonlocal done
            result = run_contender(name, contender, pinned)
            done += 1
            report(yardstick, done)
            return result

        ours, theirs = alternate(lambda: once("tinytorch"), lambda: once(yardstick), rounds=rounds)  # noqa: B023
        for mine, other in zip(ours, theirs, strict=True):
            _same_work(name, yardstick, np.array(mine["check"]), np.array(other["check"]))
        for measurement in ours[0]["medians"]:
            a, b = ([result["medians"][measurement] for result in side] for side in (ours, theirs))
            bar = work.BARS.get(measurement) if yardstick == "pytorch" else None
            comparison = compare(a, b)
            outcomes.append(
                Outcome(
                    name, work.TITLE, measurement, yardstick, float(np.median(a)), float(np.median(b)), comparison, bar
                )
            )
    return outcomes


def run_contender(work: str, contender: str, pinned: dict[str, str]) -> dict[str, dict[str, float]]:
    """One fresh process; what it printed."""
    command = [sys.executable, "-P", "-m", "tito.versus.child", work, contender]
    try:
        done = subprocess.run(
            command, env=child_environment(pinned), capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise RunError(f"{work}: {contender} took longer than {TIMEOUT:g} s") from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        if "No module named 'torch'" in last:
            last = "PyTorch is not installed; `python -m nox -s versus` installs it"
        raise RunError(f"{work}: {contender} failed: {last}")
    return json.loads(done.stdout.splitlines()[-1])


def _same_work(work: str, yardstick: str, ours: np.ndarray, theirs: np.ndarray) -> None:
    if ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE):
        off = f"by up to {np.abs(ours - theirs).max():.2g}" if ours.shape == theirs.shape else "in shape"
        raise RunError(f"{work}: tinytorch and {yardstick} differ {off}: they did not do the same work")
