"""One work done here and in PyTorch, each in a fresh process: what `nox -s versus` and the suites' rival cases ask.

A work is a file in tito/versus/works, known here by its name alone. PyTorch is looked for where this Python looks;
without it there is no rival, and `missing` says so.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

import numpy as np

from tito.bench.process import child_environment
from tito.bench.suite import RIVAL_METRICS
from tito.errors import RunError

TIMEOUT = 300.0
TOLERANCE = 2e-3  # of the checks, relative to their size: float32 sums in another order differ by about 1e-4


@dataclass(frozen=True)
class Contest:
    """What one side did: its check's numbers, and the median seconds of each measurement."""

    check: np.ndarray
    medians: dict[str, float]


def missing(pinned: dict[str, str]) -> str | None:
    """Why there is no rival here, in one line; None if PyTorch can be imported."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", "import torch"], env=child_environment(pinned), capture_output=True, check=False
    )
    if done.returncode == 0:
        return None
    last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
    return "PyTorch is not installed here" if "No module named 'torch'" in last else f"PyTorch does not load: {last}"


def run_contender(work: str, contender: str, pinned: dict[str, str]) -> Contest:
    """One side in one fresh process.

    Raises:
        RunError: it failed, or took too long.
    """
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
    told = json.loads(done.stdout.splitlines()[-1])
    return Contest(np.array(told["check"]), told["medians"])


def difference(ours: Contest, theirs: Contest) -> float:
    """The largest difference of the checks, relative to 1 + their size; infinite where their shapes differ."""
    a, b = ours.check, theirs.check
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    return float((np.abs(a - b) / (1 + np.abs(b))).max())


def same_work(work: str, yardstick: str, ours: Contest, theirs: Contest) -> float:
    """How far the checks differ.

    Raises:
        RunError: further than rounding explains.
    """
    off = difference(ours, theirs)
    if off > TOLERANCE:
        how = f"by up to {off:.2g}" if ours.check.shape == theirs.check.shape else "in shape"
        raise RunError(f"{work}: tinytorch and {yardstick} differ {how}: they did not do the same work")
    return off


def run_round(work: str, number: int, pinned: dict[str, str]) -> dict[str, float]:
    """Both sides once, the other one first in every second round; the work's first measurement as RIVAL_METRICS.

    Raises:
        RunError: a side failed, or they did not do the same work.
    """
    sides = {}
    for contender in ("tinytorch", "pytorch") if number % 2 else ("pytorch", "tinytorch"):
        sides[contender] = run_contender(work, contender, pinned)
    ours, theirs = sides["tinytorch"], sides["pytorch"]
    own, other = (next(iter(side.medians.values())) for side in (ours, theirs))
    off = same_work(work, "pytorch", ours, theirs)
    return dict(zip(RIVAL_METRICS, (other / own, other, own, off), strict=True))
