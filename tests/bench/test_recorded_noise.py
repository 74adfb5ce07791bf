"""How often a history is misjudged, on histories resampled from recorded noise: `nox -s history-selftest` prints it.

noise_quiet.csv and noise_busy.csv are what `tito record export --csv` printed after many runs of one suite at one
commit: those of a quiet machine, and those during which other programs ran. Blocks of three consecutive runs are drawn,
because the noise of one run resembles that of the next.
"""

from __future__ import annotations

import csv
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tito.bench.history import LONGEST
from tito.bench.shifts import FEWEST, SHORTEST, find_shift

HISTORIES = int(os.environ.get("TITO_HISTORIES", "200"))
BLOCK = 3
TIMED = ("train_seconds", "p50_us", "p90_us", "samples_per_second", "peak_bytes")  # what a history judges
STEADY = ("hidden_layer.train_seconds", "hidden_layer.p50_us", "hidden_layer.samples_per_second")


@cache
def noise(kind: str) -> tuple[list[str], np.ndarray]:
    """The timed figures, and their values: (runs, figures)."""
    with (Path(__file__).parent / f"noise_{kind}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name.partition(".")[2] in TIMED]
    return names, np.array([[float(row[name]) for name in names] for row in rows])


def histories(kind: str, seed: int, fewest: int = FEWEST) -> list[np.ndarray]:
    """Histories of `fewest` to LONGEST runs, (runs, figures) each."""
    rng, (_, values) = np.random.default_rng(seed), noise(kind)
    made = []
    for _ in range(HISTORIES):
        length = int(rng.integers(fewest, LONGEST + 1))
        starts = rng.integers(0, len(values), -(-length // BLOCK))
        chosen = (starts[:, None] + np.arange(BLOCK)).ravel()[:length] % len(values)
        made.append(values[chosen])
    return made


def alarms(kind: str) -> int:
    """How many histories without any change have at least one figure that is said to have changed."""
    return sum(any(find_shift(figure.tolist()) for figure in history.T) for history in histories(kind, 0))


def found(name: str, factor: float, runs: int) -> int:
    """In how many histories a change of the last runs by a factor is found, at most one run off, with its size."""
    column, count = noise("quiet")[0].index(name), 0
    for history in histories("quiet", 1, fewest=FEWEST + runs):
        values = history[:, column].copy()
        values[-runs:] *= factor
        shift = find_shift(values.tolist())
        near = shift is not None and abs(shift.at - (len(values) - runs)) <= 1
        count += near and shift is not None and abs(shift.relative - (factor - 1)) < 0.05
    return count


def test_at_most_one_in_a_hundred_histories_without_a_change_alarms() -> None:
    count = alarms("quiet")
    print(f"quiet machine: {count} of {HISTORIES} histories without a change alarm")  # noqa: T201
    assert count <= 0.01 * HISTORIES


def test_runs_on_a_busy_machine_must_stand_apart() -> None:
    """They come in groups, and no rule can tell three of them in a row from a change: hence the mark in the record."""
    count = alarms("busy")
    print(f"busy machine, if its runs counted: {count} of {HISTORIES} histories without a change alarm")  # noqa: T201
    assert count > 0.1 * HISTORIES


@pytest.mark.parametrize("name", STEADY)
@pytest.mark.parametrize(
    ("change", "runs", "share"), [(0.25, 3, 0.99), (0.25, 5, 0.99), (0.10, 3, 0.85), (0.10, 5, 0.95)]
)
def test_a_planted_slow_down_is_found(name: str, change: float, runs: int, share: float) -> None:
    assert runs >= SHORTEST
    factor = 1 / (1 + change) if name.endswith("samples_per_second") else 1 + change
    count = found(name, factor, runs)
    print(f"{name}, slower by {change:.0%} for {runs} runs: found in {count} of {HISTORIES} histories")  # noqa: T201
    assert count >= share * HISTORIES


def test_the_recorded_noise_is_noise() -> None:
    for kind in ("quiet", "busy"):
        names, values = noise(kind)
        spread = 1.4826 * np.median(np.abs(np.log(values / np.median(values, axis=0))), axis=0)
        for name, figure in zip(names, spread, strict=True):
            print(f"{kind}: {name}, {len(values)} runs, spread {figure:.1%}")  # noqa: T201
        assert len(values) >= 30
        assert (spread[[names.index(name) for name in STEADY]] > 0.005).all()
