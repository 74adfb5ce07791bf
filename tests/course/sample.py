"""A small course for tests: a checkout with the real tinytorch and two short exercises, and answers to them."""

from __future__ import annotations

from pathlib import Path

from tito.course.blank import fill, reference_answers
from tito.course.exercise import Exercise, load_exercise
from tito.course.modules import Module, find_module
from tito.course.workspace import Workspace
from tito.project import Project, find_project

ROOT = Path(__file__).parents[2]
TENSOR, ACTIVATIONS = find_module("tensor"), find_module("activations")

EXERCISES = {
    "02_tensor": """
file = "tensor"

[[step]]
title = "Shapes"
names = ["Tensor.flatten", "Tensor.transpose"]
hint = "Both use operations that exist."
tests = ["test_flatten", "test_transpose"]

[[step]]
title = "Joining"
names = ["stack"]
hint = "A new dimension, and then cat."
tests = ["test_stack[0]", "TestStack::test_of_one"]
""",
    "03_activations": """
file = "activations"

[[step]]
title = "ReLU"
names = ["_relu"]
hint = "The larger of two."
tests = ["test_relu"]

[[step]]
title = "Softmax"
names = ["_softmax"]
hint = "Subtract the maximum."
tests = ["test_softmax"]
from = { "_softmax" = "e = np.exp" }
""",
}

TESTS = {
    "02_tensor": '''
"""Tests of the sample's module 02."""

import numpy as np
import pytest

import tinytorch as tt


def test_flatten():
    assert tt.zeros(2, 3, 4).flatten(1).shape == (2, 12)


def test_transpose():
    np.testing.assert_array_equal(tt.Tensor([[1.0, 2.0]]).transpose(0, 1).data, np.array([[1.0], [2.0]]))


@pytest.mark.parametrize("dim", [0, 1])
def test_stack(dim):
    assert tt.stack([tt.zeros(3), tt.zeros(3)], dim).shape == ((2, 3) if dim == 0 else (3, 2))


class TestStack:
    def test_of_one(self):
        assert tt.stack([tt.zeros(3)]).shape == (1, 3)


def test_that_belongs_to_no_step():
    assert tt.zeros(1).ndim == 1


@pytest.mark.beyond
def test_beyond():
    assert False, "does not grade"
''',
    "03_activations": '''
"""Tests of the sample's module 03."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import tinytorch as tt


@given(st.integers(-9, 9))
def test_relu(number):
    assert tt.relu(tt.Tensor([float(number)])).item() == max(number, 0)


def test_softmax():
    got = tt.softmax(tt.zeros(1, 3, 2).flatten(1), 1)
    np.testing.assert_allclose(got.data, np.full((1, 6), 1 / 6), rtol=1e-6)
''',
}


def make_course(root: Path) -> Project:
    """Write the sample course into a folder."""
    (root / "suites").mkdir(parents=True)
    (root / "pyproject.toml").write_text("")
    (root / "tinytorch").symlink_to(ROOT / "tinytorch", target_is_directory=True)
    for folder, text in EXERCISES.items():
        place = root / "modules" / folder
        place.mkdir(parents=True)
        (place / "exercise.toml").write_text(text)
        (place / f"test_{folder[3:]}.py").write_text(TESTS[folder])
    return find_project(root)


def exercise(project: Project, module: Module = TENSOR) -> Exercise:
    """Return one of the two exercises."""
    return load_exercise(project, module)


def solve(project: Project, workspace: Workspace, module: Module, *names: str, **answers: str) -> None:
    """Put the reference's answers into a learner's file: of these names, or of all; `answers` replace some."""
    found = exercise(project, module)
    workspace.start(found)
    solution = {name: text for name, text in reference_answers(found).items() if not names or name in names}
    solution |= {name.replace("__", "."): text for name, text in answers.items()}
    path = workspace.file(module)
    path.write_text(fill(path.read_text(), solution))
