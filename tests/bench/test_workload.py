"""tito.bench.workload: every way in which a workload can break its contract is one clear line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tito.bench.workload import (
    array,
    check_curve,
    check_metrics,
    check_outputs,
    check_queries,
    load_workload,
)
from tito.process.inside import WorkloadError

WORKLOAD = Path(__file__).parent / "suites" / "2001_tiny" / "workload.py"


@pytest.fixture
def workload(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.delitem(sys.modules, "workload", raising=False)
    yield load_workload(WORKLOAD)
    sys.modules.pop("workload", None)


def test_weights_of_the_framework_are_saved_and_fit_again() -> None:
    from tinytorch.layers import Linear

    layer = Linear(3, 2)
    arrays = {name: array(value) for name, value in layer.state_dict().items()}
    assert {name: type(values) for name, values in arrays.items()} == dict.fromkeys(("weight", "bias"), np.ndarray)
    Linear(3, 2).load_state_dict(arrays)


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
def test_a_broken_contract_is_named(workload: Any, behaviour: str, reason: str) -> None:
    parameters = {"samples": 200, "steps": 5, "behaviour": behaviour, "place": ""}
    data = workload.load(parameters)
    model = workload.build(parameters, 1)
    curve = workload.train(model, data, parameters, 1, lambda done, total, **figures: None)
    answer = workload.evaluate(model, data, parameters)
    with pytest.raises(WorkloadError) as caught:
        check_curve(curve) if "curve" in behaviour else check_metrics(answer, ["accuracy"])
    assert str(caught.value).startswith(reason)


def test_missing_functions_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "workload.py"
    path.write_text("def load(parameters): pass\ndef build(parameters, seed): pass\ntrain = 3\n")
    with pytest.raises(WorkloadError, match="does not define train, evaluate, predictor, queries"):
        load_workload(path)


@pytest.mark.parametrize(
    ("predict", "reason"),
    [
        (lambda x: x[:1, 0], "for 2 inputs; expected as many rows"),
        (lambda x: "seven", "predictor returned str 'seven'"),
        (lambda x: np.full(len(x), np.nan), "predictor returned NaN or infinity"),
    ],
)
def test_a_predictor_that_predicts_nothing_is_refused(predict: Callable[[np.ndarray], object], reason: str) -> None:
    with pytest.raises(WorkloadError, match=reason):
        check_outputs(predict, np.zeros((2, 3)))


@pytest.mark.parametrize("queries", [np.zeros((0, 2)), np.float32(1), [1, 2]], ids=["none", "a number", "a list"])
def test_queries_that_are_no_samples_are_refused(queries: object) -> None:
    with pytest.raises(WorkloadError, match="queries returned"):
        check_queries(queries)
