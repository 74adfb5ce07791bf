"""tito.versus.driver: all sides must do the same work in every round, or there is no ratio."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from tito.errors import RequestError, RunError
from tito.versus import driver
from tito.versus.contest import Contest
from tito.versus.rivals import TITLES

MEDIANS = {
    "tinytorch": {"step": 1.0, "query": 2.0},
    "onnxruntime": {"query": 3.0},
    "pytorch": {"step": 4.0, "query": 1.0},
}


def work(**more: object) -> ModuleType:
    module = ModuleType("work")
    bars = {"pytorch": {"step": 1.0}, "onnxruntime": {"query": 2.0}}
    vars(module).update(TITLE="A work", BARS=bars, pytorch=None, onnxruntime=None, **more)
    return module


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Contenders without processes; who was asked, in order."""
    order: list[str] = []

    def contender(name: str, side: str, pinned: dict[str, str]) -> Contest:
        order.append(side)
        return Contest(np.array([1.0]), MEDIANS[side], f"{side} 1.0", 2)

    monkeypatch.setattr(driver, "load", lambda name: work())
    monkeypatch.setattr(driver, "run_contender", contender)
    return order


def run(*rivals: str) -> list[driver.Outcome]:
    return driver.run_work("work", rivals, 5, {}, lambda contender: None)


def test_each_rival_is_compared_in_what_both_measure(asked: list[str]) -> None:
    outcomes = run("onnxruntime", "pytorch")
    found = [(o.rival, o.measurement, o.comparison.ratio, o.met) for o in outcomes]
    assert found == [
        ("onnxruntime", "query", 1.5, False),
        ("pytorch", "step", 4.0, True),
        ("pytorch", "query", 0.5, None),
    ]
    assert {(o.own, o.library, o.threads) for o in outcomes[1:]} == {("tinytorch 1.0", "pytorch 1.0", 2)}


def test_order_of_the_contenders_alternates(asked: list[str]) -> None:
    run("onnxruntime", "pytorch")
    there = ["tinytorch", "onnxruntime", "pytorch"]
    assert asked == [*there, *there[::-1], *there, *there[::-1], *there]


@pytest.mark.parametrize("odd", [0, 2])
def test_every_round_is_checked(odd: int, asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    count = {"tinytorch": 0, "pytorch": 0}

    def contender(name: str, side: str, pinned: dict[str, str]) -> Contest:
        count[side] += 1
        return Contest(np.array([2.0 if side == "tinytorch" and count[side] - 1 == odd else 1.0]), MEDIANS[side])

    monkeypatch.setattr(driver, "run_contender", contender)
    with pytest.raises(RunError, match="did not do the same work"):
        run("pytorch")


def test_work_may_have_a_tolerance_of_its_own(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def contender(name: str, side: str, pinned: dict[str, str]) -> Contest:
        return Contest(np.array([1.0 + 0.05 * (side == "pytorch")]), MEDIANS[side])

    monkeypatch.setattr(driver, "run_contender", contender)
    monkeypatch.setattr(driver, "load", lambda name: work(TOLERANCE=0.05))
    assert run("pytorch")
    monkeypatch.setattr(driver, "load", lambda name: work(TOLERANCE=0.02))
    with pytest.raises(RunError, match="did not do the same work"):
        run("pytorch")


@pytest.mark.parametrize("name", driver.names())
def test_every_work_has_its_parts(name: str) -> None:
    module = driver.load(name)
    rivals = driver.rivals_of(module)
    assert rivals
    assert callable(module.tinytorch)
    assert module.TITLE
    assert set(module.BARS) <= set(rivals)
    built = {
        n for n, value in vars(module).items() if callable(value) and n.partition("_")[0] in ("pytorch", "onnxruntime")
    }
    assert built <= set(TITLES)


def test_unknown_work_is_refused_with_the_known_ones() -> None:
    with pytest.raises(RequestError, match=r"^no work is named 'nothing'; available: cnn, "):
        driver.load("nothing")
