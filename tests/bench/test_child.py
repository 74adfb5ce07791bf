"""tito.bench.child: every way in which a workload can break its contract is one clear line."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinytorch.base.files import load_arrays
from tito.bench import child

WORKLOAD = Path(__file__).parent / "suites" / "2001_tiny" / "workload.py"


@pytest.fixture
def workload(monkeypatch):
    monkeypatch.delitem(sys.modules, "workload", raising=False)
    yield child.load_workload(WORKLOAD)
    sys.modules.pop("workload", None)


@pytest.fixture
def reporter():
    return child.Reporter(io.StringIO())


def job(behaviour="good", weights=None, **more):
    parameters = {"samples": 200, "steps": 5, "behaviour": behaviour, "place": ""}
    return {"parameters": parameters, "seed": 1, "weights": weights, "metrics": ["accuracy"], **more}


def events(reporter):
    return [json.loads(line) for line in reporter._pipe.getvalue().splitlines()]


def test_it_imports_nothing_that_a_hundred_seeds_would_pay_for():
    heavy = {"pydantic", "pandas", "plotly", "typer", "rich", "yaml", "psutil", "pooch"}
    code = "import sys, tito.bench.child; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "numpy" in loaded.split()
    assert not heavy & set(loaded.split())


def test_quality_gives_metrics_curve_exhibits_and_weights(workload, reporter, tmp_path):
    result = child.run_quality(workload, job(weights=str(tmp_path / "w.safetensors")), reporter)
    assert set(result["metrics"]) == {"accuracy", "load_seconds", "train_seconds", "evaluate_seconds"}
    assert len(result["curve"]) == 5
    assert result["parameter_count"] == 2  # the buffer is no parameter
    weights, _ = load_arrays(tmp_path / "w.safetensors")
    assert {name: array.shape for name, array in weights.items()} == {"weight": (2,), "calls": (1,)}
    reporter.send("result", **result)  # NumPy's numbers and arrays become JSON
    assert events(reporter)[-1]["exhibits"][0]["counts"] == [[1, 2], [3, 4]]


def test_weights_of_the_framework_are_saved_and_fit_again(tmp_path):
    from tinytorch.layers import Linear

    layer = Linear(3, 2)
    arrays = {name: child._array(value) for name, value in layer.state_dict().items()}
    assert {name: type(array) for name, array in arrays.items()} == dict.fromkeys(("weight", "bias"), np.ndarray)
    Linear(3, 2).load_state_dict(arrays)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("nan", "metric accuracy is nan; expected a finite number"),
        ("rubbish", "evaluate returned str 'very good'; expected"),
        ("text metric", "metric accuracy is str 'high'; expected a number"),
        ("missing metric", "evaluate gave no metric 'accuracy', which suite.yaml declares"),
        ("undeclared metric", "evaluate gave charm, not declared in suite.yaml"),
        ("rubbish curve", "train returned str 'fine'; expected a list of dicts"),
        ("nan in the curve", "the learning curve's loss in row 1 is nan"),
    ],
)
def test_a_broken_contract_is_named(workload, reporter, behaviour, reason):
    with pytest.raises(child.WorkloadError) as caught:
        child.run_quality(workload, job(behaviour), reporter)
    assert str(caught.value).startswith(reason)


def test_missing_functions_are_listed(tmp_path):
    path = tmp_path / "workload.py"
    path.write_text("def load(parameters): pass\ndef build(parameters, seed): pass\ntrain = 3\n")
    with pytest.raises(child.WorkloadError, match="does not define train, evaluate, predictor, queries"):
        child.load_workload(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import nothing_of_that_name\n", r"^ModuleNotFoundError: .* \(workload.py line 1\)$"),
        ("\n\ndef load(:\n", r"^SyntaxError: .* \(workload.py line 3\)$"),
    ],
)
def test_a_workload_that_cannot_be_imported_names_the_line(tmp_path, text, reason):
    path = tmp_path / "workload.py"
    path.write_text(text)
    with pytest.raises((ImportError, SyntaxError)) as caught:
        child.load_workload(path)
    assert re.match(reason, child._reason(caught.value, str(path)))


def test_progress_is_thinned_but_the_last_report_arrives(reporter):
    with reporter.phase("train"):
        for i in range(1, 10_001):
            reporter.progress(i, 10_000, loss=0.5)
    progress = [event for event in events(reporter) if event["event"] == "progress"]
    assert progress[0]["done"] == 0
    assert progress[-1] == {
        "event": "progress", "phase": "train", "done": 10_000, "total": 10_000, "figures": {"loss": 0.5}
    }  # fmt: skip
    assert len(progress) < 100


def test_figures_that_are_not_finite_are_sent_as_null(reporter):
    reporter.progress(1, 1, loss=float("nan"), rate=float("inf"), accuracy=0.5)
    assert "NaN" not in reporter._pipe.getvalue()
    assert events(reporter)[-1]["figures"] == {"loss": None, "rate": None, "accuracy": 0.5}


def test_a_report_that_is_no_number_is_the_workloads_error(reporter):
    with pytest.raises(ValueError, match="high"):
        reporter.progress(1, 1, accuracy="high")


@pytest.fixture
def profile(workload, reporter, tmp_path):
    weights = str(tmp_path / "w.safetensors")
    child.run_quality(workload, job(weights=weights), reporter)

    def run(behaviour="good", **more):
        settings = {"queries": 662, "batches": [1, 8, 500]} | more
        return child.run_profile(workload, job(behaviour, weights, **settings), reporter)

    return run


def test_profile_keeps_every_sample_and_each_batch_size(profile, monkeypatch):
    monkeypatch.setattr(child, "THROUGHPUT_SECONDS", 0.01)
    result = profile()
    assert len(result["samples_us"]) == 662
    assert min(result["samples_us"]) <= result["p50_us"] <= result["p90_us"] <= result["p99_us"]
    assert [row["batch"] for row in result["throughput"]] == [1, 8, 500]
    assert all(row["samples_per_second"] > 0 for row in result["throughput"])


def test_the_trained_weights_are_what_is_profiled(workload, profile, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(workload, "predictor", lambda model: seen.append(model.weight) or (lambda x: x @ model.weight))
    monkeypatch.setattr(child, "THROUGHPUT_SECONDS", 0.01)
    profile()
    np.testing.assert_array_equal(seen[0], load_arrays(tmp_path / "w.safetensors")[0]["weight"])


@pytest.mark.parametrize(
    ("predict", "reason"),
    [
        (lambda x: x[:1, 0], "for 2 inputs; expected as many rows"),
        (lambda x: "seven", "predictor gave str 'seven'"),
        (lambda x: np.full(len(x), np.nan), "predictor gave NaN or infinity"),
    ],
)
def test_a_predictor_that_predicts_nothing_is_refused(workload, profile, monkeypatch, predict, reason):
    monkeypatch.setattr(workload, "predictor", lambda model: predict)
    with pytest.raises(child.WorkloadError, match=reason):
        profile()


def test_no_queries_are_refused(profile):
    with pytest.raises(child.WorkloadError, match="queries returned"):
        profile("no queries")


def test_throughput_batches_have_the_size_asked_for_even_past_the_samples(monkeypatch):
    monkeypatch.setattr(child, "THROUGHPUT_SECONDS", 0.001)
    sizes = set()
    child._throughput(lambda x: sizes.add(len(x)), np.zeros((10, 2)), 25)
    child._throughput(lambda x: sizes.add(len(x)), np.zeros((10, 2)), 4)
    assert sizes == {25, 4}
