"""tito.report.overview: cases side by side, and who is beaten by nobody."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

from rich.console import Console

from tests.report.sample import make_record
from tito.bench.judge import front
from tito.bench.record import CaseResult, Record, SeedRun, Summary, Verdict
from tito.bench.suite import Criterion, Metric, Overview
from tito.report.overview import grouped, plots, sides, tables
from tito.report.pages import write_pages
from tito.report.pieces import Grid, Plot
from tito.terminal.record import show_record

METRICS = {
    "accuracy": Metric(title="Test accuracy", unit="%", short="accuracy"),
    "loss": Metric(title="Loss", unit="nats"),
    "file_bytes": Metric(title="File", unit="bytes"),
    "p50_us": Metric(title="p50", unit="us"),
    "file_share": Metric(title="File against FP32's", unit="%", short="of FP32"),
}
OVERVIEW = Overview(
    group="track",
    columns=["accuracy", "loss", "file_bytes", "p50_us"],
    size="file_bytes",
    time="p50_us",
    quality={"accuracy": "at_least", "loss": "at_most"},
)


def case(name: str, track: str, met: bool = True, role: str = "gate", **figures: float) -> CaseResult:
    summary = {
        key: Summary(n=1, mean=value, sd=None, median=value, min=value, max=value) for key, value in figures.items()
    }
    gate = Criterion(metric=next(iter(figures)), direction="at_least", value=0)
    verdict = Verdict(role=role, criterion=gate, measured=1.0, met=met)  # type: ignore[arg-type]
    return CaseResult(
        name=name,
        title=name.upper(),
        note="",
        parameters={"track": track},
        runs=[],
        summary=summary,
        verdicts=[verdict],
    )


def record(*cases: CaseResult) -> Record:
    return make_record(cases=list(cases), metrics=METRICS, overview=OVERVIEW, profile=None)


CASES = (
    case("fp32", "digits", accuracy=0.99, file_bytes=400, p50_us=40),
    case("int8", "digits", accuracy=0.99, file_bytes=100, p50_us=10),
    case("tiny", "digits", accuracy=0.97, file_bytes=20, p50_us=10),
    case("text", "plays", loss=4.0, file_bytes=4000, p50_us=900),
)


def test_cases_are_grouped_by_the_parameter_with_the_columns_that_they_measure() -> None:
    shown = record(*CASES)
    assert {group: [one.name for one in cases] for group, cases in grouped(shown).items()} == {
        "digits": ["fp32", "int8", "tiny"],
        "plays": ["text"],
    }
    digits, plays = sides(shown)
    assert digits.heads == ["accuracy", "File", "p50"]
    assert plays.heads == ["Loss", "File", "p50"]
    assert digits.meanings == ["Test accuracy", "File", "p50"]
    assert [line.cells[0] for line in digits.lines] == ["99.00\u202f%", "99.00\u202f%", "97.00\u202f%"]


def test_the_front_holds_those_that_nobody_beats() -> None:
    assert front(OVERVIEW, CASES[:3]) == {"int8", "tiny"}


def test_less_is_better_for_a_loss_and_equals_do_not_beat_each_other() -> None:
    twins = [case(name, "plays", loss=4.0, file_bytes=10, p50_us=5) for name in ("one", "two")]
    worse = case("worse", "plays", loss=4.1, file_bytes=10, p50_us=5)
    assert front(OVERVIEW, [*twins, worse]) == {"one", "two"}


def judged(of: CaseResult, wrong: int) -> CaseResult:
    """Return the case with its answers: the first `wrong` of 10,000 items are wrong."""
    raw = {"wrong": [float(i) for i in range(wrong)], "items": [10_000.0]}
    return of.model_copy(update={"runs": [SeedRun(seed=1, metrics={}, curve=[], exhibits=[], raw=raw)]})


def test_two_of_ten_thousand_images_win_no_star_and_two_hundred_do() -> None:
    small = judged(case("int8", "digits", accuracy=0.9860, file_bytes=100, p50_us=10), 140)
    a_little = judged(case("fp32", "digits", accuracy=0.9862, file_bytes=400, p50_us=40), 138)
    much = judged(case("fp32", "digits", accuracy=0.9960, file_bytes=400, p50_us=40), 40)
    assert front(OVERVIEW, [small, a_little]) == {"int8"}
    assert front(OVERVIEW, [small, much]) == {"int8", "fp32"}


def test_a_time_within_the_smallest_effect_wins_no_star() -> None:
    first = case("first", "digits", accuracy=0.99, file_bytes=100, p50_us=10)
    larger = case("larger", "digits", accuracy=0.99, file_bytes=101, p50_us=9.9)
    faster = case("faster", "digits", accuracy=0.99, file_bytes=101, p50_us=9.7)
    assert front(OVERVIEW, [first, larger]) == {"first"}
    assert front(OVERVIEW, [first, faster]) == {"first", "faster"}


def test_a_case_that_misses_its_gate_is_on_no_front_but_an_aim_does_not_count() -> None:
    missed = case("missed", "digits", met=False, accuracy=0.99, file_bytes=1, p50_us=1)
    short = case("short", "digits", met=False, role="aim", accuracy=0.99, file_bytes=2, p50_us=2)
    assert front(OVERVIEW, [missed, short]) == {"short"}


def test_what_misses_its_demand_is_marked_in_the_table_and_in_the_terminal() -> None:
    shown = record(*CASES[:2], case("bad", "digits", met=False, accuracy=0.5, file_bytes=1, p50_us=1))
    (grid,), (plot,) = tables(shown), plots(shown)
    assert isinstance(grid, Grid)
    assert grid.missed == {(2, 1)}
    assert grid.below == {(row, 1): "≥ 0\u202f%" for row in range(3)}
    assert [row[0] for row in grid.rows] == ["FP32", "INT8 ★", "BAD"]
    assert isinstance(plot, Plot)
    assert [trace["marker"]["color"] for trace in plot.data] == ["--card", "--series-2", "--card"]
    console = Console(width=120, record=True, file=StringIO())
    console.print(show_record(shown))
    text = console.export_text()
    assert "50.00 % ✗" in text
    assert text.count("≥ 0 %") == 3
    assert "missed" not in text  # the table shows it; no second one follows
    assert "2 of 3 gates met" in text


def test_a_missing_figure_is_a_dash_and_one_case_makes_no_plot() -> None:
    shown = record(case("only", "digits", accuracy=0.9), case("fast", "digits", accuracy=0.9, p50_us=3, file_bytes=3))
    (grid,) = tables(shown)
    assert isinstance(grid, Grid)
    assert grid.rows[0] == ["ONLY", "90.00\u202f%", "–", "–"]
    assert plots(shown) == []


def test_without_an_overview_there_is_nothing() -> None:
    assert sides(make_record()) == []


def test_a_note_goes_with_its_row() -> None:
    noted = CASES[1].model_copy(update={"note": "rounded\n"})
    shown = record(CASES[0], noted)
    assert [line.note for line in sides(shown)[0].lines] == ["", "rounded"]
    grid = tables(shown)[0]
    assert isinstance(grid, Grid)
    assert grid.notes == {1: "rounded"}


def test_a_page_with_an_overview_opens_with_the_best_and_names_the_profiled_case(tmp_path: Path) -> None:
    profile = make_record().profile
    assert profile
    shown = record(*CASES).model_copy(update={"profile": profile.model_copy(update={"case": "int8"})})
    write_pages([shown], tmp_path)
    page = (tmp_path / "sample" / "sample-0.html").read_text("utf-8")
    order = [
        "Gate met",
        'class="tracks"',
        "Smallest",
        'href="#side-by-side"',
        "Side by side</h2>",
        "Size, time, and quality</h2>",
        "Profile of INT8 (digits)",
        "Latency p50",
    ]
    places = [page.index(text) for text in order]
    assert places == sorted(places)
    assert ">Memory over time: INT8 (digits)</h3>" in page
    card = (tmp_path / "index.html").read_text("utf-8")
    assert "Smallest" in card
    assert "Latency" not in card


def test_a_short_head_shows_its_full_title_on_hover_and_focus(tmp_path: Path) -> None:
    write_pages([record(*CASES)], tmp_path)
    page = (tmp_path / "sample" / "sample-0.html").read_text("utf-8")
    assert 'class="number" tabindex="0">accuracy<span class="tip">Test accuracy</span></th>' in page
    assert '<th scope="col" class="number">File</th>' in page  # it has no other title


def test_time_of_another_library_follows_the_time_that_it_puts_into_relation() -> None:
    elsewhere = Metric(title="p50 in ONNX Runtime", unit="us", needs=["onnxruntime"])
    shown = OVERVIEW.model_copy(update={"columns": ["accuracy", "file_bytes", "p50_us", "other_us", "other_rate"]})
    found = record(case("int8", "digits", accuracy=0.99, file_bytes=100, p50_us=10, other_us=12, other_rate=3))
    metrics = METRICS | {"other_us": elsewhere, "other_rate": elsewhere}
    (side,) = sides(found.model_copy(update={"overview": shown, "metrics": metrics}))
    assert [shown.columns[i] for i in side.priority] == ["accuracy", "p50_us", "other_us", "file_bytes", "other_rate"]
