"""What a work provides to be timed.

Each file in works/ has

    TITLE                  the heading of its table
    BARS                   rival -> measurement -> the ratio to the rival's speed that is the goal
    RATES                  optional: measurement -> the rate that is its goal without a rival (`Rate`)
    COSTS                  optional: measurement -> what it computes and reads (`bounds.Cost`)
    TOLERANCE              optional: how far the checks may differ (default: `contest.TOLERANCE`)
    tinytorch()            and a function for each rival, with a name of `rivals.TITLES`

The functions build the same model from the same weights and return a Contender. No library is imported before its
function is called. A rival may lack some of the measurements.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Rate:
    """A goal as a rate: in one unit of work `count` of `unit` are made, and `goal` of them a second are wanted."""

    count: int
    unit: str
    goal: float

    def per_second(self, seconds: float) -> float:
        """Return the rate of a unit of work that takes these seconds."""
        return self.count / seconds


@dataclass(frozen=True)
class Contender:
    """One side of a comparison.

    `timed[name]()` does one unit of work. `check()` returns values that must agree on all sides, such as the first
    logits and the losses after some steps, so that equal work is compared.
    """

    timed: dict[str, Callable[[], object]]
    check: Callable[[], np.ndarray]
