"""`python -m tito.versus`: what it prints, and what it leaves out."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console

from tinytorch.benchmarking import Comparison, Interval
from tito.errors import RunError
from tito.versus import __main__ as command
from tito.versus import contest
from tito.versus.contender import Rate
from tito.versus.driver import Outcome

BETTER = Comparison(1.5, Interval(1.4, 1.6), "faster")


def outcome(rival: str, bar: float | None = None, rate: Rate | None = None) -> Outcome:
    own, library = "TinyTorch 1 with numpy", "ONNX Runtime 2" if rival == "onnxruntime" else "PyTorch 3"
    return Outcome("work", "A work", "one image", rival, 2e-5, 3e-5, BETTER, bar, rate, own, library, 2)


def shown(*outcomes: Outcome, width: int = 100) -> str:
    screen = io.StringIO()
    Console(file=screen, width=width).print(command.table("A work", list(outcomes)))
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
    text = command.footer([outcome("onnxruntime"), outcome("pytorch"), outcome("onnxruntime")], 5, "Zen")
    first = "TinyTorch 1 with numpy, ONNX Runtime 2, PyTorch 3; 2 threads each, OpenBLAS kernel Zen."
    assert text.splitlines()[0] == first


def test_rivals_that_cannot_run_are_named_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[str, ...]] = []

    def missing(pinned: dict[str, str], packages: tuple[str, ...]) -> str | None:
        tried.append(packages)
        return "ONNX Runtime is not installed here" if "onnxruntime" in packages else None

    monkeypatch.setattr(contest, "missing", missing)
    monkeypatch.setenv("CXX", sys.executable)
    found = command.reasons({"onnxruntime", "pytorch", "pytorch_compiled"}, {})
    assert found == {"onnxruntime": "ONNX Runtime is not installed here"}
    assert sorted(tried) == [("onnx", "onnxruntime"), ("torch",)]  # PyTorch is loaded once
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert set(command.reasons({"onnxruntime", "pytorch", "pytorch_compiled"}, {})) == {
        "onnxruntime",
        "pytorch_compiled",
    }


def test_works_without_a_rival_are_left_out_and_none_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, list[str]]] = []

    def run_work(name: str, rivals: list[str], *_: object) -> list[Outcome]:
        ran.append((name, rivals))
        return []

    monkeypatch.setattr(command, "run_work", run_work)
    chosen = {"a": ["onnxruntime", "pytorch"], "b": ["onnxruntime"]}
    command.run_all(chosen, {"onnxruntime": "it is not installed"}, 5, {}, lambda outcomes: None)
    assert ran == [("a", ["pytorch"])]
    with pytest.raises(RunError, match=r"^nothing to compare with: no work has this rival;"):
        command.run_all({"b": []}, {}, 5, {}, lambda outcomes: None)
    with pytest.raises(RunError, match=r"^nothing to compare with: it is not installed; `python -m nox -s versus`"):
        command.run_all({"b": ["onnxruntime"]}, {"onnxruntime": "it is not installed"}, 5, {}, lambda outcomes: None)
