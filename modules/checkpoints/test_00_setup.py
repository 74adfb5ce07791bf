"""Checkpoint 00: can I set up my environment? Facts of this machine become the settings of a tuned child process."""

from __future__ import annotations

import os
import subprocess
import sys

from tinytorch.environment import machine, parse_cpuinfo, tuned_environment, usable_cores

CHILD = """
import os
import numpy as np
from tinytorch.environment import blas
assert blas().threads in (1, None), f"BLAS runs {blas().threads} threads in a child that was tuned for one"
print(os.environ["OPENBLAS_NUM_THREADS"], (np.ones((8, 8)) @ np.ones((8, 8)))[0, 0])
"""


def test_the_machine_describes_itself() -> None:
    found = machine()
    assert found.cores == usable_cores() >= 1
    assert found == machine(), "the same machine has the same fingerprint"
    assert len(found.fingerprint) == 12


def test_the_text_of_a_processor_becomes_its_name_and_features() -> None:
    text = "processor\t: 0\nmodel name\t: Made CPU\nflags\t\t: fpu avx2 fma\n\nprocessor\t: 1\nmodel name\t: Made CPU\n"
    name, flags = parse_cpuinfo(text)
    assert name == "Made CPU"
    assert {"avx2", "fma"} <= flags


def test_a_child_process_runs_with_the_tuned_settings() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        env=os.environ | tuned_environment(1),
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "8.0"]
