"""Cases with a rival: each round is judged like any other case, and what cannot be compared gives no figure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tito.bench import probes
from tito.bench.suites import find_suites, load_suite
from tito.errors import SuiteError
from tito.report.overview import sides
from tito.versus import contest
from tito.versus.contest import RIVAL_METRICS, Contest
from tito.versus.driver import names

ROOT = Path(__file__).parents[2]


def outcome(seconds: float, *check: float) -> Contest:
    return Contest(np.array(check), {"a text": seconds})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Contenders without processes: this side takes 1 s, PyTorch 4 s; who was asked, in order."""
    order: list[str] = []

    def contender(work: str, side: str, pinned: dict[str, str]) -> Contest:
        order.append(side)
        return outcome(1.0, 2.0) if side == "tinytorch" else outcome(4.0, 2.003)

    monkeypatch.setattr(contest, "run_contender", contender)
    monkeypatch.setattr(contest, "missing", lambda pinned: None)
    monkeypatch.setattr(probes, "find_py_spy", lambda: None)
    return order


def with_rival(document: dict[str, Any], **more: Any) -> None:
    """Add to the tiny suite a case against PyTorch, and an overview."""
    document["metrics"] |= {name: {"title": name, "unit": "times"} for name in RIVAL_METRICS}
    document["cases"][0] |= {"metrics": ["accuracy"]}
    document["cases"][0]["parameters"]["track"] = "a"
    aim = {"metric": "rival_speedup", "over": "median", "direction": "at_least", "value": 3.0}
    gate = {"metric": "rival_difference", "over": "max", "direction": "at_most", "value": 0.002}
    case = {"name": "beside", "title": "Beside", "rival": "mlp", "parameters": {"track": "a"}, "seeds": [1, 2, 3]}
    document["cases"].append(case | {"metrics": list(RIVAL_METRICS), "gates": [gate], "aims": [aim]} | more)
    columns = ["accuracy", "rival_speedup", "rival_difference"]
    shown = {"group": "track", "columns": columns, "size": "accuracy", "time": "accuracy"}
    document["overview"] = shown | {"quality": {"accuracy": "at_least"}}


def test_every_rival_of_a_suite_is_a_work_that_there_is() -> None:
    rivals = [case.rival for loaded in find_suites(ROOT / "suites") for case in loaded.suite.cases if case.rival]
    assert rivals
    assert set(rivals) <= set(names())


def test_a_case_with_a_rival_is_judged_and_stands_in_the_overview(
    asked: list[str], suite_folder: Callable[..., Path], run_quick: Callable[..., Any]
) -> None:
    record = run_quick(load_suite(suite_folder(with_rival)))
    beside = record.cases[1]
    assert asked == ["tinytorch", "pytorch", "pytorch", "tinytorch", "tinytorch", "pytorch"]
    assert [run.metrics["rival_speedup"] for run in beside.runs] == [4, 4, 4]
    assert [(verdict.role, verdict.met) for verdict in beside.verdicts] == [("gate", True), ("aim", True)]
    (side,) = sides(record)
    assert side.lines[1].cells == ["–", "4.00×", "0.000999×"]


def test_without_pytorch_the_case_is_left_out_and_says_why(
    asked: list[str], suite_folder: Callable[..., Path], run_quick: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contest, "missing", lambda pinned: "PyTorch is not installed here")
    record = run_quick(load_suite(suite_folder(with_rival)))
    assert record.status == "passed"
    assert [case.name for case in record.cases] == ["clouds"]
    assert ("Beside", "PyTorch is not installed here") in [(o.what, o.why) for o in record.omitted]
    assert asked == []


def test_metric_of_a_package_that_is_missing_is_left_out_and_says_why(
    suite_folder: Callable[..., Path], run_quick: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_more(document: dict[str, Any]) -> None:
        document["metrics"]["elsewhere"] = {"title": "Time elsewhere", "unit": "s", "needs": ["onnx", "onnxruntime"]}

    monkeypatch.setattr(contest, "missing", lambda pinned, packages: f"{packages[1]} is not installed here")
    monkeypatch.setattr(probes, "find_py_spy", lambda: None)
    record = run_quick(load_suite(suite_folder(with_more)))
    assert record.status == "passed"
    assert "elsewhere" not in record.metrics
    assert ("Time elsewhere", "onnxruntime is not installed here") in [(o.what, o.why) for o in record.omitted]


def test_sides_that_differ_miss_the_gate(
    asked: list[str], suite_folder: Callable[..., Path], run_quick: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contest, "run_contender", lambda work, side, pinned: outcome(1.0, float(side == "pytorch")))
    record = run_quick(load_suite(suite_folder(with_rival)))
    assert record.status == "gate missed"
    assert record.reason == "beside: rival_difference max 0.5 is above the gate of 0.002"


def test_sides_that_cannot_be_compared_give_no_figure_and_fail_the_run(
    asked: list[str], suite_folder: Callable[..., Path], run_quick: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = {"tinytorch": [1.0], "pytorch": [1.0, 2.0]}
    monkeypatch.setattr(contest, "run_contender", lambda work, side, pinned: outcome(1.0, *checks[side]))
    record = run_quick(load_suite(suite_folder(with_rival)))
    assert record.status == "failed"
    assert record.reason == (
        "beside, seed 1: mlp: tinytorch and pytorch differ in shape: they did not do the same work"
    )


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"rival": "no_such_work"}, "cases.1.rival: 'no_such_work': expected one of cnn, "),
        ({"rival": "../mlp"}, "cases.1.rival: '../mlp': "),
        ({"metrics": ["rival_speedup"]}, "cases.1.metrics: ['rival_speedup']: expected rival_speedup, rival_seconds"),
        (
            {"aims": [{"metric": "train_seconds", "direction": "at_most", "value": 1.0}]},
            "'train_seconds': expected",
        ),
    ],
)
def test_a_rival_case_that_asks_for_what_it_cannot_measure_is_refused(
    suite_folder: Callable[..., Path], more: dict[str, Any], problem: str
) -> None:
    with pytest.raises(SuiteError) as caught:
        load_suite(suite_folder(lambda document: with_rival(document, **more)))
    assert problem in str(caught.value)
