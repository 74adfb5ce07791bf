"""Whether a machine was too busy for its figures to mean much. Pure functions of `tito.process.conditions`.

docs/measuring.md gives the reasons for the limits and the runs on which they were tried.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MOST_OTHERS = 0.04  # share of the cores' time that other processes may use, over all of a run
MOST_STEAL = 0.02  # share that the hypervisor may take away
FACTOR = 2  # one process alone may have this many times as much
SHORTEST = 1.0  # seconds from which on one process is judged alone: the system counts in steps of 10 ms
MOST_LOAD = 0.5  # load average per core before the run, where the system does not count what others used

Conditions = Mapping[str, float]


@dataclass(frozen=True)
class Noise:
    """The verdict on a run: `known` is false if its conditions were not recorded, as in older records."""

    noisy: bool
    reasons: tuple[str, ...]  # each a part of a sentence: "other processes used 48% of the cores' time"
    known: bool = True

    @property
    def line(self) -> str:
        """The reasons in one line, or nothing."""
        return "; ".join(self.reasons)


def judge(processes: Iterable[tuple[str, Conditions]], before: Conditions | None = None) -> Noise:
    """Judge a run by the conditions of its processes, each with its name, and by those before it.

    A run is noisy if other processes or the hypervisor had more than the limit's share of the cores' time, over all of
    its processes together, or more than FACTOR times that share during one of them. Where the system does not count
    what others used, it is noisy if the load average was above MOST_LOAD per core before it: later, its own processes
    are part of the load.
    """
    known = [(name, found) for name, found in processes if "seconds" in found]
    if not known:
        return Noise(False, (), known=False)
    reasons = []
    for key, limit, words in (
        ("others", MOST_OTHERS, "other processes used {share:.0%} of the cores' time"),
        ("steal", MOST_STEAL, "the hypervisor took {share:.0%} of the cores' time away"),
    ):
        told = _share(key, limit, known)
        if told is not None:
            share, where = told
            reasons.append(words.format(share=share) + where)
    if before and "cores" in before and not any("others" in found for _, found in known):
        load, cores = before["load_average"], before["cores"]
        if load > MOST_LOAD * cores:
            reasons.append(f"the load average was {load:.1f} before the run, on {cores:.0f} cores")
    return Noise(bool(reasons), tuple(reasons))


def _share(key: str, limit: float, processes: list[tuple[str, Conditions]]) -> tuple[float, str] | None:
    """Return a share above its limit and where it was found: over the whole run, or in its worst process."""
    counted = [(name, found) for name, found in processes if key in found]
    seconds = sum(found["seconds"] for _, found in counted)
    if not counted or seconds <= 0:
        return None
    overall = sum(found[key] * found["seconds"] for _, found in counted) / seconds
    if overall > limit:
        return overall, ""
    long = [(found[key], name) for name, found in counted if found["seconds"] >= SHORTEST]
    worst, name = max(long, default=(0.0, ""))
    return (worst, f" during {name}") if worst > FACTOR * limit else None
