"""tito.versus.contest: the same work on both sides in every round, or no figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tito.errors import RunError
from tito.versus import contest
from tito.versus.contest import Contest

NOTED = """
class A:
    def __del__(self): raise ValueError("last")
import sys
sys.a = A()
raise ImportError("a cause") from KeyError("before")
"""


def outcome(seconds: float, *check: float) -> Contest:
    return Contest(np.array(check), {"a text": seconds})


@pytest.mark.parametrize(
    ("torch", "why"),
    [
        ("raise ImportError('libtorch\\x1b[31m is not here')", "PyTorch does not load: ImportError: libtorch\\x1b"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "PyTorch does not load: Segmentation fault"),
        ("import time; time.sleep(60)", "PyTorch did not load within 1 s"),
        ("raise ImportError('a cause\\n  more\\nlast')", "PyTorch does not load: ImportError: a cause"),
        ("raise ImportError('\\n\\nREAD THIS:\\n\\nlast')", "PyTorch does not load: ImportError: READ THIS:"),
        (NOTED, "PyTorch does not load: ImportError: a cause"),
        ("import nothing_of_that_name", "PyTorch does not load: ModuleNotFoundError: No module named 'nothing_of"),
        ("", None),
    ],
    ids=["broken", "crashes", "hangs", "two lines", "begins empty", "more at exit", "lacks a module", "whole"],
)
def test_a_pytorch_that_does_not_load_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch: str, why: str | None
) -> None:
    (tmp_path / "torch.py").write_text(torch)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(contest, "IMPORT_TIMEOUT", 1.0 if "sleep" in torch else 60.0)
    found = contest.missing({}, ("torch",))
    assert found is None if why is None else str(found).startswith(why), found
    assert "last" not in str(found)


def test_a_contender_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contest, "TIMEOUT", 0.01)
    with pytest.raises(RunError, match=r"^mlp: tinytorch took longer than 0.01 s$"):
        contest.run_contender("mlp", "tinytorch", {})


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [((1.0, 2.0), (1.0,)), ((1.0,), (float("nan"),)), ((float("inf"),), (float("inf"),)), ((1.0,), (1.01,))],
    ids=["shapes", "NaN", "infinity", "more than rounding"],
)
def test_what_is_not_the_same_work(ours: tuple[float, ...], theirs: tuple[float, ...]) -> None:
    with pytest.raises(RunError, match="did not do the same work"):
        contest.same_work("work", "pytorch", outcome(1.0, *ours), outcome(1.0, *theirs))


def test_sides_with_different_numbers_of_threads_are_not_compared() -> None:
    two, one = (Contest(np.array([1.0]), {"a text": 1.0}, "a library", threads) for threads in (2, 1))
    with pytest.raises(RunError, match=r"^work: tinytorch used 2 threads and pytorch 1: expected as many$"):
        contest.same_work("work", "pytorch", two, one)


def test_all_packages_of_a_rival_are_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "onnx.py").write_text("")
    (tmp_path / "onnxruntime.py").write_text("raise ImportError(\"No module named 'onnxruntime'\")")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert contest.missing({}, ("onnx",)) is None
    assert contest.missing({}, ("onnx", "onnxruntime")) == "ONNX Runtime is not installed here"
    assert contest.trouble({}, ("onnxruntime",)) == contest.Trouble(
        "ONNX Runtime is not installed here", installed=False
    )
    (tmp_path / "onnxruntime.py").write_text("import onnxruntime_capi")
    found = contest.trouble({}, ("onnxruntime",))
    assert found
    assert found.installed  # it lacks a package of its own


def test_a_work_that_fails_says_so_in_one_line() -> None:
    with pytest.raises(RunError, match=r"^no_such_work: tinytorch failed: .*No module named 'tito.versus.works.no_"):
        contest.run_contender("no_such_work", "tinytorch", {})
