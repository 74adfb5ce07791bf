"""The journey: where a learner stands, what is unlocked, and what to do next."""

from __future__ import annotations

import pytest

from tests.course.progressing import made_progress
from tito.course.journey import FIRST_YEAR, make_journey, unlocked_by
from tito.course.modules import MODULES


@pytest.mark.parametrize(
    ("complete", "unlocked"),
    [(0, 0), (3, 0), (4, 1), (5, 1), (6, 2), (8, 3), (10, 4), (13, 4), (14, 5), (19, 5), (20, 6)],
)
def test_milestones_are_unlocked_after_their_modules(complete, unlocked):
    journey = make_journey(made_progress(complete))
    assert [stop.unlocked for stop in journey.stops] == [True] * unlocked + [False] * (6 - unlocked)
    assert journey.complete == complete


def test_a_milestone_needs_every_module_before_it():
    progress = made_progress(20)
    changed = list(progress.modules)
    changed[0] = made_progress(0).modules[0]
    journey = make_journey(type(progress)(tuple(changed)))
    assert not any(stop.unlocked for stop in journey.stops)
    assert journey.here is changed[0]


def test_the_place_on_the_axis_grows_with_each_module_and_meets_the_milestones():
    years = [make_journey(made_progress(count)).year for count in range(21)]
    assert years == sorted(set(years))
    assert [years[count] for count in (0, 4, 6, 8, 10, 14, 20)] == [FIRST_YEAR, 1957, 1969, 1986, 2012, 2018, 2025]


def test_the_next_command_fits_the_state():
    assert make_journey(made_progress(1, started=None)).command == "tito module start 02"
    assert make_journey(made_progress(1, started=(3, 7))).command == "tito module test 02"
    assert make_journey(made_progress(1, started=(7, 7))).command == "tito module complete 02"
    assert make_journey(made_progress(20)).command is None


def test_checkpoints_without_a_test_are_ready_or_locked():
    journey = make_journey(made_progress(3), {0: "passed", 1: "failed"})
    states = [state for _, state in journey.checkpoints]
    assert states == ["passed", "failed", "ready"] + ["locked"] * 13


def test_a_completed_module_unlocks_its_checkpoint_and_milestone():
    lines = unlocked_by(MODULES[3], made_progress(4, started=None))
    assert lines == [
        "checkpoint 03: Can I build network layers? tito checkpoint test 03",
        "milestone 1957 is unlocked: tito milestone run perceptron",
        "next: tito module start 05",
    ]
    assert unlocked_by(MODULES[1], made_progress(2))[-1] == "next: tito module test 03"
    assert unlocked_by(MODULES[14], made_progress(15)) == ["next: tito module test 16"]
    assert unlocked_by(MODULES[18], made_progress(19, started=None))[0].startswith("checkpoint 14")
    assert unlocked_by(MODULES[19], made_progress(20))[-1] == "all 20 modules are complete"
