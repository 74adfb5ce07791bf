"""A suite on a learner's own modules, beside the same on the reference: quality, time, memory, steps, and hot lines.

    run_mine(loaded, own, ...) -> MineRun -> reports/mine/<suite>.json -> tito.report.mine

Its records stay out of the reference's pages and history: the learner's code is another program.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt, ValidationError

from tinytorch.base.files import atomic_write
from tinytorch.benchmarking import compare
from tito.bench import rounds, selection
from tito.bench.owncode import OwnCode
from tito.bench.record import Record, SeedRun
from tito.bench.suite import Case, LoadedSuite
from tito.errors import RecordError, RunError
from tito.files import read_plain
from tito.overlay import COURSE, NUMBERS, Plan
from tito.process.documents import Frozen
from tito.process.events import Event
from tito.versus import contest

FOLDER = "mine"  # in the folder of the reports
MOST_BYTES = 200_000_000
ROUNDS, QUICK_ROUNDS = 7, 5  # processes that time the steps of each choice of modules
WARM_STEPS = 2  # the first steps allocate
STEP_SECONDS = 1.5  # of training in each of these processes
HOTTEST = 12  # lines


class StepTime(Frozen):
    """How long a training step takes with one module of the learner's, relative to the reference's."""

    module: str  # "all" for all of the learner's modules together
    seconds: PositiveFloat  # median over processes
    reference_seconds: PositiveFloat
    ratio: PositiveFloat  # how many times as long
    low: PositiveFloat  # its 95% interval
    high: PositiveFloat
    rounds: PositiveInt


class HotLine(Frozen):
    """A line of the learner's, and the share of the training's time in which it is the innermost of the learner's."""

    file: str
    line: PositiveInt
    text: str
    share: NonNegativeFloat


class MineRun(Frozen):
    """Everything that a run of a learner's own code measured."""

    record: Record
    reference: SeedRun | None  # the same case and seed on the reference; None if it failed
    reference_peak: int | None = None  # bytes: the high-water mark of its process
    reference_problem: str = ""
    steps: list[StepTime]
    steps_problem: str = ""  # why there are none
    lines: list[HotLine]


Report = Callable[[str], None]


def measure_reference(
    loaded: LoadedSuite, case: Case, pinned: Mapping[str, str]
) -> tuple[SeedRun | None, int | None, str]:
    """Run the case's first seed on the reference.

    Returns:
        The run, the peak memory of its process in bytes where the system reports it, and why there is no run.
    """
    loaded, _ = selection.measurable(loaded, lambda packages: contest.missing(dict(pinned), packages))
    metrics, seed = loaded.suite.metrics_of(loaded.suite.case(case.name)), case.seeds[0]
    result: Event = {}
    peak: int | None = None
    try:
        with rounds.start(loaded, "quality", case, seed, pinned, weights=None, metrics=metrics) as child:
            for event in child.events(tick=rounds.QUIET_TICK):
                if event and event["event"] == "ready":
                    child.go()
                elif event and event["event"] == "phase":
                    peak = max(peak or 0, event["peak"]) if event["peak"] else peak
                elif event and event["event"] == "result":
                    result = event
        return rounds.seed_run(metrics, seed, result), peak, ""
    except RunError as error:
        return None, None, str(error)


def measure_steps(
    loaded: LoadedSuite, case: Case, own: OwnCode, pinned: Mapping[str, str], quick: bool, report: Report
) -> tuple[list[StepTime], str]:
    """Time training steps with one module of the learner's at a time, then all, alternating with the reference.

    Returns:
        The times, and why there are none.
    """
    needed = [COURSE[number - 1] for number in loaded.suite.modules]
    mine = [name for name in sorted(own.plan.modules, key=NUMBERS.__getitem__) if name in needed]
    choices = {name: _only(own, [name]) for name in mine} | ({"all": _only(own, mine)} if len(mine) > 1 else {})
    found: dict[str, list[float]] = {name: [] for name in choices}
    reference: list[float] = []
    count = QUICK_ROUNDS if quick else ROUNDS
    try:
        for number in range(1, count + 1):
            report(f"timing steps, round {number} of {count}: the reference")
            reference.append(_step_seconds(loaded, case, _only(own, []), pinned))
            for name, chosen in choices.items():
                report(f"timing steps, round {number} of {count}: your {name}")
                found[name].append(_step_seconds(loaded, case, chosen, pinned))
    except RunError as error:
        return [], str(error)
    return [_step_time(name, times, reference) for name, times in found.items()], ""


def _only(own: OwnCode, names: list[str]) -> OwnCode:
    """Return the same with only these modules of the learner's."""
    modules = {name: own.plan.modules[name] for name in names}
    return replace(own, plan=Plan(modules, own.plan.reference))


def _step_seconds(loaded: LoadedSuite, case: Case, own: OwnCode, pinned: Mapping[str, str]) -> float:
    """Return the seconds of one step of a training in a fresh process.

    Raises:
        RunError: the process failed, or its training reports no progress.
    """
    limits = own.limits.model_copy(update={"seconds": loaded.suite.limits.seconds})
    first: tuple[float, int] | None = None
    last: tuple[float, int] | None = None
    with rounds.start(loaded, "steps", case, case.seeds[0], pinned, limits, mine=own.job()) as child:
        for event in child.events(tick=rounds.QUIET_TICK):
            if event is None:
                continue
            if event["event"] == "ready":
                child.go()
            elif event["event"] == "progress" and event["phase"] == "train":
                seconds, done = event["figures"].get("harness_seconds"), event["done"]
                if seconds is None:
                    continue
                if first is None and done >= WARM_STEPS:
                    first = seconds, done
                last = seconds, done
                if first and done > first[1] and seconds - first[0] >= STEP_SECONDS:
                    break
    if first is None or last is None or last[1] <= first[1]:
        raise RunError("the training is over before its steps can be timed")
    return (last[0] - first[0]) / (last[1] - first[1])


def _step_time(name: str, times: list[float], reference: list[float]) -> StepTime:
    found = compare(reference, times)  # how many times as long the learner's takes
    return StepTime(
        module=name,
        seconds=sorted(times)[len(times) // 2],
        reference_seconds=sorted(reference)[len(reference) // 2],
        ratio=found.ratio,
        low=found.interval.low,
        high=found.interval.high,
        rounds=len(times),
    )


def hot_lines(record: Record, plan: Plan) -> list[HotLine]:
    """Return the learner's lines that the training spends most time in, hottest first.

    A sample counts for the innermost of the learner's lines in its stack: also while NumPy works for it.
    """
    stacks = record.profile.stacks if record.profile else None
    if stacks is None:
        return []
    names = {Path(file).name: Path(file) for file in plan.modules.values()}
    counts: Counter[tuple[str, int]] = Counter()
    total = 0
    for stack, samples in stacks.collapsed:
        total += samples
        for frame in reversed(stack.split(";")):
            match = re.search(r"\((?:.*/)?([^/():]+):(\d+)\)$", frame)
            if match and match[1] in names:
                counts[match[1], int(match[2])] += samples
                break
    texts = {name: path.read_text(encoding="utf-8", errors="replace").splitlines() for name, path in names.items()}
    return [
        HotLine(
            file=name,
            line=line,
            text=texts[name][line - 1].strip() if line <= len(texts[name]) else "",
            share=samples / total,
        )
        for (name, line), samples in counts.most_common(HOTTEST)
    ]


def profiled_case(loaded: LoadedSuite, quick: bool) -> Case:
    """Return the case that represents the suite, as it runs on a learner's modules."""
    plan = selection.profile_plan(loaded.suite.profile, quick, mine=True)
    return selection.as_run(loaded.suite.case(plan.case), 1, quick, mine=True)


def save_mine(run: MineRun, reports: Path) -> Path:
    """Write the newest run of a suite, complete or not at all.

    Raises:
        RecordError: the folder cannot be written.
    """
    path = reports / FOLDER / f"{run.record.suite}.json"
    try:
        return atomic_write(path, run.model_dump_json().encode() + b"\n")
    except OSError as error:
        raise RecordError(f"{path}: cannot be written: {error.strerror or error}") from None


def load_mine(reports: Path) -> tuple[list[MineRun], list[str]]:
    """Return the newest run of each suite, by year, and one line for each file that cannot be read."""
    found, warnings = [], []
    for path in sorted((reports / FOLDER).glob("*.json")):
        try:
            found.append(MineRun.model_validate_json(read_plain(path, MOST_BYTES)))
        except OSError as error:
            warnings.append(f"skipped {path}: {error.strerror or error}")
        except ValidationError:
            warnings.append(f"skipped {path}: not a run of your own code, or one of another version of tito")
    return sorted(found, key=lambda run: run.record.year), warnings
