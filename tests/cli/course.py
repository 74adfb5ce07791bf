"""A project with a course of one small module, commands on it, and what a learner writes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.cli.running import HOME, environment, make_root

EXERCISE = '''
file = "activations"

[[step]]
title = "ReLU"
names = ["_relu"]
hint = """Compare each number
with zero."""
tests = ["test_relu"]

[[step]]
title = "Sigmoid"
names = ["_sigmoid"]
hint = "Never compute exp of a large number."
tests = ["test_sigmoid_of_zero", "test_sigmoid_of_large_numbers"]
'''

TESTS = """
import numpy as np
import pytest

from tinytorch.activations import relu, sigmoid
from tinytorch.tensor import Tensor


def test_relu():
    assert relu(Tensor([-1.0, 2.0])).numpy().tolist() == [0.0, 2.0]


def test_sigmoid_of_zero():
    assert sigmoid(Tensor([0.0])).item() == 0.5


def test_sigmoid_of_large_numbers():
    np.testing.assert_allclose(sigmoid(Tensor([-1000.0, 1000.0])).numpy(), [0, 1])


@pytest.mark.beyond
def test_sigmoid_takes_no_time():
    assert sigmoid(Tensor([0.0])).item() == 7
"""

CHECKPOINT = """
from tinytorch.activations import relu
from tinytorch.tensor import Tensor


def test_relu_bends():
    assert relu(Tensor([-1.0, 2.0])).numpy().tolist() == [0.0, 2.0]
"""

RELU = "    return np.maximum(x, 0)\n"
SIGMOID = "    e = np.exp(-np.abs(x))\n    return np.where(x >= 0, 1, e) / (1 + e)\n"


def make_course(root: Path) -> Path:
    """Write a project whose course has module 03 with two steps, and checkpoint 02."""
    make_root(root)
    (root / "tinytorch").symlink_to(HOME / "tinytorch")
    folder = root / "modules" / "03_activations"
    folder.mkdir(parents=True)
    (folder / "exercise.toml").write_text(EXERCISE)
    (folder / "test_activations.py").write_text(TESTS)
    (folder / "lesson.md").write_text("# 03 Activations: a bend\n\nWithout a *bend*, layers fold into one.\n")
    checkpoints = root / "modules" / "checkpoints"
    checkpoints.mkdir()
    (checkpoints / "test_02_intelligence.py").write_text(CHECKPOINT)
    return root


def file_of(root: Path) -> Path:
    return root / "workspace" / "03_activations.py"


def solve(root: Path, name: str, body: str) -> None:
    """Write a body into the learner's file."""
    path = file_of(root)
    blank = f'    raise NotImplementedError("03 {name}: yours to write")\n'
    text = path.read_text()
    assert blank in text
    path.write_text(text.replace(blank, body))


def popen(root: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    """Start a command and leave it running."""
    return subprocess.Popen(
        [sys.executable, "-m", "tito", *arguments],
        env=environment(root) | variables,
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
