"""What is printed, given records: words that say what colours say, figures with units, nothing interpreted."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

from tito import terminal
from tito.bench.record import (
    CaseResult,
    LatencyRun,
    Omission,
    Profile,
    Record,
    SeedRun,
    Summary,
    Throughput,
    Verdict,
)
from tito.bench.runner import Event
from tito.bench.suite import Criterion, Metric
from tito.bench.suites import load_suite
from tito.doctor import Finding
from tito.process.blas import BlasChoice
from tito.process.provenance import Machine, Provenance

TINY = Path(__file__).parent / "bench" / "suites" / "2001_tiny"
ACCURACY = Metric(title="Accuracy", unit="%")


def printed(content: RenderableType, width: int = 160, terminal: bool = False) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, markup=False, highlight=False, force_terminal=terminal, color_system=None)
    console.print(content)
    return out.getvalue()


def criterion(value: float = 0.95, over: str = "mean") -> Criterion:
    return Criterion.model_validate({"metric": "accuracy", "over": over, "direction": "at_least", "value": value})


def case(measured: float | None = 0.9861, met: bool = True, n: int = 3) -> CaseResult:
    sd = 0.0005 if n > 1 else None
    value = measured or 0.0
    run = SeedRun(seed=1, metrics={"accuracy": value, "train_seconds": 19.2}, curve=[], exhibits=[])
    return CaseResult(
        name="mlp",
        title="MLP [bold]784-10[/bold]",
        note="",
        parameters={},
        runs=[run],
        summary={"accuracy": Summary(n=n, mean=value, sd=sd, median=value, min=value, max=value)},
        verdicts=[Verdict(role="gate", criterion=criterion(), measured=measured, met=met)],
    )


def profile() -> Profile:
    return Profile(
        case="mlp",
        parameter_count=535_818,
        model_bytes=2_144_000,
        latency=[LatencyRun(samples_us=[29.0], p50_us=29.04, p90_us=33.0, p99_us=1_250.0)],
        throughput=[
            Throughput(batch=1, samples_per_second=[30_000.0]),
            Throughput(batch=512, samples_per_second=[200_000.0]),
        ],
        memory=None,
        stacks=None,
    )


def record(**changes: Any) -> Record:
    computer = Machine(fingerprint="0" * 12, cpu="CPU", cores=2, memory_bytes=2**33, system="Linux", features=[])
    provenance = Provenance(
        tinytorch="0.1.0",
        commit=None,
        dirty=None,
        python="3.11",
        numpy="2.4",
        suite_sha256="0" * 64,
        machine=computer,
        blas=BlasChoice(used="SkylakeX", default="Haswell", speedup=1.9, why="SkylakeX is faster"),
        environment={},
        command="tito suite run mnist",
    )
    fields: dict[str, Any] = {
        "id": "20250101T000000Z-mnist-abc",
        "suite": "mnist",
        "year": 1986,
        "title": "Digits",
        "story": "A story.",
        "created": datetime(2025, 1, 1, tzinfo=UTC),
        "seconds": 61.0,
        "quick": False,
        "status": "passed",
        "reason": None,
        "metrics": {"accuracy": ACCURACY},
        "cases": [case()],
        "profile": profile(),
        "omitted": [],
        "provenance": provenance,
    }
    return Record(**(fields | changes))


def test_a_record_shows_gate_speed_size_and_origin() -> None:
    text = printed(terminal.show_record(record()))
    for part in (
        "1986 mnist",
        "passed",
        "MLP [bold]784-10[/bold], 1 seed",
        "mean 98.61 ± 0.05 % sd",
        "at least 95 %",
        "p50 29.0 µs   p90 33.0 µs   p99 1,250.0 µs",
        "200 000 /s at batch size 512",
        "2.14 MB, 535 818 parameters",
        "19.2 s",
        "SkylakeX is faster",
        "tito suite run mnist",
    ):
        assert part in text


def test_a_missed_gate_says_so_in_words() -> None:
    missed = record(
        status="gate missed", reason="mlp: accuracy 0.9 is below 0.95", cases=[case(0.9, met=False)], profile=None
    )
    text = printed(terminal.show_record(missed))
    assert "gate missed: mlp: accuracy 0.9 is below 0.95" in text
    assert "mean 90.00 ± 0.05 % sd" in text
    gate = next(line for line in text.splitlines() if line.strip().startswith("gate  "))
    assert gate.rstrip().endswith("missed")
    assert "latency" not in text


def test_what_was_not_measured_is_named_once_with_its_reason() -> None:
    omitted = [Omission(what="latency", why="the run failed"), Omission(what="stacks", why="the run failed")]
    failed = record(status="failed", reason="it died", cases=[case(None, met=False)], profile=None, omitted=omitted)
    text = printed(terminal.show_record(failed))
    assert "latency, stacks: the run failed" in text
    assert "not measured" in text


@pytest.mark.parametrize(
    ("over", "n", "expected"),
    [
        ("mean", 3, "mean 98.61 ± 0.05 % sd"),
        ("min", 3, "min 98.61 %"),
        ("mean", 1, "98.61 %"),
    ],
)
def test_a_spread_stands_only_beside_a_mean_of_several(over: str, n: int, expected: str) -> None:
    verdict = Verdict(role="gate", criterion=criterion(over=over), measured=0.9861, met=True)
    assert terminal.measured(verdict, case(n=n), ACCURACY) == expected


def test_text_from_records_is_not_interpreted() -> None:
    assert "MLP [bold]784-10[/bold]" in printed(terminal.show_record(record()))


@pytest.mark.parametrize("width", [40, 80, 200])
def test_everything_fits_the_width(width: int) -> None:
    for content in (
        terminal.show_record(record()),
        terminal.show_suite(load_suite(TINY)),
        terminal.list_records([record()]),
        terminal.list_findings([Finding("BLAS kernel", "note", "Haswell " * 20, "set it " * 30)]),
    ):
        assert max(map(len, printed(content, width).splitlines())) <= width


def test_tables_of_records_have_one_line_a_row_in_80_columns() -> None:
    (row,) = (line for line in printed(terminal.show_record(record()), 80).splitlines() if line.startswith("  gate"))
    assert row.split() == ["gate", "Accuracy", "mean", "98.61", "±", "0.05", "%", "sd", "at", "least", "95", "%", "met"]
    assert len(printed(terminal.list_records([record(quick=True, altered=["1 of 3 seeds"])]), 80).splitlines()) == 2


def test_an_altered_run_says_how_it_differs() -> None:
    altered = record(altered=["gate accuracy=0.01", "1 of 3 seeds"])
    assert "no full result: gate accuracy=0.01, 1 of 3 seeds" in printed(terminal.show_record(altered))
    assert printed(terminal.list_records([altered])).splitlines()[1].rstrip().endswith("altered")
    assert "no full result" not in printed(terminal.show_record(record()))


def test_figures_that_are_no_numbers_stop_no_progress() -> None:
    event = Event("train", "mlp", 1, 1, 100, {"accuracy": None, "loss": float("nan")})
    assert quiet_lines([(11.0, event)]) == ["  mlp, seed 1: train 1/100   Accuracy not a number   loss nan"]


def test_numbers_use_spaces_that_every_encoding_has() -> None:
    printed(terminal.show_record(record())).encode("cp1252")


def test_records_are_listed_with_their_first_gate() -> None:
    text = printed(terminal.list_records([record(), record(cases=[], status="failed", reason="x", quick=True)]))
    first, second = text.splitlines()[1:]
    assert "Accuracy 98.61 %" in first
    assert "failed" in second
    assert second.rstrip().endswith("quick")


def test_findings_show_state_in_words_and_advice_below() -> None:
    text = printed(terminal.list_findings([Finding("stacks", "note", "refused", "do this")]))
    first, second = text.splitlines()
    assert first.split() == ["note", "stacks", "refused"]
    assert second.strip() == "do this"


class Clock:
    """Seconds that pass when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def quiet_lines(events: list[tuple[float, Event]]) -> list[str]:
    out, clock = io.StringIO(), Clock()
    console = Console(file=out, width=160, force_terminal=False)
    with terminal.RunProgress(console, {"accuracy": ACCURACY}, clock) as progress:
        for clock.now, event in events:
            progress.report(event)
    return out.getvalue().splitlines()


def step(done: int) -> Event:
    return Event("train", "mlp", 1, done, 100, {"loss": 0.123456})


def seed_done(done: int, total: int) -> Event:
    return Event("seed done", "mlp", done, done, total, {"accuracy": 0.9861, "load_seconds": 1.0})


def test_without_a_terminal_a_line_comes_now_and_then() -> None:
    lines = quiet_lines([(0.1 * i, step(i)) for i in range(301)])
    assert len(lines) == 3
    assert lines[0].startswith("  mlp, seed 1: train 1")
    assert lines[0].endswith("   loss 0.123")


def test_each_of_a_few_seeds_gets_a_line_and_of_many_some() -> None:
    assert quiet_lines([(0.0, seed_done(1, 3))]) == ["  mlp, seed 1   Accuracy 98.61 %"]
    assert len(quiet_lines([(0.0, seed_done(i, 3)) for i in (1, 2, 3)])) == 3
    assert len(quiet_lines([(0.0, seed_done(i, 100)) for i in range(1, 101)])) == 10


def test_in_a_terminal_a_bar_moves_and_leaves_nothing_behind() -> None:
    out = io.StringIO()
    console = Console(file=out, width=100, force_terminal=True, color_system=None)
    with terminal.RunProgress(console, {"accuracy": ACCURACY}) as progress:
        progress.report(step(40))
        progress.report(seed_done(1, 3))
        progress.report(Event("latency", "mlp", 1, 0, 1, {}))
    text = out.getvalue()
    assert "mlp, seed 1   Accuracy 98.61 %" in text
    assert text.endswith("\x1b[2K")  # the bar's line is cleared
