"""The progress of a run: a line now and then, or a bar that leaves nothing behind."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tests.terminal.sample import ACCURACY
from tito.bench.event import Event
from tito.bench.expected import Expected
from tito.terminal.progress import RunProgress
from tito.terminal.tables import say_indented


class Clock:
    """Seconds that pass when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def quiet_lines(events: list[tuple[float, Event]]) -> list[str]:
    out, clock = io.StringIO(), Clock()
    console = Console(file=out, width=160, force_terminal=False)
    with RunProgress(console, {"accuracy": ACCURACY}, clock=clock) as progress:
        for clock.now, event in events:
            progress.report(event)
    return out.getvalue().splitlines()


def step(done: int) -> Event:
    return Event("train", "mlp", 1, done, 100, {"loss": 0.123456})


def seed_done(done: int, total: int) -> Event:
    return Event("seed done", "mlp", done, done, total, {"accuracy": 0.9861, "load_seconds": 1.0})


def test_figures_that_are_no_numbers_stop_no_progress() -> None:
    event = Event("train", "mlp", 1, 1, 100, {"accuracy": None, "loss": float("nan")})
    assert quiet_lines([(11.0, event)]) == ["  mlp, seed 1: train 1/100   Accuracy not a number   loss nan"]


def test_a_workload_cannot_send_escapes_to_the_terminal() -> None:
    event = Event("train", "mlp", 1, 1, 100, {"\x1b[2Jloss": 0.1})
    assert quiet_lines([(11.0, event)]) == ["  mlp, seed 1: train 1/100   \\x1b[2Jloss 0.100"]


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
    with RunProgress(console, {"accuracy": ACCURACY}) as progress:
        progress.report(step(40))
        progress.report(seed_done(1, 3))
        progress.report(Event("latency", "mlp", 1, 0, 1, {}))
    text = out.getvalue()
    assert "mlp, seed 1   Accuracy 98.61 %" in text
    assert text.removesuffix("\x1b[?25h\r").endswith("\r\x1b[2K")  # the bar's line is cleared


PLAN = (("mnist_fp32", 1), ("mnist_int8_dynamic", 1), ("gpt_cached", 3))


def shown(width: int, expected: Expected | None = None, at: float = 0.0, **figures: float) -> str:
    """Return the line that a terminal of this width shows during the second case."""
    out, clock = io.StringIO(), Clock()
    console = Console(file=out, width=width, force_terminal=True, color_system=None, legacy_windows=False)
    progress = RunProgress(console, {"accuracy": ACCURACY}, lambda plan: expected, clock)
    progress.report(Event("start", "", None, 0, 1, {}, PLAN))
    clock.now = at
    progress.report(Event("seed done", "mnist_fp32", 1, 1, 1, {}))
    progress.report(Event("train", "mnist_int8_dynamic", 1, 40, 100, {**figures}))
    out.truncate(0)
    out.seek(0)
    console.print(progress, end="")
    return out.getvalue().strip("\n")


def test_the_line_says_which_case_of_how_many_and_the_time_left() -> None:
    expected = Expected(300, "a run", {"mnist_fp32": 60, "mnist_int8_dynamic": 120, "gpt_cached": 30})
    line = shown(100, expected, at=60, accuracy=0.9861)
    for part in ("case 2 of 3", "mnist_int8_dynamic: train", "40/100", "about 4 min left"):
        assert part in line
    assert "Accuracy 98.61 %" in shown(120, expected, at=60, accuracy=0.9861)


@pytest.mark.parametrize("width", [40, 50, 60, 80, 100, 120, 160])
def test_the_line_fits_every_width_and_leaves_out_figures_first(width: int) -> None:
    expected = Expected(300, "a run", {"mnist_fp32": 60, "mnist_int8_dynamic": 120, "gpt_cached": 30})
    line = shown(width, expected, at=60, accuracy=0.9861, loss=0.12)
    assert "\n" not in line
    assert len(line.rstrip()) <= width
    assert "case 2 of 3" in line
    assert "about 4 min left" in line
    assert "train" in line or width < 40


def test_a_pace_half_as_fast_doubles_the_time_left() -> None:
    expected = Expected(300, "a run", {"mnist_fp32": 60, "mnist_int8_dynamic": 120, "gpt_cached": 30})
    assert "about 8 min left" in shown(100, expected, at=120)


def test_a_total_alone_counts_down_and_then_says_so() -> None:
    assert "about 4 min left" in shown(100, Expected(300, "its suite"), at=60)
    assert "longer than expected" in shown(100, Expected(300, "its suite"), at=400)


def test_without_any_source_no_time_is_claimed() -> None:
    line = shown(100, None, at=60)
    assert "case 2 of 3" in line
    assert "left" not in line


def test_where_an_estimate_comes_from_is_said_once() -> None:
    out = io.StringIO()
    console = Console(file=out, width=160, force_terminal=False)
    progress = RunProgress(console, {}, lambda plan: Expected(100, "the run of 2026-11-26"), Clock())
    progress.report(Event("start", "", None, 0, 1, {}, PLAN))
    assert out.getvalue() == "  about 2 min, according to the run of 2026-11-26\n"


def test_seeds_that_were_taken_over_say_so() -> None:
    kept = Event("seed kept", "mlp", 1, 1, 3, {"accuracy": 0.9861})
    assert quiet_lines([(0.0, kept)]) == ["  mlp, seed 1   Accuracy 98.61 %   taken over"]


@pytest.mark.parametrize("width", [30, 60, 80])
def test_in_a_terminal_lines_of_seeds_break_between_figures_and_words(width: int) -> None:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system=None, legacy_windows=False)
    figures: dict[str, float | None] = {"accuracy": 0.9861, "train_seconds": 0.202, "loss": 0.12}
    RunProgress(console, {"accuracy": ACCURACY}).report(Event("seed done", "hidden_layer", 10, 10, 10, figures))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    for part in ("hidden_layer, seed 10", "Accuracy 98.61 %", "Training time 202 ms", "loss 0.120"):
        assert sum(part in line for line in lines) == 1, part


def test_a_long_message_is_wrapped_between_words_in_a_terminal_only() -> None:
    message = "this machine is busy: " + "python (process 4711) 56%, " * 6
    for terminal in (True, False):
        out = io.StringIO()
        console = Console(file=out, width=60, force_terminal=terminal, color_system=None, legacy_windows=False)
        say_indented(console, message, "yellow")
        lines = out.getvalue().splitlines()
        assert " ".join(" ".join(lines).split()) == message.strip()
        assert (max(map(len, lines)) <= 60 and len(lines) > 2) if terminal else len(lines) == 1
