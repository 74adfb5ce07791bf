"""tito.report.speedups: one bar for each case that is compared with a reference, with its interval."""

from __future__ import annotations

from pathlib import Path

from tests.report.sample import make_record, plot
from tests.report.test_headline import FP32, INT8, TINY
from tests.report.test_overview import METRICS, OVERVIEW
from tito.bench.record import CaseResult, Lines, Record, SeedRun, Series, Summary
from tito.bench.suite import Metric
from tito.report.pages import write_pages
from tito.report.speedups import speedups

OVERVIEW_OF_SPEED = OVERVIEW.model_copy(
    update={"reference": {"technique": "fp32"}, "relative": {"p50_us": "speedup", "file_bytes": "file_share"}}
)


def sped_up(case: CaseResult, value: float, interval: list[float] | None = None) -> CaseResult:
    """A case with a speedup, its interval, and its distribution as a figure."""
    summary = Summary(n=1, mean=value, sd=None, median=value, min=value, max=value)
    series = [Series(name="this case", x=[1.0, 2.0], y=[0.5, 1.0])]
    lines = Lines(title="Latency of one query", x_title="µs", y_title="share", series=series)
    raw = {"speedup_interval": interval} if interval else {}
    run = SeedRun(seed=1, metrics={"speedup": value}, curve=[], exhibits=[lines], raw=raw)
    return case.model_copy(update={"summary": case.summary | {"speedup": summary}, "runs": [run]})


def compared(*cases: CaseResult) -> Record:
    metrics = METRICS | {"speedup": Metric(title="Speedup over FP32", unit="times", short="speedup")}
    return make_record(cases=list(cases), metrics=metrics, overview=OVERVIEW_OF_SPEED, profile=None)


RECORD = compared(sped_up(FP32, 1.01), sped_up(INT8, 2.36, [2.31, 2.40]), sped_up(TINY, 0.5, [0.48, 0.53]))


def test_each_case_but_the_reference_has_a_bar_with_its_interval() -> None:
    (bars,) = plot(speedups(RECORD)).data
    assert bars["y"] == ["INT8 (digits)", "TINY (digits)"]
    assert bars["x"] == [2.36, 0.5]
    assert bars["text"] == ["2.36× (2.31–2.40)", "0.500× (0.480–0.530)"]
    assert bars["error_x"]["array"] == [0.04, 0.03]
    assert bars["error_x"]["arrayminus"] == [0.05, 0.02]


def test_older_records_without_intervals_have_bars_only() -> None:
    shown = plot(speedups(compared(sped_up(FP32, 1.0), sped_up(INT8, 2.0), sped_up(TINY, 3.0))))
    assert "error_x" not in shown.data[0]
    assert "interval" not in shown.says


def test_one_case_or_none_makes_no_chart() -> None:
    assert speedups(compared(sped_up(FP32, 1.0), sped_up(INT8, 2.0))) is None
    assert speedups(make_record()) is None


def test_the_distributions_of_the_cases_are_folded_below_the_chart(tmp_path: Path) -> None:
    write_pages([RECORD], tmp_path)
    page = (tmp_path / "sample" / "sample-0.html").read_text("utf-8")
    before, fold = page.split("<summary>3 figures of single cases</summary>")
    assert "INT8 (digits): Latency of one query" in fold.partition("</details>")[0]
    assert "INT8 (digits): Latency of one query" not in before
    assert before.index('<h2 id="speedups">') < len(before)


def test_the_line_at_1_crosses_no_value() -> None:
    labels = plot(speedups(RECORD)).layout["annotations"]
    assert [label["text"] for label in labels] == ["2.36× (2.31–2.40)", "0.500× (0.480–0.530)"]
    assert all(label["bgcolor"] == "--card" for label in labels)
