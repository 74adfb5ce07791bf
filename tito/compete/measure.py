"""Measuring one model by the competition's suite, a child process a round, and the rounds as a receipt's parts.

    Host -> rounds(...) -> SeedRuns -> quality_of(...), times_of(...), ratio_of(...)

Entries, the reference in self-tests, its slowed twin, and previews are all measured here, by `bench.rounds.run_round`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

import tinytorch
from tinytorch.benchmarking import compare
from tito.bench.record import CaseResult, SeedRun
from tito.bench.rounds import case_result, prepare_data, run_round
from tito.bench.suite import Case
from tito.compete.journal import Journal
from tito.compete.problems import CODES, Problem
from tito.compete.receipt import LEVELS, Child, Ground, Quality, Ratio, Times, pack_items
from tito.compete.rules import Rules, Track
from tito.errors import RunError
from tito.files import scratch
from tito.process.backend import BackendChoice, pinned_backend
from tito.process.blas import KernelChoice
from tito.process.environment import pinned_environment
from tito.process.provenance import Machine, this_machine

REFERENCE = "reference"  # the folder that stands for a track's own reference
REPEATED = 2  # items in which the quality of two processes may differ
SAME_LOSS = 1e-3  # nats; a window whose losses differ by more counts as another item
What = Literal["quality", "times"]


@dataclass(frozen=True)
class Host:
    """What is the same for all measurements of one run: rules, environment, ground, and the tracks' prepared data."""

    rules: Rules
    pinned: Mapping[str, str]
    ground: Ground
    machine: Machine
    data: Mapping[str, tuple[Path, str]]  # by track: the file and its SHA-256

    def case(self, track: str, what: What) -> Case:
        """Return the case that measures entries of a track."""
        facts = self.rules.tracks[track]
        return self.rules.loaded.suite.case(facts.quality_case if what == "quality" else facts.times_case)

    def seeds(self, track: str, what: What, rounds: int | None) -> list[int]:
        """Return the seeds of the rounds: those of the case, or for times the first `rounds` from 1."""
        own = self.case(track, what).seeds
        return own if what == "quality" or rounds is None else list(range(1, rounds + 1))


@contextmanager
def host_for(rules: Rules, tracks: Sequence[str], kernel: KernelChoice, backend: BackendChoice) -> Iterator[Host]:
    """Prepare each track's data once, in a private folder, and return what all measurements need.

    Raises:
        RunError: data cannot be prepared.
    """
    pinned = pinned_environment(kernel.environment | pinned_backend(backend))
    ground = ground_of(rules, kernel, backend)
    with scratch("verify") as folder:
        data = {}
        for track in tracks:
            file = folder / f"{track}.safetensors"
            case = rules.loaded.suite.case(rules.tracks[track].quality_case)
            data[track] = file, prepare_data(rules.loaded, case, file, pinned)
        yield Host(rules, pinned, ground, this_machine(), data)


def ground_of(rules: Rules, kernel: KernelChoice, backend: BackendChoice) -> Ground:
    """Return the ground of measurements that are made here and now."""
    return Ground(
        machine=this_machine().fingerprint,
        backend=backend.name if backend.version is None else f"{backend.name} {backend.version}",
        kernel=kernel.record.used,
        numpy=np.__version__,
        tinytorch_sha256=code_sha256(Path(tinytorch.__file__).parent),
        rules_sha256=rules.sha256,
    )


def code_sha256(package: Path) -> str:
    """Return the hash of a package's Python files, with their names and lengths."""
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(package).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def measured(
    host: Host,
    track: str,
    what: What,
    folder: Path | str,
    seeds: Sequence[int],
    *,
    slowed: float = 0.0,
    journal: Journal | None = None,
    done: Callable[[], None] = lambda: None,
) -> list[SeedRun]:
    """Run rounds of a track's case on a model; rounds that the journal holds are not run again.

    Args:
        folder: a private copy of the model, or `REFERENCE`.
        slowed: by which share the model is slowed.
        done: called after each round.

    Raises:
        RunError: a round was refused or failed; the message names it.
    """
    runs = []
    for seed in seeds:
        runs.append(one_round(host, track, what, folder, seed, slowed=slowed, journal=journal))
        done()
    return runs


def one_round(
    host: Host,
    track: str,
    what: What,
    folder: Path | str,
    seed: int,
    *,
    slowed: float = 0.0,
    journal: Journal | None = None,
) -> SeedRun:
    """Run one round, or return it from the journal."""
    case = host.case(track, what)
    kept = journal.read(case.name, seed) if journal else None
    if kept:
        return kept
    file, sha256 = host.data[track]
    given = {"folder": str(folder), "data": str(file), "data_sha256": sha256, "slowed": slowed}
    changed = case.model_copy(update={"parameters": {**case.parameters, **given}})
    try:
        run = run_round(host.rules.loaded, changed, seed, host.pinned)
    except RunError as error:
        raise RunError(f"{case.name}, round {seed}: {error}", error.code) from None
    if journal:
        journal.keep(case.name, run)
    return run


def judged(host: Host, track: str, what: What, runs: list[SeedRun]) -> CaseResult:
    """Judge the rounds by the case's gates, as a run of the suite does."""
    return case_result(host.case(track, what), runs, complete=True)


# From rounds to a receipt's parts ----------------------------------------------------------------------


def refusal(error: RunError) -> Problem:
    """Return why a round gave no figure. A crash without a code is a refusal as well."""
    where, _, reason = str(error).partition(": ")
    found = re.sub(r" \(\w+\.py line \d+\)$", "", reason.removeprefix("CheckError: "))
    return Problem(error.code if error.code in CODES else "died", where, "", found, "a measurement")


def quality_of(track: Track, runs: Sequence[SeedRun]) -> tuple[Quality, list[Problem]]:
    """Return an entry's quality by its first process, and a problem if the second one found another."""
    own, reference = (np.array(runs[0].raw[name]) for name in ("own", "reference"))
    value, base = float(own.mean()), float(reference.mean())
    quality = Quality(
        metric=track.quality,
        value=value,
        reference=base,
        lost=track.lost(value, base),
        items=len(own),
        own_items=pack_items(track.quality, own),
        reference_items=pack_items(track.quality, reference),
    )
    problems = []
    for run in runs[1:]:
        again = np.array(run.raw["own"])
        other = int((np.abs(again - own) > SAME_LOSS).sum()) if again.shape == own.shape else len(own)
        if other > REPEATED:
            found = f"{other} of {len(own)} items with another result in a second process"
            problems.append(Problem("unsteady", track.quality_case, f"round {run.seed}", found, f"at most {REPEATED}"))
    return quality, problems


def repeat_problems(result: CaseResult) -> list[Problem]:
    """Return the problem of an entry that answers repeated inputs faster, by the gates of the case that times it."""
    return [
        Problem(
            "repeats",
            result.name,
            verdict.criterion.metric,
            "nothing" if verdict.measured is None else f"{verdict.measured:.1%} of the time saved",
            f"at most {verdict.criterion.value:.0%} more than the reference saves",
        )
        for verdict in result.verdicts
        if verdict.role == "gate" and not verdict.met
    ]


def times_of(run: SeedRun) -> Child:
    """Return what one process measured."""
    seen = run.conditions
    switches = seen.get("context_switches")
    return Child(
        round=run.seed,
        own=_times(run, "", "own_us"),
        reference=_times(run, "reference_", "reference_us"),
        load_average=seen.get("load_average"),
        steal=seen.get("steal"),
        context_switches=None if switches is None else int(switches),
        cpu_per_wall=seen.get("cpu_per_wall"),
    )


def _times(run: SeedRun, prefix: str, raw: str) -> Times:
    found = {name: run.metrics.get(f"{prefix}{name}") for name in ("p50_us", "p90_us", "p99_us", "batch_us")}
    quantiles = np.percentile(run.raw[raw], LEVELS).round(3).tolist()
    return Times.model_validate({**found, "quantiles_us": quantiles})


def ratio_of(runs: Sequence[SeedRun]) -> Ratio:
    """Compare entry and reference over processes: how many times as fast the entry is, with its interval."""
    own, reference = ([run.metrics[name] for run in runs] for name in ("p50_us", "reference_p50_us"))
    found = compare(own, reference)
    return Ratio(ratio=found.ratio, low=found.interval.low, high=found.interval.high, verdict=found.verdict)
