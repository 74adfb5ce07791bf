"""tito.versus.driver: both sides must do the same work in every round, or there is no ratio."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from tito.errors import RunError
from tito.versus import driver
from tito.versus.contest import Contest


def work() -> ModuleType:
    module = ModuleType("work")
    vars(module).update(TITLE="A work", BARS={"step": 1.0}, pytorch=None)
    return module


@pytest.mark.parametrize("odd", [None, 0, 2])
def test_every_round_is_checked(odd: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def contender(name: str, side: str, pinned: dict[str, str]) -> Contest:
        asked.append(side)
        wrong = side == "tinytorch" and asked.count("tinytorch") - 1 == odd
        return Contest(np.array([2.0 if wrong else 1.0]), {"step": 1.0})

    monkeypatch.setattr(driver, "load", lambda name: work())
    monkeypatch.setattr(driver, "run_contender", contender)
    if odd is None:
        (outcome,) = driver.run_work("work", 5, {}, lambda yardstick, done: None)
        assert outcome.comparison.ratio == pytest.approx(1.0)
        assert outcome.met
    else:
        with pytest.raises(RunError, match="did not do the same work"):
            driver.run_work("work", 5, {}, lambda yardstick, done: None)
