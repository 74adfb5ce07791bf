"""How far `tito verify` is: one line with the entry, the round, and the time left."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """One step of a verification, for a progress line.

    Attributes:
        what: the entry, "self-test mnist", or "waiting".
        stage: what happens to it.
        done, total: rounds, self-tests included; 0 of 0 before they are known.
        seconds_left: an estimate; None before the first round has ended.
    """

    what: str
    stage: str
    done: int = 0
    total: int = 0
    seconds_left: float | None = None

    def __str__(self) -> str:
        parts = [f"{self.what}: {self.stage}"]
        if self.total:
            parts.append(f"round {self.done} of {self.total}")
        if self.seconds_left is not None:
            parts.append(f"{_duration(self.seconds_left)} left")
        return ", ".join(parts)


Report = Callable[[Progress], None]


@dataclass
class Rounds:
    """Counts rounds and estimates the time left: each track's rounds take about as long as those that have ended."""

    report: Report
    planned: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # by track
    taken: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _last: float = 0.0
    _current: tuple[str, int] = ("", 0)  # the track of what began last, and its rounds that are left

    def plan(self, track: str, rounds: int) -> None:
        """Expect more rounds of a track."""
        self.planned[track] += rounds

    def begin(self, track: str, what: str, stage: str, rounds: int) -> Callable[[], None]:
        """Report what begins now, and return the function to call after each of its rounds."""
        self._last, self._current = time.monotonic(), (track, rounds)
        self._tell(what, stage)

        def done() -> None:
            now = time.monotonic()
            self.taken[track].append(now - self._last)
            self._last, self._current = now, (track, self._current[1] - 1)
            self._tell(what, stage)

        return done

    def finish(self) -> None:
        """Expect no more rounds of what began last, such as those of a refused entry."""
        track, left = self._current
        self.planned[track] -= left
        self._current = (track, 0)

    def seconds_left(self) -> float | None:
        """Return the estimate; None before the first round has ended."""
        every = [seconds for taken in self.taken.values() for seconds in taken]
        if not every:
            return None
        mean = {track: sum(taken) / len(taken) for track, taken in self.taken.items() if taken}
        overall = sum(every) / len(every)
        left = {track: max(0, planned - len(self.taken[track])) for track, planned in self.planned.items()}
        return sum(count * mean.get(track, overall) for track, count in left.items())

    def _tell(self, what: str, stage: str) -> None:
        done = sum(map(len, self.taken.values()))
        self.report(Progress(what, stage, done, max(done, sum(self.planned.values())), self.seconds_left()))


def _duration(seconds: float) -> str:
    """Return a time in words.

    >>> _duration(42), _duration(400), _duration(7400)
    ('42 s', '7 min', '2 h 3 min')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
