"""tito.process.inside: a child sends thinned, finite JSON; every failure is one line that names its place."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tito.bench.workload import load_workload
from tito.process.inside import Reporter, WorkloadError, reason


@pytest.fixture
def reporter() -> Reporter:
    return Reporter(io.StringIO())


def sent(reporter: Reporter) -> str:
    """All that was written."""
    assert isinstance(reporter._pipe, io.StringIO)
    return reporter._pipe.getvalue()


def events(reporter: Reporter) -> list[dict[str, Any]]:
    return [json.loads(line) for line in sent(reporter).splitlines()]


def test_it_imports_nothing_of_the_framework_before_the_job_is_read() -> None:
    code = "import sys, tito.process.inside; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "numpy" in loaded.split()
    assert not {"tinytorch", "pydantic", "psutil"} & set(loaded.split())


def test_numbers_and_arrays_of_numpy_are_sent_as_json(reporter: Reporter) -> None:
    reporter.send("result", number=np.float32(0.5), array=np.arange(3))
    assert events(reporter)[-1] == {"event": "result", "number": 0.5, "array": [0, 1, 2]}
    with pytest.raises(
        WorkloadError, match=r"the workload returned set .*, which is not a number, text, list, or dict"
    ):
        reporter.send("result", odd={1})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import nothing_of_that_name\n", r"^ModuleNotFoundError: .* \(workload.py line 1\)$"),
        ("\n\ndef load(:\n", r"^SyntaxError: .* \(workload.py line 3\)$"),
    ],
)
def test_a_workload_that_cannot_be_imported_names_the_line(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "workload.py"
    path.write_text(text)
    with pytest.raises((ImportError, SyntaxError)) as caught:
        load_workload(path)
    assert re.match(expected, reason(caught.value, str(path)))


def test_progress_is_thinned_but_the_last_report_arrives(reporter: Reporter) -> None:
    with reporter.phase("train"):
        for i in range(1, 10_001):
            reporter.progress(i, 10_000, loss=0.5)
    progress = [event for event in events(reporter) if event["event"] == "progress"]
    assert progress[0]["done"] == 0
    assert progress[-1] == {
        "event": "progress", "phase": "train", "done": 10_000, "total": 10_000, "figures": {"loss": 0.5}
    }  # fmt: skip
    assert len(progress) < 100


def test_figures_that_are_not_finite_are_sent_as_null(reporter: Reporter) -> None:
    reporter.progress(1, 1, loss=float("nan"), rate=float("inf"), accuracy=0.5)
    assert "NaN" not in sent(reporter)
    assert events(reporter)[-1]["figures"] == {"loss": None, "rate": None, "accuracy": 0.5}


def test_a_report_that_is_no_number_is_the_workloads_error(reporter: Reporter) -> None:
    with pytest.raises(ValueError, match="high"):
        reporter.progress(1, 1, accuracy="high")  # type: ignore[arg-type]
