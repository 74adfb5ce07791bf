"""tito.process.threads: what is measured to be faster is chosen, and nothing else changes a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from tito.process import threads
from tito.process.blas import Probe, run_probe
from tito.process.environment import pinned_environment
from tito.process.threads import choose_threads

Answer = Callable[[int, bool], float]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Answer], list[tuple[int, bool]]]:
    """Sets the number of cores and how long a product takes by threads and sleeping; returns what was probed."""

    monkeypatch.delenv("TINYTORCH_BLAS_KERNEL", raising=False)

    def set(cores: int, seconds: Answer) -> list[tuple[int, bool]]:
        asked: list[tuple[int, bool]] = []

        def probe(variables: Mapping[str, str], question: str) -> Probe:
            setting = int(variables["OPENBLAS_NUM_THREADS"]), "OPENBLAS_THREAD_TIMEOUT" in variables
            asked.append(setting)
            return Probe(seconds=seconds(*setting))

        monkeypatch.setattr(threads, "usable_cores", lambda: cores)
        monkeypatch.setattr(threads, "run_probe", probe)
        return asked

    return set


def test_one_thread_is_chosen_where_two_wait_for_each_other(
    machine: Callable[[int, Answer], list[tuple[int, bool]]],
) -> None:
    asked = machine(2, lambda count, sleeping: 0.27 if count == 1 else 0.33 if sleeping else 1.2)
    choice, environment = choose_threads(0.5, {})
    assert choice.line == "1 of 2 threads, 4.4 times as fast as usual on this busy machine"
    assert set(environment.values()) == {"1"}
    assert pinned_environment(environment)["OPENBLAS_NUM_THREADS"] == "1"
    assert asked[:6] == [(2, False), (2, True), (1, False), (1, False), (2, True), (2, False)]  # alternating


def test_sleeping_threads_are_chosen_where_they_are_faster(
    machine: Callable[[int, Answer], list[tuple[int, bool]]],
) -> None:
    machine(8, lambda count, sleeping: 0.2 if sleeping else 0.5)
    choice, environment = choose_threads(0.1, {})
    assert (choice.threads, choice.sleeping) == (8, True)
    assert environment["OPENBLAS_THREAD_TIMEOUT"] == "14"
    assert choice.line.startswith("8 of 8 threads that sleep while they wait, 2.5 times")


@pytest.mark.parametrize("gain", [0.5, 1.0, threads.WORTHWHILE - 0.01])
def test_a_run_stays_as_usual_without_a_worthwhile_gain(
    machine: Callable[[int, Answer], list[tuple[int, bool]]], gain: float
) -> None:
    machine(2, lambda count, sleeping: 1.0 if (count, sleeping) == (2, False) else 1 / gain)
    choice, environment = choose_threads(0.5, {})
    assert choice.usual
    assert environment == {}


def test_as_many_threads_are_tried_as_cores_are_left(
    machine: Callable[[int, Answer], list[tuple[int, bool]]],
) -> None:
    asked = machine(8, lambda count, sleeping: 1.0)
    choose_threads(0.2, {})
    assert {count for count, _ in asked} == {8, 6}


def test_one_core_has_nothing_to_choose(machine: Callable[[int, Answer], list[tuple[int, bool]]]) -> None:
    asked = machine(1, lambda count, sleeping: 1.0)
    assert choose_threads(1.0, {})[0].usual
    assert asked == []


def test_probes_that_fail_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "usable_cores", lambda: 2)
    monkeypatch.setattr(threads, "run_probe", lambda variables, question: Probe(problem="crashed"))
    choice, environment = choose_threads(0.5, {})
    assert choice.usual
    assert environment == {}


def test_a_probe_states_the_mean_time_of_a_product_with_the_given_threads() -> None:
    found = run_probe({"OPENBLAS_NUM_THREADS": "1"}, "seconds")
    assert found.problem is None
    assert 0 < found.seconds < 1


def test_nothing_is_measured_if_everything_is_to_stay_as_it_is(
    machine: Callable[[int, Answer], list[tuple[int, bool]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = machine(2, lambda count, sleeping: float(count))
    monkeypatch.setenv("TINYTORCH_BLAS_KERNEL", "inherit")
    assert choose_threads(0.5, {})[1] == {}
    assert asked == []
