from __future__ import annotations

import json

import numpy as np
import pytest

from tests.report.sample import make_profile, make_record, plot
from tito.bench.record import LatencyRun, MemorySample
from tito.report import figures
from tito.report.curves import learning_curves
from tito.report.flame import flame_graph
from tito.report.pieces import Absent, Plot


def traces(piece: object) -> list[dict]:
    return plot(piece).data


def test_ecdf_is_monotone_ends_at_one_and_keeps_the_tail() -> None:
    samples = np.random.default_rng(0).lognormal(size=5000)
    x, y = figures.ecdf(samples.tolist())
    assert len(x) == len(y) <= figures.ECDF_POINTS
    assert x == sorted(x)
    assert y == sorted(y)
    assert y[-1] == 1.0
    assert x[-50:] == pytest.approx(np.sort(samples)[-50:], rel=1e-4)


def test_ecdf_is_the_share_of_samples_not_above() -> None:
    assert figures.ecdf([3.0, 1.0, 2.0, 4.0]) == ([1.0, 2.0, 3.0, 4.0], [0.25, 0.5, 0.75, 1.0])


def test_percentiles_are_medians_over_processes() -> None:
    runs = [LatencyRun(samples_us=[1.0], p50_us=p, p90_us=2 * p, p99_us=3 * p) for p in (10.0, 30.0, 11.0)]
    assert figures.percentiles(runs) == {"p50": 11.0, "p90": 22.0, "p99": 33.0}


def test_latency_shows_each_process_and_marks_its_percentiles() -> None:
    profile = make_profile(np.random.default_rng(0))
    piece = figures.latency(profile)
    *lines, marks = traces(piece)
    assert len(lines) == len(profile.latency)
    assert marks["x"] == list(figures.percentiles(profile.latency).values())
    assert marks["y"] == [0.5, 0.9, 0.99]
    slowest = max(max(run.samples_us) for run in profile.latency)
    assert max(max(line["x"]) for line in lines) == pytest.approx(slowest, rel=1e-4)
    assert "beyond the axis" in plot(piece).says


def test_latency_axis_is_logarithmic_only_with_a_long_tail() -> None:
    profile = make_profile(np.random.default_rng(0))
    assert "type" not in plot(figures.latency(profile)).layout["xaxis"]
    spread = np.geomspace(10, 5000, 1000)
    p50, p90, p99 = np.percentile(spread, [50, 90, 99]).tolist()
    run = LatencyRun(samples_us=spread.tolist(), p50_us=p50, p90_us=p90, p99_us=p99)
    assert plot(figures.latency(profile.model_copy(update={"latency": [run]}))).layout["xaxis"]["type"] == "log"


def test_throughput_draws_medians_in_order_of_batch_and_every_process() -> None:
    profile = make_profile(np.random.default_rng(0))
    line, dots = traces(figures.throughput(profile))
    assert line["x"] == [1, 8, 64, 512, 2048]
    assert line["y"][0] == pytest.approx(np.median(profile.throughput[0].samples_per_second), rel=1e-4)
    assert len(dots["x"]) == 15


def test_best_throughput_is_the_highest_median() -> None:
    profile = make_profile(np.random.default_rng(0))
    found = figures.best_throughput(profile)
    assert found is not None
    assert found[1] == max(np.median(one.samples_per_second) for one in profile.throughput)


def test_memory_shades_every_phase_and_keeps_the_peak() -> None:
    trace = make_profile(np.random.default_rng(0)).memory
    assert trace is not None
    spike = MemorySample(seconds=20.01, rss=900_000_000, uss=None)
    samples = sorted([*trace.samples, spike], key=lambda sample: sample.seconds)
    piece = plot(figures.memory(trace.model_copy(update={"samples": samples, "peak": spike.rss})))
    assert [(shape["x0"], shape["x1"]) for shape in piece.layout["shapes"]] == [
        (phase.start, phase.end) for phase in trace.phases
    ]
    assert {note["text"] for note in piece.layout["annotations"]} == {"load", "train", "evaluate"}
    assert all(phase.name in piece.says for phase in trace.phases)
    assert max(piece.data[0]["y"]) == 900.0
    assert len(piece.data[0]["x"]) <= figures.MEMORY_POINTS


def test_log_axis_labels_are_plain_numbers_within_reach() -> None:
    axis = figures.log_axis(20, 400, span=True)
    assert axis["range"] == pytest.approx(np.log10([20, 400]), rel=1e-4)
    assert dict(zip(axis["tickvals"], axis["ticktext"], strict=True))[50.0] == "50"


def test_without_data_one_line_says_so() -> None:
    record = make_record(cases=[], profile=None)
    pieces = [
        *learning_curves(record),
        figures.latency(None),
        figures.throughput(None),
        figures.memory(None),
        flame_graph(None),
    ]
    assert all(isinstance(piece, Absent) and piece.says for piece in pieces)


def test_figures_are_pure_and_plain_json() -> None:
    record = make_record()
    before = record.model_dump_json()
    first, second = ([piece.data for piece in map(plot, learning_curves(record))] for _ in range(2))
    assert json.dumps(first, allow_nan=False) == json.dumps(second, allow_nan=False)
    assert record.model_dump_json() == before


def test_a_process_too_short_for_a_memory_curve_has_none_and_says_why() -> None:
    trace = make_record().profile.memory  # type: ignore[union-attr]
    assert trace is not None
    piece = figures.memory(trace.model_copy(update={"samples": trace.samples[: figures.FEWEST_SAMPLES - 1]}))
    assert isinstance(piece, Absent)
    assert "19 samples" in piece.says
    assert "a curve needs 20" in piece.says
    assert isinstance(figures.memory(trace.model_copy(update={"samples": trace.samples[:20]})), Plot)


def test_a_trace_names_what_was_observed() -> None:
    trace = make_record().profile.memory  # type: ignore[union-attr]
    assert trace is not None
    assert plot(figures.memory(trace)).says.startswith("One training")
    serving = [phase.model_copy(update={"name": "serve"}) for phase in trace.phases[:1]]
    served = figures.memory(trace.model_copy(update={"phases": serving}))
    assert plot(served).says.startswith("The trained model, answering single queries")
