"""tito.bench.jobs: what is trained, saved, and timed inside a child; no broken contract passes."""

from __future__ import annotations

import io
import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinytorch.base.files import load_arrays
from tito.bench import jobs
from tito.bench.workload import load_workload
from tito.process.inside import Reporter, WorkloadError

WORKLOAD = Path(__file__).parent / "suites" / "2001_tiny" / "workload.py"


@pytest.fixture
def workload(monkeypatch):
    monkeypatch.delitem(sys.modules, "workload", raising=False)
    yield load_workload(WORKLOAD)
    sys.modules.pop("workload", None)


@pytest.fixture
def reporter():
    return Reporter(io.StringIO())


def job(behaviour="good", weights=None, **more):
    parameters = {"samples": 200, "steps": 5, "behaviour": behaviour, "place": ""}
    return {"parameters": parameters, "seed": 1, "weights": weights, "metrics": ["accuracy"], **more}


def events(reporter):
    return [json.loads(line) for line in reporter._pipe.getvalue().splitlines()]


def test_it_imports_nothing_that_a_hundred_seeds_would_pay_for():
    heavy = {"pydantic", "pandas", "plotly", "typer", "rich", "yaml", "psutil", "pooch"}
    code = "import sys, tito.bench.jobs; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "numpy" in loaded.split()
    assert not heavy & set(loaded.split())


def test_quality_gives_metrics_curve_exhibits_and_weights(workload, reporter, tmp_path):
    result = jobs.run_quality(workload, job(weights=str(tmp_path / "w.safetensors")), reporter)
    assert set(result["metrics"]) == {"accuracy", "load_seconds", "train_seconds", "evaluate_seconds"}
    assert len(result["curve"]) == 5
    assert result["parameter_count"] == 2  # the buffer is no parameter
    weights, _ = load_arrays(tmp_path / "w.safetensors")
    assert {name: array.shape for name, array in weights.items()} == {"weight": (2,), "calls": (1,)}
    reporter.send("result", **result)  # NumPy's numbers and arrays become JSON
    assert events(reporter)[-1]["exhibits"][0]["counts"] == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("nan", "metric accuracy is nan; expected a finite number"),
        ("rubbish", "evaluate returned str 'very good'; expected"),
        ("text metric", "metric accuracy is str 'high'; expected a number"),
        ("missing metric", "evaluate returned no metric 'accuracy', which suite.yaml declares"),
        ("undeclared metric", "evaluate returned charm, which suite.yaml does not declare"),
        ("rubbish curve", "train returned str 'fine'; expected a list of dicts"),
        ("nan in the curve", "the learning curve's loss in row 1 is nan"),
    ],
)
def test_a_broken_contract_is_named(workload, reporter, behaviour, reason):
    with pytest.raises(WorkloadError) as caught:
        jobs.run_quality(workload, job(behaviour), reporter)
    assert str(caught.value).startswith(reason)


@pytest.fixture
def profile(workload, reporter, tmp_path):
    weights = str(tmp_path / "w.safetensors")
    jobs.run_quality(workload, job(weights=weights), reporter)

    def run(behaviour="good", **more):
        settings = {"queries": 662, "batches": [1, 8, 500]} | more
        return jobs.run_profile(workload, job(behaviour, weights, **settings), reporter)

    return run


def test_profile_keeps_every_sample_and_each_batch_size(profile, monkeypatch):
    monkeypatch.setattr(jobs, "THROUGHPUT_SECONDS", 0.01)
    result = profile()
    assert len(result["samples_us"]) == 662
    assert min(result["samples_us"]) <= result["p50_us"] <= result["p90_us"] <= result["p99_us"]
    assert [row["batch"] for row in result["throughput"]] == [1, 8, 500]
    assert all(row["samples_per_second"] > 0 for row in result["throughput"])


def test_the_trained_weights_are_what_is_profiled(workload, profile, monkeypatch, tmp_path):
    seen = []

    def predictor(model):
        seen.append(model.weight)
        return lambda x: x @ model.weight

    monkeypatch.setattr(workload, "predictor", predictor)
    monkeypatch.setattr(jobs, "THROUGHPUT_SECONDS", 0.01)
    profile()
    np.testing.assert_array_equal(seen[0], load_arrays(tmp_path / "w.safetensors")[0]["weight"])


@pytest.mark.parametrize(
    ("predict", "reason"),
    [
        (lambda x: x[:1, 0], "for 2 inputs; expected as many rows"),
        (lambda x: "seven", "predictor returned str 'seven'"),
        (lambda x: np.full(len(x), np.nan), "predictor returned NaN or infinity"),
    ],
)
def test_a_predictor_that_predicts_nothing_is_refused(workload, profile, monkeypatch, predict, reason):
    monkeypatch.setattr(workload, "predictor", lambda model: predict)
    with pytest.raises(WorkloadError, match=reason):
        profile()


def test_no_queries_are_refused(profile):
    with pytest.raises(WorkloadError, match="queries returned"):
        profile("no queries")


def test_throughput_ends_in_time_even_if_batches_become_slow(monkeypatch):
    clock = itertools.accumulate(itertools.chain([0.0, 0.01, 0.0, 0.01], itertools.repeat(2.0)))
    monkeypatch.setattr(jobs, "perf_counter", lambda: next(clock))
    calls = []
    speed = jobs._throughput(lambda x: calls.append(len(x)), np.zeros((8, 2)), 8)
    assert len(calls) == 2 + 4  # two for the warm-up, two quick ones, and slow ones of 2 s until 3 s are over
    assert speed == pytest.approx(8 * 4 / 4.02)


def test_throughput_measures_at_least_five_batches_of_ordinary_length(monkeypatch):
    clock = itertools.accumulate(itertools.repeat(0.2))
    monkeypatch.setattr(jobs, "perf_counter", lambda: next(clock))
    calls = []
    assert jobs._throughput(lambda x: calls.append(len(x)), np.zeros((8, 2)), 8) == pytest.approx(8 / 0.2)
    assert len(calls) == 2 + jobs.FEWEST_BATCHES


def test_throughput_batches_have_the_size_asked_for_even_past_the_samples(monkeypatch):
    monkeypatch.setattr(jobs, "THROUGHPUT_SECONDS", 0.001)
    sizes = set()
    jobs._throughput(lambda x: sizes.add(len(x)), np.zeros((10, 2)), 25)
    jobs._throughput(lambda x: sizes.add(len(x)), np.zeros((10, 2)), 4)
    assert sizes == {25, 4}
