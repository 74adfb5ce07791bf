"""tito.bench.record: what a record says about itself."""

from __future__ import annotations

import pytest

from tito.bench.record import Record
from tito.process.threads import ThreadChoice

BUSY = {"seconds": 4.0, "others": 0.5, "steal": 0.0}


def with_conditions(record: Record, found: dict[str, float]) -> Record:
    """Return the record as if each of its trainings had run under these conditions."""
    cases = [
        case.model_copy(update={"runs": [run.model_copy(update={"conditions": found}) for run in case.runs]})
        for case in record.cases
    ]
    return record.model_copy(update={"cases": cases, "profile": None})


def test_a_run_beside_a_busy_process_says_so(tiny_record: Record) -> None:
    noise = with_conditions(tiny_record, BUSY).noise
    assert noise.noisy
    assert noise.line == "other processes used 50% of the cores' time"


def test_a_run_on_fewer_threads_stands_apart_even_if_the_neighbor_has_left(tiny_record: Record) -> None:
    fewer = ThreadChoice(threads=1, cores=2, sleeping=False, gain=4.2)
    quiet = with_conditions(tiny_record, {"seconds": 4.0, "others": 0.0, "steal": 0.0})
    assert not quiet.noise.noisy
    run = quiet.model_copy(update={"provenance": quiet.provenance.model_copy(update={"threads": fewer})})
    assert run.noise.line == "it ran on 1 of 2 threads, 4.2 times as fast as usual on this busy machine"


@pytest.mark.parametrize("found", [{}, {"load_average": 8.0, "steal": 0.3, "context_switches": 9.0}])
def test_a_record_of_before_there_were_these_figures_is_unknown_not_noisy(
    tiny_record: Record, found: dict[str, float]
) -> None:
    noise = with_conditions(tiny_record, found).noise
    assert (noise.noisy, noise.known, noise.line) == (False, False, "")


def test_each_training_and_each_profile_states_its_conditions(tiny_record: Record) -> None:
    assert tiny_record.profile is not None
    trained = [run.conditions for case in tiny_record.cases for run in case.runs]
    for conditions in [*trained, *(run.conditions for run in tiny_record.profile.latency)]:
        assert conditions["seconds"] > 0
        assert conditions.keys() >= {"load_average", "load_after", "cpu_per_wall", "context_switches"}
    assert tiny_record.noise.known
