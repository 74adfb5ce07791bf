"""`import tito.mine`, for Jupyter: tests/cli/test_python.py runs it inside a command; here, in a plain process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.cli.course import make_course, solve
from tests.cli.running import environment, tito


def run(root: Path, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env=environment(root), cwd=root, capture_output=True, text=True, check=False
    )


def test_one_import_makes_the_learners_files_tinytorch(tmp_path):
    root = make_course(tmp_path)
    tito(root, "module", "start", "3")
    solve(root, "_relu", "    return np.abs(x)\n")
    code = "import tinytorch as tt; print(tt.relu(tt.Tensor([-1.0])).item())"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"
    done = run(root, f"import tito.mine\n{code}\nimport sys; sys.stdout.flush()\n{child}")
    assert done.stdout.split() == ["1.0", "1.0"]
    assert done.stderr == "tinytorch: yours: 03 activations; reference: the rest\n"


def test_it_has_to_come_first(tmp_path):
    done = run(make_course(tmp_path), "import tinytorch, tito.mine")
    assert done.returncode == 1
    assert "tinytorch is already imported: install the overlay first" in done.stderr
    assert os.linesep.join(done.stderr.splitlines()[-1:]).startswith("ImportError")
