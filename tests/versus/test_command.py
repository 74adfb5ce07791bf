"""tito.versus.command: what it leaves out, what it refuses, and its exit codes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tinytorch.benchmarking import Comparison, Interval
from tito.errors import RequestError, RunError
from tito.versus import command, contest
from tito.versus.contest import Trouble
from tito.versus.driver import Outcome

ABSENT = Trouble("ONNX Runtime is not installed here", installed=False)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """Works that do not run, on a machine that is not examined; which were asked for, with their rivals."""
    asked: list[tuple[str, list[str]]] = []

    def run_work(name: str, rivals: list[str], *_: object) -> list[Outcome]:
        asked.append((name, rivals))
        return []

    monkeypatch.setattr(command, "run_work", run_work)
    monkeypatch.setattr(command, "bounds", lambda chosen, pinned: {})
    return asked


def test_rivals_that_cannot_run_are_named_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[str, ...]] = []

    def trouble(pinned: dict[str, str], packages: tuple[str, ...]) -> Trouble | None:
        tried.append(packages)
        return ABSENT if "onnxruntime" in packages else None

    monkeypatch.setattr(contest, "trouble", trouble)
    monkeypatch.setenv("CXX", sys.executable)
    found = command.reasons({"onnxruntime", "pytorch", "pytorch_compiled"}, {})
    assert found == {"onnxruntime": "ONNX Runtime is not installed here"}
    assert sorted(tried) == [("onnx", "onnxruntime"), ("torch",)]  # PyTorch is loaded once
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert set(command.reasons({"onnxruntime", "pytorch", "pytorch_compiled"}, {})) == {
        "onnxruntime",
        "pytorch_compiled",
    }


def test_works_without_a_rival_here_are_left_out_and_none_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {"a": ["onnxruntime", "pytorch"], "b": ["onnxruntime"]}
    assert command.runnable(chosen, {"onnxruntime": "it is not installed"}) == {"a": ["pytorch"]}
    with pytest.raises(RunError, match=r"^nothing to compare with: it is not installed; `python -m nox -s versus`"):
        command.runnable({"b": ["onnxruntime"]}, {"onnxruntime": "it is not installed"})
    monkeypatch.setenv("CXX", "no-such-compiler")
    why = command.lacks_compiler("pytorch_compiled") or ""
    with pytest.raises(RunError, match=r"no-such-compiler is not installed here; install it, or name one in CXX$"):
        command.runnable({"b": ["pytorch_compiled"]}, {"pytorch_compiled": why})


def test_a_rival_that_no_chosen_work_has_is_refused_with_the_rivals_that_there_are() -> None:
    lacking = "mlp has pytorch, pytorch_compiled; generation has pytorch"
    with pytest.raises(RequestError) as refused:
        command.choose(["mlp", "generation"], ["onnxruntime", "tinytorch_float32"])
    wanted = "--against onnxruntime, tinytorch_float32"
    assert str(refused.value) == f"{wanted}: expected a rival that a chosen work has: {lacking}"


def test_a_named_work_that_lacks_the_rival_is_left_out_with_a_line() -> None:
    chosen, lines = command.choose(["mlp", "mlp_int8"], ["onnxruntime"])
    assert chosen == {"mlp_int8": ["onnxruntime"]}
    assert lines == ["Left out: mlp has pytorch, pytorch_compiled, not onnxruntime."]
    chosen, lines = command.choose([], ["tinytorch_float32"])  # all works: that most lack a rival is no news
    assert (list(chosen), lines) == (["tinygpt_cached_int8"], [])


def test_a_library_that_is_not_installed_is_left_out_and_the_run_succeeds(
    ran: list[tuple[str, list[str]]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(contest, "trouble", lambda pinned, packages: ABSENT if "onnxruntime" in packages else None)
    assert command.main(["mlp_inference"]) == 0
    assert ran == [("mlp_inference", ["pytorch"])]
    assert capsys.readouterr().out == "Left out: ONNX Runtime (ONNX Runtime is not installed here).\n"


def test_a_library_that_is_installed_and_does_not_load_is_an_error(
    ran: list[tuple[str, list[str]]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    for name in ("onnx", "torch"):
        (tmp_path / f"{name}.py").write_text("")
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('[red]a \x1b[31mcause\\na second line')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert command.main(["mlp_inference"]) == 1
    told = r"ONNX Runtime does not load: ImportError: [red]a \x1b[31mcause; reinstall it, or choose other rivals"
    assert capsys.readouterr().err == f"versus: {told} with --against\n"
    assert ran == []


def test_a_side_that_fails_is_an_error(
    ran: list[tuple[str, list[str]]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_work(*_: object) -> list[Outcome]:
        raise RunError("mlp: pytorch failed: no message")

    monkeypatch.setattr(command, "run_work", run_work)
    monkeypatch.setattr(contest, "trouble", lambda pinned, packages: None)
    assert command.main(["mlp"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "versus: mlp: pytorch failed: no message"


def test_what_was_measured_before_ctrl_c_is_printed(
    ran: list[tuple[str, list[str]]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    better = Comparison(1.5, Interval(1.4, 1.6), "faster")
    done = Outcome("mlp", "An MLP", "one image", "pytorch", 2e-5, 3e-5, better, None, None, "Own 1", "PyTorch 3", 2)

    def run_work(name: str, *_: object) -> list[Outcome]:
        if name == "gpt":
            raise KeyboardInterrupt
        return [done]

    monkeypatch.setattr(command, "run_work", run_work)
    monkeypatch.setattr(contest, "trouble", lambda pinned, packages: None)
    with pytest.raises(KeyboardInterrupt):
        command.main(["mlp", "gpt", "--against", "pytorch"])
    text = capsys.readouterr().out
    assert "1.50 (1.40 to 1.60)" in text
    assert "Own 1, PyTorch 3; 2 threads each" in text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--rounds", "x"), "argument --rounds: 'x': expected a whole number of at least 5; "),
        (("--rounds", "4"), "argument --rounds: '4': expected a whole number of at least 5; "),
        (("--rounds", "-5"), "argument --rounds: '-5': expected a whole number of at least 5; "),
        (("--against", "jax"), "argument --against: invalid choice: 'jax' (choose from "),
        (("--bogus\x1b[2J",), "unrecognized arguments: --bogus\\x1b[2J; `python -m tito.versus --help` shows"),
        (("mlp_infrence",), "no work is named 'mlp_infrence' (did you mean mlp_inference?); available: cnn, "),
    ],
)
def test_wrong_arguments_are_one_line(
    arguments: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"versus: {told}")
