"""tito.course.failures: a failure states what was expected, what came, and the learner's own line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tito.course.failures import LONGEST, Comparison, explain, last_own_frame, shown


def caught(code: str, file: str) -> BaseException:
    """Return what a program raises, as if it were this file."""
    try:
        exec(compile(code, file, "exec"), {"np": np, "pytest": pytest})
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def test_error_in_the_learners_file_names_its_line_and_not_the_librarys() -> None:
    error = caught("x = 1\nnp.zeros(3).reshape(2)\n", "/w/02_tensor.py")
    found = explain(error, {"tensor": "/w/02_tensor.py"})
    assert (found["file"], found["line"]) == ("/w/02_tensor.py", 2)
    assert found["why"] == "ValueError: cannot reshape array of size 3 into shape (2,)"
    assert (found["expected"], found["got"]) == (None, found["why"])


def test_error_that_another_one_hides_still_names_the_line() -> None:
    error = ValueError("hidden")
    error.__cause__ = caught("1 / 0", "/w/02_tensor.py")
    assert explain(error, {"tensor": "/w/02_tensor.py"})["line"] == 1


def test_arrays_that_differ_are_expected_and_got() -> None:
    error = caught("np.testing.assert_allclose(np.array([1.0, 2.0]), np.array([1.0, 3.0]))", "/t.py")
    found = explain(error, {})
    assert (found["expected"], found["got"]) == ("array([1., 3.])", "array([1., 2.])")
    assert found["why"].startswith("Not equal to tolerance rtol=1e-07")
    assert (found["file"], found["line"]) == (None, None)


def test_error_that_was_not_raised_is_expected() -> None:
    error = caught("with pytest.raises(ValueError):\n    pass", "/t.py")
    found = explain(error, {})
    assert (found["expected"], found["got"]) == ("ValueError", "no error")


def test_other_message_of_an_error_is_got() -> None:
    error = caught("with pytest.raises(ValueError, match='two'):\n    raise ValueError('one')", "/t.py")
    found = explain(error, {})
    assert found["expected"] == "an error that matches 'two'"
    assert found["got"] == "'one'"


@pytest.mark.parametrize(("op", "expected"), [("==", "2"), ("<", "< 2"), ("is not", "is not 2")])
def test_comparison_is_expected_and_got(op: str, expected: str) -> None:
    found = explain(AssertionError("assert 1 == 2"), {}, Comparison.of(op, 1, 2))
    assert (found["expected"], found["got"]) == (expected, "1")


def test_long_values_broken_reprs_and_control_characters_are_harmless() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise ZeroDivisionError

    assert shown(Broken()) == "<Broken, whose repr raises ZeroDivisionError>"
    assert len(shown("x" * 10_000)) == LONGEST
    assert "\x1b" not in explain(ValueError("\x1b[2J"), {})["why"]


def test_innermost_own_line_of_a_dump_is_found(tmp_path: Path) -> None:
    dump = (
        "Timeout (0:00:07)!\nThread 0x1 (most recent call first):\n"
        '  File "/lib/numpy.py", line 3 in dot\n  File "/w/m\\xf6/02_tensor.py", line 7 in stack\n'
        '  File "/w/m\\xf6/02_tensor.py", line 9 in cat\n'
    )
    assert last_own_frame(dump, {"/w/mö/02_tensor.py"}) == ("/w/mö/02_tensor.py", 7)
    assert last_own_frame(dump, {"/other.py"}) is None
