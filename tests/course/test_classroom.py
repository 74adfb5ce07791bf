"""A class: who is in it, what its table says, and what survives an interruption."""

from __future__ import annotations

import csv
import io

import pytest

from tito.course.classroom import (
    ModuleGrade,
    Row,
    as_csv,
    find_students,
    harmless,
    parse_modules,
    read_rows,
    student_name,
)
from tito.course.modules import find_module
from tito.errors import CourseError

MODULES = [find_module("2"), find_module("3")]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("2-4", [2, 3, 4]), ("2", [2]), ("04,2", [2, 4]), ("tensor-layers", [2, 3, 4]), ("2-3,3-4,9", [2, 3, 4, 9])],
)
def test_modules_are_chosen_by_ranges_and_names(text, numbers):
    assert [module.number for module in parse_modules(text)] == numbers


@pytest.mark.parametrize("text", ["", "2-", "-2", "4-2", "2,,3", "x"])
def test_a_wrong_choice_is_an_error(text):
    with pytest.raises(CourseError):
        parse_modules(text)


def test_students_are_subfolders_with_or_without_a_workspace_in_them(tmp_path):
    for path in ("anna", "ben/workspace", ".hidden", "empty"):
        (tmp_path / path).mkdir(parents=True)
    for path in ("anna", "ben/workspace", ".hidden"):
        (tmp_path / path / "02_tensor.py").write_text("")
    (tmp_path / "grades.csv").write_text("")
    found = find_students(tmp_path)
    assert [student_name(tmp_path, path) for path in found] == ["anna", "ben", "empty"]
    assert found[1] == tmp_path / "ben" / "workspace"


def test_a_folder_without_workspaces_is_an_error(tmp_path):
    with pytest.raises(CourseError, match="no workspace in it"):
        find_students(tmp_path)
    with pytest.raises(CourseError, match="no such folder"):
        find_students(tmp_path / "missing")


def test_the_table_has_a_cell_a_step_a_message_and_a_share():
    grades = {"02": ModuleGrade((True, False), 'why, "so"\n', 0.5, 1.0), "03": ModuleGrade((), "not started")}
    text = as_csv([Row("=cmd", "f", grades)], MODULES, {"02": 2, "03": 1})
    (row,) = csv.DictReader(io.StringIO(text))
    assert row == {
        "student": "'=cmd",
        "02.1": "1",
        "02.2": "0",
        "02 message": 'why, "so"\\n',
        "02 equal": "0.50",
        "03.1": "",
        "03 message": "not started",
        "03 equal": "",
    }


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x"])
def test_no_cell_is_a_formula(text):
    assert harmless(text) == f"'{text}"
    assert harmless(f"x{text}") == f"x{text}"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"version": 1}', '{"version": 1, "students": [{}]}'])
def test_damaged_results_are_found_again_by_grading(tmp_path, text):
    assert read_rows(tmp_path) == {}
    (tmp_path / "grades.json").write_text(text)
    assert read_rows(tmp_path) == {}
