"""The progress of a verification: a line for each entry, and no flood where there is no terminal."""

from __future__ import annotations

import io
from dataclasses import dataclass

from rich.console import Console

from tito.terminal.verifying import VerifyProgress


@dataclass(frozen=True)
class Step:
    what: str
    stage: str
    done: int = 0
    total: int = 0

    def __str__(self) -> str:
        return f"{self.what}: {self.stage}, round {self.done} of {self.total}, 3 min left"


def shown(steps: list[tuple[float, Step]], terminal: bool = False) -> str:
    out = io.StringIO()
    now = [0.0]
    console = Console(file=out, width=100, force_terminal=terminal, color_system=None)
    with VerifyProgress(console, clock=lambda: now[0]) as progress:
        for seconds, step in steps:
            now[0] = seconds
            progress.report(step)
    return out.getvalue()


def test_each_entry_gets_a_line_with_the_time_left() -> None:
    text = shown([(1, Step("alice/int8", "mnist", 0, 26)), (2, Step("bob/bf16", "mnist", 13, 26))])
    assert text.splitlines() == [
        "  alice/int8: mnist, round 0 of 26, 3 min left",
        "  bob/bf16: mnist, round 13 of 26, 3 min left",
    ]


def test_without_a_terminal_rounds_are_told_now_and_then() -> None:
    rounds = [(float(i), Step("alice/int8", "mnist", i, 26)) for i in range(26)]
    lines = shown(rounds).splitlines()
    assert [line.split("round ")[1].split(" ")[0] for line in lines] == ["0", "10", "20"]


def test_a_terminal_shows_the_newest_round() -> None:
    text = shown(
        [(1, Step("waiting", "for bob")), *((2, Step("alice/int8", "mnist", i, 26)) for i in (1, 7))], terminal=True
    )
    assert "waiting: for bob" in text
    assert "round 7 of 26" in text


def test_no_text_moves_the_cursor() -> None:
    assert "\x1b[2J" not in shown([(1, Step("waiting", "for \x1b[2J"))])
