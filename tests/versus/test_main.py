"""`python -m tito.versus`: how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

INTERRUPT = "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(60)"


@pytest.mark.parametrize("code", [INTERRUPT, f"exec({INTERRUPT!r})"], ids=["plain", "inside exec"])
@pytest.mark.parametrize("library", ["rich", "numpy", "argparse"])
def test_ctrl_c_during_the_imports_is_one_line(library: str, code: str, tmp_path: Path) -> None:
    (tmp_path / f"{library}.py").write_text(code)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "tito.versus", "mlp"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "versus: interrupted\n")


def test_wrong_arguments_end_it_with_2() -> None:
    command = [sys.executable, "-m", "tito.versus", "--rounds", "no"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
