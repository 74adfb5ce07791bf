"""The progress of a run: a line now and then, or a bar that leaves nothing behind."""

from __future__ import annotations

import io

from rich.console import Console

from tests.terminal.sample import ACCURACY
from tito.bench.runner import Event
from tito.terminal.progress import RunProgress


class Clock:
    """Seconds that pass when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def quiet_lines(events: list[tuple[float, Event]]) -> list[str]:
    out, clock = io.StringIO(), Clock()
    console = Console(file=out, width=160, force_terminal=False)
    with RunProgress(console, {"accuracy": ACCURACY}, clock) as progress:
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
    assert text.endswith("\x1b[2K")  # the bar's line is cleared
