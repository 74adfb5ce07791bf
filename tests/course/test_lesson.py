"""Reading the lesson of a module."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tito.course.lesson import read_lesson
from tito.course.modules import find_module
from tito.errors import CourseError
from tito.project import find_project

PROJECT = find_project(Path(__file__))


def test_a_lesson_is_the_text_in_its_folder():
    assert read_lesson(PROJECT, find_module("16")).startswith("# 16 Acceleration")


def test_a_lesson_that_is_missing_or_not_text_is_an_error(tmp_path):
    made, module = replace(PROJECT, root=tmp_path), find_module("02")
    with pytest.raises(CourseError, match=r"lesson\.md: module 02 tensor has no lesson"):
        read_lesson(made, module)
    folder = tmp_path / "modules" / "02_tensor"
    folder.mkdir(parents=True)
    (folder / "lesson.md").write_bytes(b"caf\xe9")
    with pytest.raises(CourseError, match=r"lesson\.md: not a text file in UTF-8"):
        read_lesson(made, module)
