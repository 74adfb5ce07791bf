"""tito.compete.problems: each refusal has a known code and is one printable line."""

from __future__ import annotations

import pytest

from tito.compete.problems import CODES, Problem, RefusedError, codes_table, shown
from tito.errors import TitoError

ISSUE = """
name not-plain files too-large manifest version text hash model tensors not-finite task cache technique parent lineage
taken same-model changed memory time died answers repeats ahead cached unsteady seal
"""


def test_the_codes_are_those_that_were_promised() -> None:
    assert set(CODES) == set(ISSUE.split())


def test_a_problem_names_file_and_field() -> None:
    problem = Problem("text", "submission.json", "title", "81 characters", "1 to 80")
    assert str(problem) == "text submission.json: title: found 81 characters, expected 1 to 80"
    assert str(Problem("files", "x", "", "a link", "nothing")) == "files x: found a link, expected nothing"


def test_an_unknown_code_is_a_mistake_of_the_program() -> None:
    with pytest.raises(ValueError, match="'oops' is not a code"):
        Problem("oops", "", "", "", "")


def test_what_a_stranger_wrote_reaches_no_terminal() -> None:
    problem = Problem("files", "a\x1b[2J\nb\u202e", "f\ud800\xa0", "x" * 10_000, "")
    assert str(problem).isprintable()
    assert len(str(problem)) < 700


def test_a_refusal_holds_all_problems_a_line_each() -> None:
    problems = [Problem("files", f"file{i}", "", "nothing", "a file") for i in range(3)]
    error = RefusedError(iter(problems))
    assert isinstance(error, TitoError)
    assert error.problems == tuple(problems)
    assert str(error).splitlines() == [str(problem) for problem in problems]


def test_values_of_any_size_are_shown_shortly() -> None:
    assert len(shown("x" * 100_000)) < 40
    assert shown(10**5000) == "a number of thousands of digits"


def test_the_table_of_the_documentation_has_a_row_for_each_code() -> None:
    lines = codes_table().splitlines()
    assert lines[:2] == ["| code | meaning |", "|---|---|"]
    assert [line.split("`")[1] for line in lines[2:]] == list(CODES)
    assert all(meaning.endswith(".") and "|" not in meaning for meaning in CODES.values())
