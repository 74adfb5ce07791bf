"""The progress line of a verification: what, which round, and the time left."""

from __future__ import annotations

import doctest

import pytest

from tito.compete import progress
from tito.compete.progress import Progress, Rounds


def test_examples_in_docstrings_are_true() -> None:
    assert doctest.testmod(progress).failed == 0


def test_a_line_says_what_is_known() -> None:
    assert str(Progress("waiting", "for a suite")) == "waiting: for a suite"
    assert str(Progress("alice/a", "mnist", 3, 13, 42.0)) == "alice/a: mnist, round 3 of 13, 42 s left"


def test_time_left_goes_by_each_track_s_own_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    seen: list[Progress] = []
    rounds = Rounds(seen.append)
    rounds.plan("mnist", 4)
    rounds.plan("tinygpt", 3)
    rounds.plan("cifar10", 2)
    done = rounds.begin("mnist", "alice/a", "mnist", 4)
    assert seen[-1] == Progress("alice/a", "mnist", 0, 9, None)
    for seconds in (1.0, 3.0):
        now[0] += seconds
        done()
    assert seen[-1].seconds_left == pytest.approx(2 * 2 + 5 * 2)  # unknown tracks: as the known ones
    done = rounds.begin("tinygpt", "alice/b", "tinygpt", 3)
    now[0] += 10
    done()
    overall = (1 + 3 + 10) / 3
    assert seen[-1].seconds_left == pytest.approx(2 * 2 + 2 * 10 + 2 * overall)
    assert (seen[-1].done, seen[-1].total) == (3, 9)


def test_rounds_that_a_refusal_saves_are_no_longer_expected() -> None:
    seen: list[Progress] = []
    rounds = Rounds(seen.append)
    rounds.plan("mnist", 26)
    done = rounds.begin("mnist", "eve/cheat", "mnist", 13)
    done()
    rounds.finish()
    rounds.finish()  # a second time changes nothing
    done = rounds.begin("mnist", "alice/good", "mnist", 13)
    for _ in range(13):
        done()
    rounds.finish()
    assert (seen[-1].done, seen[-1].total, seen[-1].seconds_left) == (14, 14, 0)
