"""Commands in processes of their own, on a project that holds the tiny suite."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tito.bench.record import Record

TINY = Path(__file__).parents[1] / "bench" / "suites" / "2001_tiny"
HOME = Path(__file__).parents[2]

Run = tuple[Path, subprocess.CompletedProcess[str]]


def environment(root: Path) -> dict[str, str]:
    unseen = ("NOX_CURRENT_SESSION", "COLUMNS")  # of the process that runs the tests
    inherited = {name: value for name, value in os.environ.items() if name not in unseen}
    return inherited | {
        "TITO_ROOT": str(root),
        "TINYTORCH_BLAS_KERNEL": "inherit",
        "TINYTORCH_DATA": str(root / "data"),
        "PYTHONPATH": os.pathsep.join([str(HOME), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }


def tito(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One command in a process of its own; whatever happens, no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "tito", *arguments],
        env=environment(root),
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done


def unread(root: Path, *arguments: str, also_stderr: bool = False) -> tuple[int, str]:
    """Run a command whose reader closes the pipe at once; return its exit code, and its stderr if that is read."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tito", *arguments],
        env=environment(root),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    if also_stderr:
        process.stderr.close()
    said = "" if also_stderr else process.stderr.read()
    process.stderr.close()
    return process.wait(timeout=120), said


def make_root(root: Path, **parameters: Any) -> Path:
    """A project with the tiny suite and nothing else."""
    folder = root / "suites" / "2001_tiny"
    folder.mkdir(parents=True)
    document = yaml.safe_load((TINY / "suite.yaml").read_text())
    document["cases"][0]["parameters"] |= parameters
    document["profile"]["stack_seconds"] = 0.2
    (folder / "suite.yaml").write_text(yaml.safe_dump(document))
    shutil.copy(TINY / "workload.py", folder)
    return root


def records(root: Path) -> list[Record]:
    paths = sorted((root / "reports" / "records" / "tiny").glob("*.json"))
    return [Record.model_validate_json(path.read_bytes()) for path in paths]
