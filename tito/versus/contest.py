"""One work done by TinyTorch and by a rival, each in a fresh process, for `nox -s versus` and the suites' rival cases.

A work is a file in tito/versus/works; this module only uses its name. The rival's packages must be importable by this
Python; otherwise `missing` returns the reason.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tito.errors import RunError, printable
from tito.process.environment import child_environment, signal_name
from tito.versus import rivals

WORKS = Path(__file__).with_name("works")
# The metrics of one round of both sides, and of a suite's case with a rival
RIVAL_METRICS = ("rival_speedup", "rival_seconds", "own_seconds", "rival_difference")
TIMEOUT, IMPORT_TIMEOUT = 300.0, 60.0  # seconds
TOLERANCE = 2e-3  # of the checks, relative to their size: float32 sums in a different order differ by about 1e-4


@dataclass(frozen=True)
class Contest:
    """The result of one side: the values of its check, and the median seconds of each measurement.

    Attributes:
        library: its library, with the version. threads: the number of threads that it used.
    """

    check: np.ndarray
    medians: dict[str, float]
    library: str = ""
    threads: int = 0


@dataclass(frozen=True)
class Trouble:
    """Why a library cannot be used, in one line, and whether it is installed all the same."""

    why: str
    installed: bool


def missing(pinned: dict[str, str], packages: Sequence[str] = ("torch",)) -> str | None:
    """Return why a rival cannot run, in one line; None if its packages can be imported."""
    found = trouble(pinned, packages)
    return found.why if found else None


def trouble(pinned: dict[str, str], packages: Sequence[str]) -> Trouble | None:
    """Return the first package's trouble; None if all can be imported."""
    return next(filter(None, (_does_not_load(package, pinned) for package in packages)), None)


def _does_not_load(package: str, pinned: dict[str, str]) -> Trouble | None:
    name = rivals.NAMES[package]
    try:
        done = _run("-c", f"import {package}", environment=child_environment(pinned), timeout=IMPORT_TIMEOUT)
    except subprocess.TimeoutExpired:
        return Trouble(f"{name} did not load within {IMPORT_TIMEOUT:g} s", installed=True)
    if done.returncode == 0:
        return None
    why = _why(done)
    if f"No module named '{package}'" in why:
        return Trouble(f"{name} is not installed here", installed=False)
    return Trouble(f"{name} does not load: {why}", installed=True)


def run_contender(work: str, contender: str, pinned: dict[str, str]) -> Contest:
    """Run one side in a fresh process.

    Raises:
        RunError: the side failed, or took too long.
    """
    arguments = "-m", "tito.versus.child", work, contender
    environment = child_environment(rivals.settings(contender, pinned))
    try:
        done = _run(*arguments, environment=environment, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise RunError(f"{work}: {contender} took longer than {TIMEOUT:g} s") from None
    if done.returncode != 0:
        why = _why(done)
        if "No module named 'torch'" in why:
            why = "PyTorch is not installed; `python -m nox -s versus` installs it"
        raise RunError(f"{work}: {contender} failed: {why}")
    told = json.loads(done.stdout.splitlines()[-1])
    return Contest(np.array(told["check"]), told["medians"], told["library"], told["threads"])


def _run(*arguments: str, environment: dict[str, str], timeout: float) -> subprocess.CompletedProcess[str]:
    """Run a fresh Python; with -P, no file in the working directory can replace a library's."""
    return subprocess.run(
        [sys.executable, "-P", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
    )


def _why(done: subprocess.CompletedProcess[str]) -> str:
    """Return why a process failed, in one line, cut short and without control characters.

    This is its exception with the first line of the message, else the last line of stderr, else the signal.
    """
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    if not lines:
        return signal_name(-done.returncode) if done.returncode < 0 else "no message"
    return printable(_exception(lines) or lines[-1].strip())[:200]


def _exception(lines: Sequence[str]) -> str | None:
    """Return the type and the first line of the message below the last traceback that was not ignored; None without."""
    starts = [i for i, line in enumerate(lines) if line == "Traceback (most recent call last):"]
    starts = [i for i in starts if i == 0 or not lines[i - 1].startswith("Exception ignored")]
    told = list(itertools.dropwhile(lambda line: line.startswith(" "), lines[starts[-1] + 1 :] if starts else ()))
    if not told:
        return None
    empty = told[0].endswith(": ") and len(told) > 1  # the message begins with a line break
    return told[0] + told[1].strip() if empty else told[0]


def difference(ours: Contest, theirs: Contest) -> float:
    """Return the largest difference between the checks, relative to 1 + their size; infinite if the shapes differ."""
    a, b = ours.check, theirs.check
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    return float((np.abs(a - b) / (1 + np.abs(b))).max())


def same_work(work: str, rival: str, ours: Contest, theirs: Contest, tolerance: float = TOLERANCE) -> float:
    """Return the difference between the checks.

    Raises:
        RunError: it is larger than rounding explains, or the sides used different numbers of threads.
    """
    off = difference(ours, theirs)
    if off > tolerance:
        how = f"by up to {off:.2g}" if ours.check.shape == theirs.check.shape else "in shape"
        raise RunError(f"{work}: tinytorch and {rival} differ {how}: they did not do the same work")
    if ours.threads != theirs.threads:
        raise RunError(f"{work}: tinytorch used {ours.threads} threads and {rival} {theirs.threads}: expected as many")
    return off


def run_round(work: str, number: int, pinned: dict[str, str]) -> dict[str, float]:
    """Run both sides once, alternating the order from round to round; return RIVAL_METRICS of the first measurement.

    Raises:
        RunError: a side failed, or their checks cannot be compared.
    """
    sides = {}
    for contender in ("tinytorch", "pytorch") if number % 2 == 0 else ("pytorch", "tinytorch"):
        sides[contender] = run_contender(work, contender, pinned)
    ours, theirs = sides["tinytorch"], sides["pytorch"]
    own, other = (next(iter(side.medians.values())) for side in (ours, theirs))
    off = difference(ours, theirs)
    if not np.isfinite(off):  # the case's gate says how far they may differ
        same_work(work, "pytorch", ours, theirs)
    return dict(zip(RIVAL_METRICS, (other / own, other, own, off), strict=True))
