"""tito.bench.selection: which cases, seeds, and parameters a run covers, and how the record says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tito.bench import selection
from tito.bench.suite import Metric, Overview, ProfilePlan, Quick
from tito.bench.suites import load_suite

SUITE = load_suite(Path(__file__).parent / "suites" / "2001_tiny").suite
CASE = SUITE.cases[0]


def no_rival() -> str | None:
    raise AssertionError("asked although no case has a rival")


def test_a_case_is_left_out_of_a_quick_run_alone() -> None:
    slow = CASE.model_copy(update={"name": "slow", "quick": Quick(leave_out="it takes a minute")})
    suite = SUITE.model_copy(update={"cases": [CASE, slow]})
    assert selection.left_out(suite, False, no_rival) == {}
    left_out = selection.left_out(suite, True, no_rival)
    assert left_out == {"slow": "with --quick: it takes a minute"}
    assert selection.part_of(suite, left_out) == [CASE]


def test_without_a_rival_its_cases_are_left_out() -> None:
    beside = CASE.model_copy(update={"name": "beside", "rival": "mlp"})
    suite = SUITE.model_copy(update={"cases": [CASE, beside]})
    assert selection.left_out(suite, False, lambda: "PyTorch is not installed") == {
        "beside": "PyTorch is not installed"
    }
    assert selection.left_out(suite, False, lambda: None) == {}


def test_metrics_whose_packages_are_missing_are_left_out_everywhere() -> None:
    loaded = load_suite(Path(__file__).parent / "suites" / "2001_tiny")
    other = Metric(title="Time elsewhere", unit="s", needs=["onnxruntime"])
    columns = Overview(
        group="no", columns=["accuracy", "other"], size="accuracy", time="accuracy", quality={"accuracy": "at_least"}
    )
    case = CASE.model_copy(update={"metrics": ["accuracy", "other"]})
    update = {"metrics": SUITE.metrics | {"other": other}, "cases": [CASE, case], "overview": columns}
    loaded = loaded.model_copy(update={"suite": SUITE.model_copy(update=update)})
    assert selection.measurable(loaded, lambda packages: None) == (loaded, {})
    fewer, why = selection.measurable(loaded, lambda packages: f"no {packages[0]}")
    assert why == {"Time elsewhere": "no onnxruntime"}
    assert fewer.suite.metrics == SUITE.metrics
    assert [fewer.suite.metrics_of(case) for case in fewer.suite.cases] == [list(SUITE.metrics), ["accuracy"]]
    assert fewer.suite.overview == columns.model_copy(update={"columns": ["accuracy"]})
    plain = loaded.model_copy(update={"suite": SUITE})
    assert selection.measurable(plain, lambda packages: no_rival()) == (plain, {})


def test_a_quick_run_has_its_own_seeds_and_parameters() -> None:
    case = CASE.model_copy(update={"quick": Quick(seeds=[7], parameters={"steps": 1})})
    quick = selection.as_run(case, None, quick=True)
    assert quick.seeds == [7]
    assert quick.parameters == case.parameters | {"steps": 1}
    assert selection.as_run(case, None, quick=False) == case


def test_a_learners_modules_may_be_profiled_with_another_case() -> None:
    plan = ProfilePlan(case="clouds")
    both = plan.model_copy(update={"mine": "rain"})
    assert selection.profile_plan(plan, quick=False, mine=True) == plan
    assert selection.profile_plan(both, quick=False) == both
    assert selection.profile_plan(both, quick=False, mine=True).case == "rain"
    quick = selection.profile_plan(both, quick=True, mine=True)
    assert (quick.case, quick.repetitions, quick.queries) == ("rain", 1, selection.QUICK_QUERIES)


@pytest.mark.parametrize(("seeds", "told"), [(None, []), (1, ["1 of 2 seeds"]), (2, []), (3, [])])
def test_fewer_seeds_are_told_and_more_than_there_are_change_nothing(seeds: int | None, told: list[str]) -> None:
    assert selection.fewer_seeds([CASE], seeds, quick=False) == told
