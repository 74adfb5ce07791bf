"""tito.bench.expected: an estimate comes from a comparable record of this machine, else from the suite."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.terminal.sample import record as sample
from tito.bench.expected import Expected, TimeLeft, expected
from tito.bench.record import Record, Resumed, SeedRun
from tito.bench.suite import Duration, LoadedSuite
from tito.bench.suites import load_suite

TINY = Path(__file__).parent / "suites" / "2001_tiny"
PLAN = (("clouds", 2),)
HERE = "0" * 12


def suite(duration: Duration | None = None, **changes: Any) -> LoadedSuite:
    loaded = load_suite(TINY)
    changed = loaded.suite.model_copy(update={"duration": duration})
    return loaded.model_copy(update={"suite": changed, **changes})


def earlier(*seconds: float, total: float = 100.0, whole: bool = True, **changes: Any) -> Record:
    """A record of the tiny suite whose seeds took so many seconds."""
    made = sample(**({"suite": "tiny", "seconds": total} | changes))
    metrics = {"load_seconds": 0.0, "train_seconds": 9.5, "evaluate_seconds": 0.0, "accuracy": 1.0}
    runs = [
        SeedRun(seed=i, metrics=metrics, curve=[], exhibits=[], seconds=s if whole else None)
        for i, s in enumerate(seconds)
    ]
    case = made.cases[0].model_copy(update={"name": "clouds", "runs": runs})
    return made.model_copy(update={"cases": [case]})


def test_a_record_of_this_machine_says_how_long_each_seed_and_the_rest_take() -> None:
    found = expected(suite(), PLAN, False, HERE, [earlier(30, 40, 50, total=150)])
    assert found == Expected(2 * 40 + 30, "the run of 2025-01-01", {"clouds": 40})


def test_an_older_record_has_the_times_of_the_workload() -> None:
    found = expected(suite(), PLAN, False, HERE, [earlier(1, 1, whole=False, total=25)])
    assert found is not None
    assert found.seeds == {"clouds": 10.0}
    assert found.total == 20 + 5


@pytest.mark.parametrize(
    "changes",
    [{"suite": "other"}, {"quick": True}, {"resumed": Resumed(began=datetime(2025, 1, 1, tzinfo=UTC), seeds={})}],
)
def test_what_does_not_compare_is_no_source(changes: dict[str, Any]) -> None:
    records = [earlier(1, 1, **changes)]
    assert expected(suite(), PLAN, False, HERE, records) is None
    assert expected(suite(Duration(full=60)), PLAN, False, HERE, records) == Expected(60, "its suite, for two cores")
    assert expected(suite(), PLAN, False, "another", [earlier(1, 1)]) is None
    assert expected(suite(), (*PLAN, ("storm", 1)), False, HERE, [earlier(1, 1)]) is None


def test_what_a_suite_states_is_for_the_whole_suite() -> None:
    duration = Duration(full=60)
    assert expected(suite(duration), PLAN, True, HERE, []) is None, "it states nothing for a quick run"
    assert expected(suite(duration, altered=["only clouds"]), PLAN, False, HERE, []) is None


def test_the_time_left_follows_the_pace() -> None:
    left = TimeLeft(Expected(100, "", {"clouds": 40}), PLAN)
    assert left.seconds(0, 0) == 100
    assert left.seconds(30, 30) == 70
    left.finish("clouds", 60)  # half as fast again
    assert left.seconds(60, 0) == pytest.approx(90)
    left.finish("clouds", None)  # taken over
    assert left.seconds(60, 0) == pytest.approx(30)
    assert left.seconds(99, 31) is None
