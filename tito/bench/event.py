"""The events of a run that a progress bar shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """The state of a run, for a progress bar.

    `stage` is the child's phase ("load", "build", "train", "evaluate", "latency", "throughput", "stacks"), with done
    and total as the workload reports them. It is "against PyTorch" for a round of a rival case, and "seed done" once
    for each seed, with done and total in seeds of the case and the seed's metrics as figures; it is "seed kept" for one
    that an interrupted run had finished. The first event is "start", which alone has a plan.
    """

    stage: str
    case: str
    seed: int | None
    done: int
    total: int
    figures: dict[str, float | None]  # None for what is NaN or infinite
    plan: tuple[tuple[str, int], ...] = ()  # the cases, each with its number of seeds


Report = Callable[[Event], None]
