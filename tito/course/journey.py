"""The journey from 1957 to 2025: where a learner stands among eras, checkpoints, and milestones.

Pure functions of progress; the terminal and the page show the same journey.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tito.course.modules import CHECKPOINTS, ERAS, MILESTONES, MODULES, Checkpoint, Era, Milestone, Module
from tito.course.progress import ModuleProgress, Progress

FIRST_YEAR, LAST_YEAR = 1950, 2025  # the axis begins a little before the first milestone, where a learner begins

CheckpointState = Literal["locked", "ready", "failed", "changed", "passed"]


@dataclass(frozen=True)
class Stop:
    """An era with its modules, the milestone that they lead to, and whether it is unlocked."""

    era: Era
    modules: tuple[ModuleProgress, ...]
    milestone: Milestone
    unlocked: bool


@dataclass(frozen=True)
class Journey:
    """All eras with the learner's progress.

    Attributes:
        stops: the eras in order.
        checkpoints: each checkpoint with its state.
        here: the module to work on; None if all are complete.
        year: where the learner stands on the axis from FIRST_YEAR to LAST_YEAR.
    """

    stops: tuple[Stop, ...]
    checkpoints: tuple[tuple[Checkpoint, CheckpointState], ...]
    here: ModuleProgress | None
    year: float

    @property
    def complete(self) -> int:
        """The number of complete modules."""
        return sum(one.state == "complete" for stop in self.stops for one in stop.modules)

    @property
    def command(self) -> str | None:
        """What to type next, or None if all modules are complete."""
        if self.here is None:
            return None
        if self.here.state != "started" or self.here.missing:
            return f"tito module start {self.here.module.key}"
        done = bool(self.here.total) and self.here.passed == self.here.total
        return f"tito module {'complete' if done else 'test'} {self.here.module.key}"


def make_journey(progress: Progress, checkpoints: Mapping[int, CheckpointState] | None = None) -> Journey:
    """Return the journey of a learner. `checkpoints` are states by number; one without a state is ready or locked."""
    modules = progress.modules
    complete = {one.module.number for one in modules if one.state == "complete"}
    stops = []
    for era, milestone in zip(ERAS, MILESTONES, strict=True):
        own = tuple(one for one in modules if era.first <= one.module.number <= era.last)
        stops.append(Stop(era, own, milestone, is_unlocked(milestone, complete)))
    return Journey(
        stops=tuple(stops),
        checkpoints=tuple((one, (checkpoints or {}).get(one.number) or _ready(one, complete)) for one in CHECKPOINTS),
        here=_here(modules),
        year=_year(stops),
    )


def is_unlocked(milestone: Milestone, complete: set[int]) -> bool:
    """Return whether all modules that lead to a milestone are complete."""
    return complete >= {module.number for module in MODULES[: milestone.after_module]}


def _ready(checkpoint: Checkpoint, complete: set[int]) -> CheckpointState:
    return "ready" if complete >= set(checkpoint.modules) else "locked"


def _here(modules: tuple[ModuleProgress, ...]) -> ModuleProgress | None:
    """Return the first module that is started, or else the first that is not complete."""
    for states in (("started",), ("open", "locked")):
        for one in modules:
            if one.state in states:
                return one
    return None


def _year(stops: list[Stop]) -> float:
    """Return the year on the way to the first milestone that is not unlocked, by the share of complete modules."""
    before = float(FIRST_YEAR)
    for stop in stops:
        share = sum(one.state == "complete" for one in stop.modules) / len(stop.modules)
        if share < 1:
            return before + share * (stop.era.year - before)
        before = float(stop.era.year)
    return before


def unlocked_by(module: Module, progress: Progress) -> list[str]:
    """Return what the completion of a module unlocks, a line each: checkpoint, milestone, next module."""
    complete = {one.module.number for one in progress.modules if one.state == "complete"} | {module.number}
    lines = []
    for checkpoint in CHECKPOINTS:
        if module.number in checkpoint.modules and complete >= set(checkpoint.modules):
            lines.append(f"checkpoint {checkpoint.key}: {checkpoint.question} tito checkpoint test {checkpoint.key}")
    for milestone in MILESTONES:
        if module.number <= milestone.after_module and is_unlocked(milestone, complete):
            lines.append(f"milestone {milestone.year} is unlocked: tito milestone run {milestone.suite}")
    later = next((one for one in progress.modules if one.module.number not in complete), None)
    if later is None:
        lines.append("all 20 modules are complete")
    else:
        verb = "test" if later.state == "started" else "start"
        lines.append(f"next: tito module {verb} {later.module.key}")
    return lines
