"""For tests of verifying: rounds without child processes, whose outcome an entry's recipe states.

Test material, never a measurement: times are drawn from a random generator, quality from the recipe.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.compete.competition import RULES, make_entry, small_model
from tito.bench.record import SeedRun
from tito.bench.suite import Case
from tito.compete import measure
from tito.compete.folder import SharedFolder
from tito.errors import RunError
from tito.process.backend import BackendChoice
from tito.process.blas import BlasChoice, KernelChoice
from tito.project import Project

ROOT = RULES.parents[2]
KERNEL = KernelChoice(BlasChoice(used="any", default="any", speedup=None, why="a test"), {})
BACKEND = BackendChoice(name="numpy", version=None, native=[], why="a test")
REFERENCE_US = 30.0
ITEMS = 400


@dataclass
class Rounds:
    """Stands in for `run_round` and `prepare_data`; counts what is asked of it."""

    asked: list[tuple[str, str, int, float]] = field(default_factory=list)  # case, recipe, seed, slowed
    prepared: list[str] = field(default_factory=list)
    noise: float = 0.002
    bias: float = 1.0  # of the reference against itself: a host whose self-test fails
    slow_shows: bool = True
    before: Callable[[str, str, int], None] = lambda case, recipe, seed: None  # called first in each round

    def run_round(self, loaded: Any, case: Case, seed: int, pinned: Any) -> SeedRun:
        given = case.parameters
        folder, slowed = str(given["folder"]), float(given["slowed"])  # type: ignore[arg-type]
        assert hashlib.sha256(Path(str(given["data"])).read_bytes()).hexdigest() == given["data_sha256"]
        recipe = "" if folder == "reference" else json.loads((Path(folder) / "submission.json").read_text())["recipe"]
        self.before(case.name, recipe, seed)
        self.asked.append((case.name, recipe, seed, slowed))
        settings = dict(part.split("=") for part in recipe.split())
        if case.name.endswith(settings.get("fails", "never")):
            raise RunError(settings["message"].replace("_", " "), settings.get("code", ""))
        engine = dict.fromkeys(("load_seconds", "train_seconds", "evaluate_seconds"), 0.01)
        if case.name.endswith("_quality"):
            metrics, raw = self._quality(case, seed, settings)
        else:
            metrics, raw = self._times(case, seed, settings, slowed, own=folder != "reference")
        return SeedRun(seed=seed, metrics=metrics | engine, curve=[], exhibits=[], raw=raw,
                       conditions={"load_average": 0.5, "context_switches": 3.0, "cpu_per_wall": 1.0})  # fmt: skip

    def prepare_data(self, loaded: Any, case: Case, file: Path, pinned: Any) -> str:
        self.prepared.append(case.name)
        file.write_bytes(case.name.encode())
        return hashlib.sha256(case.name.encode()).hexdigest()

    def _quality(self, case: Case, seed: int, settings: dict[str, str]) -> tuple[dict[str, float], dict[str, Any]]:
        text = case.name.startswith("tinygpt")
        reference = np.full(ITEMS, 4.0) if text else (np.arange(ITEMS) % 50 > 0).astype(float)
        lost = float(settings.get("lost", 0))
        own = reference + lost * text
        if not text:
            own[np.flatnonzero(reference)[: round(lost * ITEMS)]] = 0
        if seed > 1:
            wrong = int(settings.get("unsteady", 0))
            own[-wrong or ITEMS :] = own[-wrong or ITEMS :] + 1 if text else 1 - own[-wrong or ITEMS :]
        names = ("val_loss", "loss_added") if text else ("accuracy", "points_lost")
        sizes = {"file_bytes": 1000.0, "reference_bytes": 4000.0}
        memory = {"memory_bytes": 5000.0, "reference_memory_bytes": 9000.0}
        value, base = float(own.mean()), float(reference.mean())
        metrics = {names[0]: value, names[1]: value - base if text else base - value}
        return metrics | sizes | memory, {"own": own.tolist(), "reference": reference.tolist()}

    def _times(
        self, case: Case, seed: int, settings: dict[str, str], slowed: float, own: bool
    ) -> tuple[dict[str, float], dict[str, Any]]:
        rng = np.random.default_rng([seed, len(case.name), int(1000 * slowed), own])
        reference = REFERENCE_US * rng.normal(1, self.noise)
        bias = 1.0 if own else self.bias
        took = reference / float(settings.get("speedup", 1)) * bias * (1 + slowed * self.slow_shows)
        took *= rng.normal(1, self.noise)
        metrics = {"p50_us": took, "reference_p50_us": reference, "speedup": reference / took, "batch_us": 9 * took,
                   "reference_batch_us": 9 * reference, "batch_speedup": 1.0,
                   "repeat_gain": float(settings.get("repeats", 0))}  # fmt: skip
        if not case.name.startswith("tinygpt"):
            metrics |= {"p90_us": 1.1 * took, "p99_us": 2 * took}
            metrics |= {"reference_p90_us": 1.1 * reference, "reference_p99_us": 2 * reference}
        raw = {name: (value * rng.uniform(0.95, 1.3, 30)).tolist() for name, value in
               (("own_us", took), ("reference_us", reference))}  # fmt: skip
        return metrics, raw


@dataclass
class Organizer:
    """An organizer's places, with the repository's own rules and stand-in rounds."""

    project: Project
    folder: Path
    rounds: Rounds

    @property
    def shared(self) -> SharedFolder:
        return SharedFolder(self.folder)

    def enter(self, id: str, recipe: str = "", track: str = "mnist", seed: int | None = None, **changes: Any) -> Path:
        """Put a small entry into the shared folder; its recipe states what measuring it gives."""
        path = self.folder / id
        shutil.rmtree(path, ignore_errors=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        number = sum(id.encode()) if seed is None else seed
        return make_entry(path, small_model(track, number), id, track, recipe=recipe, **changes)


def organizer_at(root: Path, monkeypatch: pytest.MonkeyPatch) -> Organizer:
    """Return an organizer whose key, state, and lock are below `root`, and whose rounds are stand-ins."""
    monkeypatch.setenv("TITO_KEY", str(root / "own" / "key"))
    monkeypatch.setenv("TITO_STATE", str(root / "own" / "state"))
    monkeypatch.setenv("TITO_TURN", str(root / "own" / "turn"))
    (root / "own").mkdir(exist_ok=True)
    rounds = Rounds()
    monkeypatch.setattr(measure, "run_round", rounds.run_round)
    monkeypatch.setattr(measure, "prepare_data", rounds.prepare_data)
    project = Project(ROOT, ROOT / "suites", root / "reports", root / "submissions")
    return Organizer(project, root / "shared", rounds)
