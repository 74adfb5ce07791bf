"""The page and the terminal's answer about a learner's own code."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from tests.bench.test_mine import made_run
from tests.bench.test_record import with_conditions
from tito.report.mine import section, write_mine
from tito.terminal.mine import show_mine


def test_the_page_shows_gates_times_beside_the_reference_and_the_hottest_lines(tmp_path: Path) -> None:
    run = made_run()
    text = write_mine([run], tmp_path).read_text("utf-8")
    for part in ("Yours: layers.", "Borrowed from the reference: tensor.", "only your layers", "80.0 times",
                 "78.0 to 82.0", "04_layers.py:212", "np.dot(row, one)", "Gate met", "reference:",
                 "2021-01-01 12:00 UTC", "Test CPU 9000, 2 cores", "0123456789, changed"):  # fmt: skip
        assert part in text, part
    assert (tmp_path / "mine.html").is_file()


def test_a_run_on_a_busy_machine_has_a_badge(tmp_path: Path) -> None:
    run = made_run()
    assert "noisy run" not in write_mine([run], tmp_path).read_text("utf-8")
    busy = run.model_copy(update={"record": with_conditions(run.record, {"seconds": 9.0, "others": 0.5})})
    text = write_mine([busy], tmp_path).read_text("utf-8")
    assert '<span class="quick">noisy run</span>' in text
    assert "other processes used 50% of the cores" in text


def test_code_is_escaped(tmp_path: Path) -> None:
    run = made_run()
    line = run.lines[0].model_copy(update={"text": "<script>alert(1)</script>"})
    text = write_mine([run.model_copy(update={"lines": [line]})], tmp_path).read_text("utf-8")
    assert "<script>alert" not in text


def test_what_is_missing_says_why() -> None:
    run = made_run().model_copy(update={"steps": [], "steps_problem": "it failed", "reference": None,
                                        "reference_problem": "it died", "lines": []})  # fmt: skip
    assert section(run).notes == [
        "The reference could not be measured: it died",
        "Steps were not timed: it failed",
        "No line is shown, because py-spy sampled none of yours.",
    ]


def test_the_terminal_shows_the_same() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(show_mine(made_run()))
    text = console.export_text()
    for part in ("only your layers", "80.0 times", "04_layers.py:212", "reference:"):
        assert part in text, part
