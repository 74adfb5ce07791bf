"""tito.bench.rounds: one seed in one child, as the runner measures it, with its raw values and the machine's state."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tito.bench.record import Record, SeedRun
from tito.bench.rounds import case_result, prepare_data, run_round
from tito.bench.suite import Case, LoadedSuite
from tito.bench.suites import load_suite
from tito.errors import RunError
from tito.process.documents import Limits
from tito.process.environment import pinned_environment

TINY = load_suite(Path(__file__).parent / "suites" / "2001_tiny")
PINNED = pinned_environment({})


def case_with(loaded: LoadedSuite, **parameters: Any) -> Case:
    case = loaded.suite.cases[0]
    return case.model_copy(update={"parameters": {**case.parameters, **parameters}})


def test_a_round_measures_what_a_run_of_the_suite_measures(tiny_record: Record) -> None:
    run = run_round(TINY, TINY.suite.cases[0], 2, PINNED)
    whole = tiny_record.cases[0].runs[1]
    assert (run.seed, run.curve) == (whole.seed, whole.curve)
    assert run.metrics["accuracy"] == whole.metrics["accuracy"]


def test_raw_values_and_conditions_are_kept() -> None:
    run = run_round(TINY, case_with(TINY, behaviour="raw"), 1, PINNED)
    correct = run.raw["correct"]
    assert set(correct) <= {0.0, 1.0}
    assert sum(correct) / len(correct) == pytest.approx(run.metrics["accuracy"])
    assert run.conditions["load_average"] >= 0
    assert SeedRun.model_validate_json(run.model_dump_json()) == run


def test_progress_is_reported() -> None:
    phases: list[str] = []
    run_round(TINY, TINY.suite.cases[0], 1, PINNED, report=lambda event: phases.append(event["phase"]))
    assert list(dict.fromkeys(phases)) == ["load", "build", "train", "evaluate"]


@pytest.mark.parametrize(
    ("behaviour", "code", "reason"),
    [
        ("refuse", "answers", "CheckError: the clouds differ from the model's"),
        ("raise", "", "ValueError: the clouds have gone"),
        ("raw text", "", "a raw value correct is str 'yes'; expected a number"),
    ],
)
def test_a_round_that_fails_is_one_line_with_its_code(behaviour: str, code: str, reason: str) -> None:
    with pytest.raises(RunError) as caught:
        run_round(TINY, case_with(TINY, behaviour=behaviour), 1, PINNED)
    assert caught.value.code == code
    assert str(caught.value).startswith(reason)


def test_other_limits_than_the_suite_s_hold() -> None:
    limits = Limits(seconds=1.5, memory_mb=1000)
    with pytest.raises(RunError, match=r"time limit of 1.5 s"):
        run_round(TINY, case_with(TINY, behaviour="hang"), 1, PINNED, limits)


def test_data_are_prepared_once_and_named_by_their_hash(tmp_path: Path) -> None:
    file = tmp_path / "data"
    found = prepare_data(TINY, case_with(TINY, samples=321), file, PINNED)
    assert file.read_bytes() == b"321"
    assert found == hashlib.sha256(b"321").hexdigest()


def test_a_workload_that_prepares_nothing_says_so(
    suite_folder: Callable[[Callable[[dict[str, Any]], object]], Path], tmp_path: Path
) -> None:
    folder = suite_folder(lambda document: None)
    text = (folder / "workload.py").read_text().replace("def prepare(", "def unprepared(")
    (folder / "workload.py").write_text(text)
    loaded = load_suite(folder)
    with pytest.raises(RunError, match=r"^workload.py does not define prepare$"):
        prepare_data(loaded, loaded.suite.cases[0], tmp_path / "data", PINNED)


def test_a_case_with_rounds_missing_meets_nothing() -> None:
    case = TINY.suite.cases[0]
    run = run_round(TINY, case, 1, PINNED)
    assert case_result(case, [run], complete=True).verdicts[0].met
    part = case_result(case, [run], complete=False)
    assert [(verdict.measured, verdict.met) for verdict in part.verdicts] == [(None, False), (None, False)]
