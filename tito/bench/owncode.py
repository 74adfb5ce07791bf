"""A learner's own modules under a suite: which ones, how long they may take, and when there is no hope to finish."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from tito.bench.record import Mine
from tito.bench.suite import Suite
from tito.errors import RunError
from tito.overlay import COURSE, Plan
from tito.process.documents import Limits
from tito.process.events import Event

PATIENCE = 10  # times the suite's time limit: plain loops are slow, and that is what a learner sees
LOOK_AHEAD = 20.0  # seconds of training after which its end is estimated


@dataclass
class OwnCode:
    """A learner's modules, and the folder for the stand-in package.

    Attributes:
        plan: which modules are the learner's.
        folder: a folder that outlives the run's processes.
        facts: what the record says about it.
        limits: of each process.
    """

    plan: Plan
    folder: Path
    facts: Mine
    limits: Limits
    _began: float | None = field(default=None, init=False)
    _phase: str = field(default="", init=False)

    @classmethod
    def of(cls, plan: Plan, suite: Suite, folder: Path) -> OwnCode:
        """Return the learner's code under a suite, with ten times its time limit."""
        hashes = {name: hashlib.sha256(Path(file).read_bytes()).hexdigest() for name, file in plan.modules.items()}
        needed = [COURSE[number - 1] for number in suite.modules]
        facts = Mine(modules=hashes, borrowed=[name for name in needed if name not in hashes])
        limits = suite.limits.model_copy(update={"seconds": suite.limits.seconds * PATIENCE})
        return cls(plan, folder, facts, limits)

    def job(self) -> dict[str, Any]:
        """Return what a job says about whose modules it runs (see `tito.process.inside`)."""
        return {"plan": self.plan._asdict(), "folder": str(self.folder)}

    def look_ahead(self, event: Event) -> None:
        """End a training that cannot finish within its limit.

        Raises:
            RunError: after 20 s of training, the progress so far says that it would take longer than the limit.
        """
        if event["phase"] != self._phase or event["done"] == 0:
            self._phase, self._began = event["phase"], monotonic()
        if event["phase"] != "train" or self._began is None or not event["done"]:
            return
        spent = monotonic() - self._began
        expected = spent / event["done"] * event["total"]
        if spent > LOOK_AHEAD and expected > self.limits.seconds:
            minutes, most = expected / 60, self.limits.seconds / 60
            raise RunError(
                f"ended early: {event['done']} of {event['total']} steps took {spent:.0f} s, so all would take "
                f"{minutes:.0f} min, above the limit of {most:.0f} min; `--borrow` takes a module from the reference",
                "time",
            )
