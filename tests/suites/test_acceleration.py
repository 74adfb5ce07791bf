"""The suite 2025_acceleration: small ladders from end to end, with and without a native backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinytorch import acceleration
from tito.bench.record import SeedRun
from tito.bench.suites import load_suite
from tito.bench.workload import load_workload
from tito.report.exhibits import piece_of
from tito.report.pieces import Absent

FOLDER = Path(__file__).parents[2] / "suites" / "2025_acceleration"
PARAMETERS = {"sizes": [4, 8], "common": 8, "seconds": 1e-5}


@pytest.fixture(scope="module")
def work() -> Any:
    return load_workload(FOLDER / "workload.py")


def climb(work: Any) -> tuple[Any, dict[str, Any]]:
    data, model = work.load(PARAMETERS), work.build(PARAMETERS, 1)
    assert work.train(model, data, PARAMETERS, 1, lambda *done, **figures: None) == []
    return model, work.evaluate(model, data, PARAMETERS)


def test_small_ladder_end_to_end(work: Any, backend: str) -> None:
    model, answer = climb(work)
    assert set(answer["metrics"]) == set(load_suite(FOLDER).suite.metrics)
    assert answer["metrics"]["right"] == 1
    run = SeedRun(seed=1, metrics=answer["metrics"], curve=[], exhibits=answer["exhibits"])
    assert not [exhibit for exhibit in run.exhibits if isinstance(piece_of(exhibit, ""), Absent)]
    x = work.queries(work.load(PARAMETERS), PARAMETERS)
    expected = x.astype(np.int64) @ model.weight.data.astype(np.int64)
    np.testing.assert_array_equal(work.predictor(model)(x), expected)


def test_without_native_kernels_one_line_explains_what_is_left_out(work: Any, backend: str) -> None:
    _, answer = climb(work)
    last = answer["exhibits"][-1]["rows"][-1]
    if acceleration.left_out():
        assert last == ["left out", acceleration.left_out()]
        assert backend != "numpy" or "the backend here is NumPy (" in last[-1]
    else:
        assert last[0] == "oneDNN int8"


def test_wrong_product_lowers_the_share_of_correct_results(work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = acceleration.Rung("BLAS", lambda a, b: a @ b + 1, 8, "")
    monkeypatch.setattr(acceleration, "rungs", lambda: (*acceleration.RUNGS[:4], wrong))
    _, answer = climb(work)
    assert answer["metrics"]["right"] == pytest.approx(8 / 10)


def test_metrics_and_exhibits_match_the_readings(work: Any) -> None:
    model = work.build(PARAMETERS, 1)
    speeds = {"Python loops": 0.5, "inner products": 1.0, "broadcast": 4.0, "blocked": 3.0, "BLAS": 10.0}
    for rung in acceleration.RUNGS[:5]:
        model.readings += [work.Reading(rung, 4, 1.5 * speeds[rung.name], True)]
        model.readings += [work.Reading(rung, 8, speeds[rung.name], True)]
    answer = work.evaluate(model, {}, PARAMETERS)
    assert answer["metrics"] == {"blas": 20, "vectorised": 8, "right": 1, "peak": 15, "fastest": 15}
    table = answer["exhibits"][-2]
    assert table["title"] == "Peak: the fastest float32 product of this run, 15 GFLOP/s with BLAS"
    assert table["rows"][1] == ["inner products", 1.0, 2.0, 1.5, 4, 10.0]
    assert answer["exhibits"][0]["groups"] == {
        "8 x 8": list(speeds.values()),
        "at its best size": [1.5 * speed for speed in speeds.values()],
    }
