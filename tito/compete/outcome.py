"""What came out for one entry: its rounds, judged; or the first reason to refuse it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tinytorch.layers import Module
from tinytorch.tensor import Tensor
from tito.compete.journal import Journal
from tito.compete.measure import Host, judged, measured, quality_of, refusal, repeat_problems, times_of
from tito.compete.problems import Problem
from tito.compete.receipt import Child, Layer, Quality
from tito.errors import RunError


@dataclass(frozen=True)
class Outcome:
    """The figures of an entry, or the problems that refuse it. A refused entry has the figures up to its refusal."""

    problems: list[Problem] = field(default_factory=list)
    quality: Quality | None = None
    quality_gate_met: bool = False
    times: list[Child] = field(default_factory=list)
    file_bytes: int | None = None
    reference_bytes: int | None = None
    memory_bytes: int | None = None
    reference_memory_bytes: int | None = None

    def fields(self) -> dict[str, object]:
        """Return all but the problems, by the names that a receipt has for them."""
        return {name: value for name, value in vars(self).items() if name != "problems"}


def outcome_of(
    host: Host,
    track: str,
    folder: Path,
    rounds: int | None,
    journal: Journal | None = None,
    done: Callable[[], None] = lambda: None,
) -> Outcome:
    """Measure a private copy of an entry: its quality first, then its times."""
    try:
        seeds = host.seeds(track, "quality", rounds)
        runs = measured(host, track, "quality", folder, seeds, journal=journal, done=done)
    except RunError as error:
        return Outcome([refusal(error)])
    quality, problems = quality_of(host.rules.tracks[track], runs)
    sizes = {name: int(runs[0].metrics[name]) for name in ("file_bytes", "reference_bytes")}
    memory = {name: int(runs[0].metrics[name]) for name in ("memory_bytes", "reference_memory_bytes")}
    gate = all(verdict.met for verdict in judged(host, track, "quality", runs).verdicts if verdict.role == "gate")
    times: list[Child] = []
    if not problems:
        try:
            seeds = host.seeds(track, "times", rounds)
            timed = measured(host, track, "times", folder, seeds, journal=journal, done=done)
            problems = repeat_problems(judged(host, track, "times", timed))
            times = [times_of(run) for run in timed]
        except RunError as error:
            problems = [refusal(error)]
    return Outcome(problems, quality, gate, times, **sizes, **memory)


def layers_of(model: Module) -> list[Layer]:
    """Return the layers of a model that have tensors of their own, in order."""
    layers = []
    for name, part in model.named_modules():
        own = [value.data for value in vars(part).values() if isinstance(value, Tensor)]
        if own:
            layers.append(
                Layer(
                    name=name,
                    kind=type(part).__name__,
                    dtypes=list(dict.fromkeys(array.dtype.name for array in own)),
                    parameters=sum(array.size for array in own),
                    bytes=sum(array.nbytes for array in own),
                )
            )
    return layers
