"""tito.process.noise: a run beside a busy process is noisy, a quiet one is not; without figures, it is unknown."""

from __future__ import annotations

import pytest

from tito.process.noise import FACTOR, MOST_OTHERS, MOST_STEAL, SHORTEST, judge


def process(seconds: float = 10.0, others: float = 0.0, steal: float = 0.0) -> dict[str, float]:
    return {"seconds": seconds, "load_average": 0.0, "others": others, "steal": steal}


def test_a_quiet_run_is_not_noisy() -> None:
    found = judge([("a", process(others=MOST_OTHERS)), ("b", process(steal=MOST_STEAL))])
    assert (found.noisy, found.known, found.reasons, found.line) == (False, True, (), "")


def test_a_busy_neighbor_over_the_whole_run_is_named_with_its_share() -> None:
    found = judge([("a", process(others=0.5)), ("b", process(others=0.3))])
    assert found.noisy
    assert found.reasons == ("other processes used 40% of the cores' time",)


def test_long_processes_count_for_more_than_short_ones() -> None:
    assert not judge([("a", process(0.1, others=0.9)), ("b", process(100.0))]).noisy
    assert judge([("a", process(0.1)), ("b", process(100.0, others=0.9))]).noisy


def test_one_disturbed_process_among_many_is_named() -> None:
    quiet = [("quiet", process()) for _ in range(100)]
    found = judge([*quiet, ("MLP, seed 3", process(others=0.5))])
    assert found.reasons == ("other processes used 50% of the cores' time during MLP, seed 3",)
    assert not judge([*quiet, ("MLP, seed 3", process(others=FACTOR * MOST_OTHERS))]).noisy
    assert not judge([*quiet, ("MLP, seed 3", process(SHORTEST / 2, others=0.5))]).noisy


def test_stolen_time_is_another_reason() -> None:
    found = judge([("a", process(others=0.5, steal=0.1))])
    assert len(found.reasons) == 2
    assert found.line.endswith("; the hypervisor took 10% of the cores' time away")


@pytest.mark.parametrize("processes", [[], [("a", {})], [("a", {"load_average": 9.0, "steal": 0.5})]])
def test_a_record_of_before_there_were_these_figures_is_not_judged(
    processes: list[tuple[str, dict[str, float]]],
) -> None:
    found = judge(processes)
    assert (found.noisy, found.known) == (False, False)


def test_a_system_that_does_not_count_others_is_not_judged_by_them() -> None:
    assert not judge([("a", {"seconds": 5.0, "load_average": 9.0})]).noisy
