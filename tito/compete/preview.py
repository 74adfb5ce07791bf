"""One round of a model beside its track's reference, for whoever is about to submit it. It ranks nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tito.compete.measure import host_for, one_round, refusal
from tito.compete.problems import RefusedError
from tito.compete.progress import Progress, Report
from tito.compete.rules import Rules, Track
from tito.errors import RunError
from tito.process.backend import choose_backend
from tito.process.blas import choose_kernel
from tito.process.turn import turn


@dataclass(frozen=True)
class Side:
    """The figures of the model or of the reference."""

    quality: float  # accuracy as a fraction, or loss in nats
    p50_us: float
    batch_us: float
    file_bytes: int
    memory_bytes: int


@dataclass(frozen=True)
class Preview:
    """One round: the model and the reference."""

    track: Track
    own: Side
    reference: Side

    @property
    def lost(self) -> float:
        """How much worse the quality is than the reference's."""
        return self.track.lost(self.own.quality, self.reference.quality)

    @property
    def gate_met(self) -> bool:
        """Whether the quality is good enough to be ranked by latency and size."""
        return self.lost <= self.track.gate

    @property
    def speedup(self) -> float:
        """How many times as fast as the reference, in this one process."""
        return self.reference.p50_us / self.own.p50_us


def preview(rules: Rules, folder: Path, track: str, report: Report = lambda progress: None) -> Preview:
    """Measure one round of quality and one of times, with the referees.

    Args:
        folder: the model, in a folder that nobody else writes to. `reference` is the reference itself.

    Raises:
        RefusedError: a referee refuses the model.
        RunError: the track's data cannot be prepared.
    """
    facts, what = rules.tracks[track], f"a preview on {track}"
    tell: Callable[[str], None] = lambda stage: report(Progress(track, stage))
    with turn(what, lambda holder: report(Progress("waiting", f"for {holder}"))):
        tell("preparing its data")
        with host_for(rules, [track], choose_kernel(), choose_backend()) as host:
            try:
                tell("measuring quality")
                quality = one_round(host, track, "quality", folder, 1).metrics
                tell("measuring times")
                times = one_round(host, track, "times", folder, 1).metrics
            except RunError as error:
                raise RefusedError([refusal(error)]) from None
    value, lost = (quality[name] for name in (("accuracy", "points_lost"), ("val_loss", "loss_added"))[facts.is_text])
    return Preview(
        facts,
        Side(value, times["p50_us"], times["batch_us"], int(quality["file_bytes"]), int(quality["memory_bytes"])),
        Side(
            value - lost if facts.is_text else value + lost,
            times["reference_p50_us"],
            times["reference_batch_us"],
            int(quality["reference_bytes"]),
            int(quality["reference_memory_bytes"]),
        ),
    )
