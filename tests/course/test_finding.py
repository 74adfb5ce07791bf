"""What a learner means by the second argument of `tito module test`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tito.course.exercise import Exercise, Step
from tito.course.finding import changes, current_step, find_name, find_step
from tito.course.modules import find_module
from tito.course.workspace import Workspace
from tito.errors import CourseError

STEPS = (
    Step(title="Sums", names=("Tensor.sum", "Tensor.mean"), hint="h", tests=("test_sum", "TestMean::test_mean")),
    Step(title="Rows", names=("RULES[sum]", "_getitem"), hint="h", tests=("test_row[1]",)),
)
EXERCISE = Exercise(find_module("02"), Path("exercise.toml"), Path("tensor.py"), STEPS)


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("1", 0),
        ("2", 1),
        ("sums", 0),
        ("Rows", 1),
        ("Tensor.mean", 0),
        ("mean", 0),
        ("getitem", 1),
        ("_getitem", 1),
        ("test_sum", 0),
        ("TestMean::test_mean", 0),
        ("RULES[sum]", 1),
    ],
)
def test_a_step_is_found_by_everything_that_belongs_to_it(text, step):
    assert find_step(EXERCISE, text) == step


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("0", "step 0: module 02 tensor has steps 1 to 2"),
        ("3", "step 3: module 02 tensor has steps 1 to 2"),
        ("sum", "'sum' is several names of module 02 tensor: Tensor.sum, RULES\\[sum\\]"),
        ("meen", "did you mean Tensor.mean"),
        ("test_sun", "did you mean test_sum"),
        ("xyz", "expected a step from 1 to 2, or Tensor.sum, Tensor.mean, RULES\\[sum\\], _getitem"),
        ("", "is no step, name, or test"),
    ],
)
def test_anything_else_is_an_error_in_one_line(text, complaint):
    with pytest.raises(CourseError, match=complaint) as caught:
        find_step(EXERCISE, text)
    assert "\n" not in str(caught.value)


def test_a_name_may_be_short_if_it_is_the_only_one():
    assert find_name(EXERCISE, "mean") == "Tensor.mean"
    assert find_name(EXERCISE, "Tensor.sum") == "Tensor.sum"
    with pytest.raises(CourseError, match="several names"):
        find_name(EXERCISE, "sum")


def test_the_current_step_of_an_untested_module_is_the_first(tmp_path):
    assert current_step(Workspace(tmp_path), EXERCISE) == 0


def test_changes_are_seen_when_they_happen(tmp_path):
    file = tmp_path / "02_tensor.py"
    file.write_text("a = 1\n")
    seen = changes(Workspace(tmp_path), EXERCISE.module, interval=0.001)
    next(seen)
    os.utime(file, ns=(1, 1))
    next(seen)
    file.write_text("a = 2222\n")
    next(seen)
    file.unlink()
    next(seen)
