"""The tables of the course agree with the checkout, and names that users type are found."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tito.course.modules import (
    CHECKPOINTS,
    ERAS,
    MILESTONES,
    MODULES,
    find_checkpoint,
    find_milestone,
    find_module,
    module_number,
)
from tito.errors import CourseError

ROOT = Path(__file__).parents[2]


def test_modules_are_the_files_and_folders_of_the_checkout():
    rules = tomllib.loads((ROOT / "tests" / "architecture.toml").read_text())
    assert {module.name: module.number for module in MODULES} == rules["modules"]
    for module in MODULES:
        assert (ROOT / "modules" / module.folder).is_dir()
        assert (ROOT / "tinytorch" / f"{module.name}.py").is_file()
        assert module_number(module.number) is module


@pytest.mark.parametrize("text", ["2", "02", "02_tensor", "tensor", "Tensor", " 02_tensor.py "])
def test_a_module_is_found_by_each_of_its_names(text):
    assert find_module(text) == MODULES[1]


def test_the_first_module_has_two_names():
    assert find_module("setup") == find_module("environment") == find_module("01_setup") == MODULES[0]


@pytest.mark.parametrize(("text", "guess"), [("tensr", "02 tensor"), ("02_tensors", "02 tensor"), ("attentoin", "13")])
def test_a_misspelled_module_gets_a_suggestion(text, guess):
    with pytest.raises(CourseError, match=f"module '{text}': expected .* did you mean {guess}"):
        find_module(text)


@pytest.mark.parametrize("text", ["0", "21", "", "-1", "2.0", "..", "zzz"])
def test_an_unknown_module_is_an_error_in_one_line(text):
    with pytest.raises(CourseError, match="expected a number from 1 to 20") as caught:
        find_module(text)
    assert "\n" not in str(caught.value)


def test_checkpoints_cover_all_modules_in_order_and_ask_questions():
    assert [checkpoint.number for checkpoint in CHECKPOINTS] == list(range(16))
    assert [number for checkpoint in CHECKPOINTS for number in checkpoint.modules] == list(range(1, 21))
    assert all(one.question.startswith("Can I ") and one.question.endswith("?") for one in CHECKPOINTS)


def test_a_checkpoint_is_found_by_number_and_name():
    assert find_checkpoint("7") == find_checkpoint("07") == find_checkpoint("training") == CHECKPOINTS[7]
    with pytest.raises(CourseError, match="checkpoint '16': expected a number from 0 to 15"):
        find_checkpoint("16")
    with pytest.raises(CourseError, match="did you mean Vision"):
        find_checkpoint("visoin")


def test_milestones_are_suites_of_the_checkout_and_end_the_eras():
    assert [era.last for era in ERAS] == [milestone.after_module for milestone in MILESTONES]
    assert [era.year for era in ERAS] == [milestone.year for milestone in MILESTONES]
    assert [number for era in ERAS for number in range(era.first, era.last + 1)] == list(range(1, 21))
    for milestone in MILESTONES:
        assert (ROOT / "suites" / f"{milestone.year}_{milestone.suite}" / "suite.yaml").is_file()
        assert find_milestone(milestone.suite) == find_milestone(str(milestone.year)) == milestone
    with pytest.raises(CourseError, match="milestone 'gpt5': expected one of perceptron, xor"):
        find_milestone("gpt5")
