"""tito.bench.quantities: every figure of a record has a name, a value, and a direction."""

from __future__ import annotations

import statistics

import numpy as np
import pytest

from tests.report.sample import make_case, make_profile, make_record, profile_of
from tito.bench.quantities import quantities
from tito.bench.suite import Criterion, Metric, Overview


def test_the_figures_of_a_record():
    record = make_record()
    profile, found = profile_of(record), quantities(record)
    assert list(found) == [
        "mlp.accuracy",
        "mlp.train_seconds",
        "mlp.p50_us",
        "mlp.p90_us",
        "mlp.p99_us",
        "mlp.samples_per_second",
        "mlp.peak_bytes",
        "mlp.model_bytes",
    ]
    assert found["mlp.accuracy"].value == record.cases[0].summary["accuracy"].mean
    assert found["mlp.train_seconds"].value == record.cases[0].summary["train_seconds"].median
    assert found["mlp.p50_us"].value == statistics.median(run.p50_us for run in profile.latency)
    assert profile.memory is not None
    assert found["mlp.peak_bytes"].value == profile.memory.peak
    assert {key: found[f"mlp.{key}"].better for key in ("accuracy", "train_seconds", "samples_per_second")} == {
        "accuracy": "higher",
        "train_seconds": "lower",
        "samples_per_second": "higher",
    }


def test_without_a_profile_the_cases_remain():
    assert list(quantities(make_record(profile=None))) == ["mlp.accuracy", "mlp.train_seconds"]


def test_a_metric_and_a_figure_of_the_profile_with_one_name_stay_apart():
    case = make_case(np.random.default_rng(0))
    summary = case.summary | {"p50_us": case.summary["accuracy"]}
    record = make_record(cases=[case.model_copy(update={"summary": summary})])
    found = quantities(record)
    assert found["mlp.p50_us"].value == summary["p50_us"].mean
    assert found["mlp.profile_p50_us"].value > 1


@pytest.mark.parametrize(("unit", "better"), [("us", "lower"), ("times", "higher"), ("%", ""), ("widgets", "")])
def test_without_a_gate_the_unit_says_what_is_better(unit, better):
    case = make_case(np.random.default_rng(0))
    summary = case.summary | {"other": case.summary["accuracy"]}
    cases = [case.model_copy(update={"summary": summary})]
    record = make_record(cases=cases, metrics={"other": Metric(title="Other", unit=unit)})
    assert quantities(record)["mlp.other"].better == better


def test_a_gate_says_how_its_metric_is_summarized_and_what_is_better():
    case = make_case(np.random.default_rng(0))
    lowest = Criterion(metric="accuracy", over="min", direction="at_most", value=0.75)
    verdict = case.verdicts[0].model_copy(update={"criterion": lowest})
    record = make_record(cases=[case.model_copy(update={"verdicts": [verdict]})])
    found = quantities(record)["mlp.accuracy"]
    assert (found.value, found.better) == (case.summary["accuracy"].min, "lower")


def test_an_overview_says_what_quality_is():
    case = make_case(np.random.default_rng(0))
    case = case.model_copy(update={"verdicts": [], "parameters": {"track": "a"}})
    overview = Overview(group="track", columns=["accuracy"], size="bytes", time="us", quality={"accuracy": "at_least"})
    assert quantities(make_record(cases=[case], overview=overview))["mlp.accuracy"].better == "higher"
    assert (
        quantities(make_record(cases=[case], profile=make_profile(np.random.default_rng(0))))["mlp.accuracy"].better
        == ""
    )


def test_training_time_is_named_by_what_took_it() -> None:
    case = make_case(np.random.default_rng(0))
    calibrating = make_record(cases=[case.model_copy(update={"work": "calibration"})])
    assert quantities(calibrating)["mlp.train_seconds"].metric.title == "Calibration time"
    assert "mlp.train_seconds" not in quantities(make_record(cases=[case.model_copy(update={"work": ""})]))
