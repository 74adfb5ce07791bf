"""tito.versus.tables: what `python -m tito.versus` prints."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest
from rich.console import Console

from tinytorch.benchmarking import Comparison, Interval
from tito.versus import tables
from tito.versus.contender import Rate
from tito.versus.driver import Outcome

BETTER = Comparison(1.5, Interval(1.4, 1.6), "faster")


def outcome(rival: str, bar: float | None = None, rate: Rate | None = None) -> Outcome:
    own, library = "TinyTorch 1 with numpy", "ONNX Runtime 2" if rival == "onnxruntime" else "PyTorch 3"
    return Outcome("work", "A work", "one image", rival, 2e-5, 3e-5, BETTER, bar, rate, own, library, 2)


def shown(*outcomes: Outcome, width: int = 100) -> str:
    screen = io.StringIO()
    Console(file=screen, width=width).print(tables.table("A work", list(outcomes)))
    return screen.getvalue()


def test_table_names_each_rival_with_its_bar() -> None:
    text = shown(outcome("onnxruntime", 2.0), outcome("pytorch_channels_last", 1.0), outcome("pytorch"))
    assert [" ".join(line.split()) for line in text.splitlines() if "µs" in line] == [
        "ONNX Runtime 20 µs 30 µs 1.50 (1.40 to 1.60) 2 missed",
        "PyTorch, channels-last 20 µs 30 µs 1.50 (1.40 to 1.60) 1 met",
        "PyTorch 20 µs 30 µs 1.50 (1.40 to 1.60)",
    ]
    narrow = shown(outcome("pytorch_channels_last", 1.11), width=80)
    assert "PyTorch, channels-last" in narrow
    assert "1.50 (1.40 to 1.60)   1.11 met" in narrow


def test_a_goal_without_a_rival_is_a_rate_of_its_own() -> None:
    for goal, verdict in ((12_000_000, "12,000,000 met"), (13_000_000, "13,000,000 missed")):
        text = shown(outcome("pytorch", rate=Rate(256, "tokens", goal)))
        assert f"one image 12,800,000 tokens/s {verdict}" in [" ".join(line.split()) for line in text.splitlines()]


def test_footer_states_libraries_and_threads_once() -> None:
    text = tables.footer([outcome("onnxruntime"), outcome("pytorch"), outcome("onnxruntime")], 5, "Zen")
    first = "TinyTorch 1 with numpy, ONNX Runtime 2, PyTorch 3; 2 threads each, OpenBLAS kernel Zen."
    assert text.splitlines()[0] == first


def test_a_line_is_printed_as_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    tables.Screen().tell("Left out: PyTorch (ImportError: [red]it[/red] is \x1b[31mnot :bug: here).")
    text = capsys.readouterr().out
    assert text == "Left out: PyTorch (ImportError: [red]it[/red] is \\x1b[31mnot :bug: here).\n"


def test_a_reader_that_closes_the_pipe_does_not_end_the_run() -> None:
    code = (
        "import sys; from tito.versus import tables\n"
        "for error in (False, True):\n"
        "    screen = tables.Screen(stderr=error)\n"
        "    for _ in range(3): screen.tell('a line')\n"
        "tables.say('a message')\n"
        "sys.exit(7)"
    )
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-c", code], stdout=writing, stderr=writing, check=False, timeout=60)
    os.close(writing)
    assert done.returncode == 7
