"""The pass in which a process is observed from outside and nothing is timed: its stacks, and a served model's memory.

A suite whose subject is training is observed while it trains (`observe: training`), and one whose subject is inference
while its trained model answers queries (`observe: inference`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tinytorch.base.errors import how_to_install
from tito.bench import probes
from tito.bench.record import MemoryTrace, Stacks
from tito.bench.rounds import QUIET_TICK
from tito.bench.suite import ProfilePlan
from tito.errors import RunError
from tito.process import events
from tito.process.child import Child

NO_PY_SPY = f"py-spy is not installed: {how_to_install()}"


@dataclass
class Observed:
    """What was seen; each is a reason instead if there is nothing to show."""

    stacks: Stacks | str
    memory: MemoryTrace | str


def observe(start: Callable[[], Child], plan: ProfilePlan, case: str, seed: int, lines: bool) -> Observed:
    """Observe one process until py-spy has seen enough.

    Args:
        start: starts the process: the job "stacks" or "serve".
        plan: what is observed, and for how long.
        lines: whether frames are lines of Python; by default they are functions, of native code as well.
    """
    executable = probes.find_py_spy()
    if executable is None and plan.observe == "training":
        return Observed(NO_PY_SPY, "")
    observer = _Observer(plan, executable, lines)
    try:
        with start() as child:
            for event in child.events(tick=probes.MEMORY_INTERVAL if plan.observe == "inference" else QUIET_TICK):
                if observer.is_done(child, event):
                    break
        return Observed(observer.stacks(), observer.memory(case, seed))
    except RunError as error:
        return Observed(
            f"the process that was observed failed: {error}", f"the process that was observed failed: {error}"
        )
    except OSError as error:
        return Observed(f"py-spy cannot be run: {error.strerror or error}", observer.memory(case, seed))
    finally:
        observer.close()


class _Observer:
    """Follows a process's events: samples its memory, and attaches py-spy to it once its work begins."""

    def __init__(self, plan: ProfilePlan, executable: str | None, lines: bool) -> None:
        self._plan, self._executable, self._lines = plan, executable, lines
        self._phase = "train" if plan.observe == "training" else "serve"
        self._memory: probes.MemoryProbe | None = None
        self._spy: probes.StackProbe | None = None
        self._native = not lines
        self._worked = False  # whether the phase that is observed has ended, as far as memory is concerned

    def is_done(self, child: Child, event: events.Event | None) -> bool:
        """Follow one event or tick; return whether enough was seen."""
        kind = event["event"] if event else None
        if kind == "ready":
            if self._plan.observe == "inference":
                self._memory = probes.MemoryProbe(child.memory, child.started)
                self._memory.sample()  # the baseline, before anything is loaded
            child.go()
        elif event and kind == "progress" and event["phase"] == self._phase and self._spy is None:
            self._attach(child)
        elif event and kind == "phase" and self._memory:
            self._memory.phase(event["name"], event["start"], event["end"], event["peak"])
            self._worked = event["name"] == self._phase
        if self._memory and not self._worked:
            self._memory.sample()
        if self._spy is None:
            return self._executable is None and self._worked
        if self._spy.running():
            return False
        if self._native and self._spy.failed:  # py-spy reads native code on some systems only
            self._spy.close()
            self._native = False
            self._attach(child)
            return False
        return self._worked or self._memory is None

    def _attach(self, child: Child) -> None:
        if self._executable is not None:
            seconds = self._plan.stack_seconds
            self._spy = probes.StackProbe(self._executable, child.pid, seconds, self._lines, self._native)

    def stacks(self) -> Stacks | str:
        if self._executable is None:
            return NO_PY_SPY
        if self._spy is None:
            return "the process exited before its work began"
        return self._spy.stacks(probes.py_spy_version(self._executable), of=self._plan.observe)

    def memory(self, case: str, seed: int) -> MemoryTrace | str:
        trace = self._memory.trace(case, seed) if self._memory else None
        return trace or "the process exited before it could be sampled"

    def close(self) -> None:
        if self._spy is not None:
            self._spy.close()
