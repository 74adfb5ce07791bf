from __future__ import annotations

import numpy as np
import pytest

from tests.report.sample import make_case, make_profile, make_record
from tito.bench.suite import Metric
from tito.report.history import comparable, history, primary, spark, table
from tito.report.pieces import Absent, Plot


def test_table_has_a_row_for_each_record_oldest_first() -> None:
    records = [make_record(number=2), make_record(number=0), make_record(number=1, cases=[], profile=None)]
    frame = table(records, "mlp", "accuracy")
    assert list(frame["id"]) == ["sample-0", "sample-1", "sample-2"]
    assert frame["metric"][0] == records[1].cases[0].summary["accuracy"].mean
    assert frame.loc[1, ["metric", "p50_us", "train_seconds"]].isna().all()


def test_table_of_nothing_is_empty() -> None:
    assert table([], "mlp", "accuracy").empty


def test_only_full_runs_of_this_suite_on_this_machine_are_comparable() -> None:
    shown = make_record(number=9)
    changed = make_record().provenance.model_copy(update={"suite_sha256": "cd" * 32})
    others = [
        make_record(number=1),
        make_record(number=2, fingerprint="another machine"),
        make_record(number=3, quick=True),
        make_record(number=4, suite="other"),
        make_record(number=5, altered=["1 of 3 seeds"]),
        make_record(number=6, status="failed", reason="it died", cases=[]),
        make_record(number=7, provenance=changed),
    ]
    rows, others_of_it = comparable([*others, shown], shown)
    assert list(rows["id"]) == ["sample-1", "sample-9"]
    assert others_of_it == 1
    (piece,) = history([others[-1], shown], shown)
    assert "Left out: one full run of another version of the suite." in piece.says


def test_the_metric_is_looked_up_by_case_and_name_in_every_record() -> None:
    rng = np.random.default_rng(0)
    first, second = make_case(rng, name="other", shift=-0.5), make_case(rng)
    record = make_record(number=0, cases=[first, second], profile=None)  # without a profile, the first case speaks
    shown = make_record(number=1, cases=[first, second])
    rows, _ = comparable([record, shown], shown)
    assert rows["metric"].tolist() == [second.summary["accuracy"].mean] * 2


def test_units_are_shown_as_they_are_written() -> None:
    metrics = {"accuracy": Metric(title="A", unit="<a href='x'>bits</a>")}
    records = [make_record(number=number, metrics=metrics) for number in range(2)]
    piece = history(records, records[1])[0]
    assert isinstance(piece, Plot)
    assert piece.layout["yaxis"]["title"]["text"] == "&lt;a href='x'&gt;bits&lt;/a&gt;"


def test_history_draws_metric_latency_and_training_time() -> None:
    records = [make_record(number=number) for number in range(3)]
    pieces = history(records, records[-1])
    assert [piece.title for piece in pieces] == [
        "Test accuracy over time",
        "Median latency over time",
        "Training time over time",
    ]
    assert isinstance(pieces[0], Plot)
    means = [record.cases[0].summary["accuracy"].mean for record in records]
    assert pieces[0].data[0]["y"] == pytest.approx(means, rel=1e-4)


def test_history_of_one_run_is_one_line() -> None:
    record = make_record()
    foreign = make_record(number=1, fingerprint="another machine")
    (piece,) = history([record, foreign], record)
    assert isinstance(piece, Absent)
    assert "one full run" in piece.says


def test_history_without_latency_leaves_that_panel_out() -> None:
    profile = make_profile(np.random.default_rng(0)).model_copy(update={"latency": []})
    records = [make_record(number=number, profile=profile) for number in range(2)]
    assert "Median latency over time" not in [piece.title for piece in history(records, records[0])]


def test_primary_is_the_gate_of_the_profiled_case() -> None:
    rng = np.random.default_rng(0)
    found = primary(make_record(cases=[make_case(rng, name="first"), make_case(rng, name="mlp")]))
    assert found is not None
    assert (found[0].name, found[1]) == ("mlp", "accuracy")
    assert primary(make_record(cases=[])) is None


def test_spark_needs_two_runs_and_stays_inside_its_box() -> None:
    records = [make_record(number=number) for number in range(4)]
    assert spark(records[:1], records[0]) is None
    points = spark(records, records[0], width=100, height=20)
    assert points is not None
    pairs = [tuple(map(float, pair.split(","))) for pair in points.split()]
    assert len(pairs) == 4
    assert all(0 <= x <= 100 and 0 <= y <= 20 for x, y in pairs)
    assert pairs[0][1] > pairs[-1][1]  # the metric rose, and SVG counts downwards
