"""tito.report.headline: what a record opens with, on the page, on the index, and in the terminal."""

from __future__ import annotations

import pytest

from tests.report.sample import make_record
from tests.report.test_overview import CASES, METRICS, OVERVIEW, case, record
from tito.bench.judge import summarise
from tito.bench.record import Record
from tito.bench.suite import Metric
from tito.report import units
from tito.report.headline import card, headline
from tito.report.pieces import Tile

REFERENCED = OVERVIEW.model_copy(update={"reference": {"technique": "fp32"}, "relative": {"file_bytes": "file_share"}})
FP32 = case("fp32", "digits", accuracy=0.99, file_bytes=400, p50_us=40, file_share=1.0).model_copy(
    update={"parameters": {"track": "digits", "technique": "fp32"}}
)
INT8 = case("int8", "digits", accuracy=0.985, file_bytes=100, p50_us=10, file_share=0.25)
TINY = case("tiny", "digits", accuracy=0.97, file_bytes=20, p50_us=12, file_share=0.05)


def referenced(*cases: object) -> Record:
    return record(*cases).model_copy(update={"overview": REFERENCED})  # type: ignore[arg-type]


def plain(tiles: list[Tile]) -> list[tuple[str, str, str, str]]:
    return [
        (tile.title, tile.value.replace(units.THIN, " "), tile.note.replace(units.THIN, " "), tile.case)
        for tile in tiles
    ]


def test_the_figures_of_one_case_are_those_of_the_record() -> None:
    shown = make_record()
    (group,) = headline(shown)
    assert group.title == "MLP 784-512-256-10"
    titles = [f"{tile.title} {tile.mark}".strip() for tile in group.tiles]
    assert titles == [
        "Test accuracy",
        "Latency p50",
        "Latency p90",
        "Latency p99",
        "Throughput",
        "Peak memory",
        "Model file",
        "Training time",
    ]
    values = dict(zip(titles, (tile.value.replace(units.THIN, " ") for tile in group.tiles), strict=True))
    assert values["Test accuracy"] == f"{100 * shown.cases[0].summary['accuracy'].mean:.2f} %"
    assert values["Model file"] == "2.14 MB"


def test_what_a_case_does_instead_of_training_names_its_time() -> None:
    shown = make_record()
    (case,) = shown.cases[:1]

    def titles(work: str) -> list[str]:
        cases = [case.model_copy(update={"work": work}), *shown.cases[1:]]
        (group,) = headline(shown.model_copy(update={"cases": cases}))
        return [tile.title for tile in group.tiles if tile.title.endswith(" time")]

    assert titles("training") == ["Training time"]
    assert titles("calibration") == ["Calibration time"]
    assert titles("") == []


def test_an_accuracy_has_its_binomial_interval() -> None:
    shown = make_record()
    (case,) = shown.cases[:1]
    raw = {"wrong": [float(i) for i in range(100)], "items": [10_000.0]}
    run = case.runs[0].model_copy(update={"metrics": {**case.runs[0].metrics, "accuracy": 0.99}, "raw": raw})
    summary = {**case.summary, "accuracy": summarise([run])["accuracy"]}
    cases = [case.model_copy(update={"runs": [run], "summary": summary}), *shown.cases[1:]]
    (group,) = headline(shown.model_copy(update={"cases": cases}))
    assert group.tiles[0].note.replace(units.THIN, " ") == "1 seed; 95% interval 98.79 % to 99.18 %"


def test_a_card_has_the_figures_of_one_case_in_short() -> None:
    (group,) = card(make_record())
    assert group.title == "MLP 784-512-256-10"
    assert [(tile.title, tile.mark) for tile in group.tiles] == [
        ("Test accuracy", ""),
        ("Latency", "p50"),
        ("Model file", ""),
        ("Training time", ""),
    ]


def test_a_track_opens_with_its_smallest_fastest_and_best_against_its_reference() -> None:
    (group,) = headline(referenced(FP32, INT8, TINY))
    assert group.title == "digits"
    assert group.says.replace(units.THIN, " ") == "FP32: 400 B, 40.0 µs, 99.00 %"
    assert plain(group.tiles) == [
        ("Smallest", "20 B", "5.00 % of FP32", "TINY"),
        ("Fastest", "10.0 µs", "", "INT8"),
        ("Best accuracy", "98.50 %", "", "INT8"),
    ]
    assert card(referenced(FP32, INT8, TINY)) == [group]


def test_what_misses_a_gate_is_nobodys_best() -> None:
    broken = case("broken", "digits", met=False, accuracy=1.0, file_bytes=1, p50_us=1)
    (group,) = headline(referenced(FP32, INT8, broken))
    assert {tile.case for tile in group.tiles} == {"INT8"}
    (group,) = headline(referenced(FP32, broken))
    assert (group.title, group.tiles) == ("digits", [])


def test_among_equals_the_one_that_is_better_in_the_rest_is_named() -> None:
    slower = case("slower", "digits", accuracy=0.985, file_bytes=100, p50_us=11)
    (group,) = headline(referenced(FP32, slower, INT8))
    assert {tile.case for tile in group.tiles} == {"INT8"}


def test_a_track_without_size_time_and_quality_has_the_largest_speedup_of_a_case_that_meets_its_gates() -> None:
    overview = REFERENCED.model_copy(update={"columns": ["accuracy", "loops"]})
    cases = [
        case(name, "digits", met, "gate", accuracy=1.0, loops=value)
        for name, met, value in (("loops", True, 1.0), ("blas", True, 5815.0), ("wrong", False, 9000.0))
    ]
    metrics = METRICS | {"loops": Metric(title="Speedup over loops", unit="times", short="vs. loops")}
    shown = record(*cases).model_copy(update={"overview": overview, "metrics": metrics})
    (group,) = headline(shown)
    assert plain(group.tiles) == [("Fastest", "5 815×", "vs. loops", "BLAS")]


@pytest.mark.parametrize(
    "figures", [{"accuracy": 0.99}, {"file_bytes": 1.0, "p50_us": 2.0}], ids=["no size", "no quality"]
)
def test_a_track_without_size_time_and_quality_has_no_best(figures: dict[str, float]) -> None:
    assert headline(referenced(case("one", "digits", True, "gate", **figures))) == []


def test_without_a_declared_reference_every_case_takes_part() -> None:
    groups = headline(record(*CASES))
    assert [(group.title, group.says) for group in groups] == [("digits", ""), ("plays", "")]
    assert plain(groups[0].tiles)[2] == ("Best accuracy", "99.00 %", "", "INT8")
    assert plain(groups[1].tiles)[2] == ("Best loss", "4.000 nats", "", "TEXT")


def test_a_run_that_measured_nothing_has_no_headline() -> None:
    assert headline(make_record(cases=[], profile=None)) == []
    assert headline(referenced()) == []
