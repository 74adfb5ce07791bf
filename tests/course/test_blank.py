"""tito.course.blank: blanked bodies leave no answer behind, and what is put back is what was there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tito.course.blank import answers_in, blank, body_of, dedented, fill, is_blank, prepared, reference_answers
from tito.course.exercise import Edit, Exercise, Given, Step
from tito.course.modules import MODULES
from tito.errors import CourseError

SOURCE = '''"""A module."""

from __future__ import annotations

import functools
from collections.abc import Callable

SIZE = 3  # öäü


@functools.cache
def double(x: int, *, by: int = 2) -> int:  # the factor
    """Return x times `by`."""
    # the answer is a product
    y = x * by

    return y
    # and nothing else


def bare(x: int) -> int:
    # no docstring
    return x + 1


async def later(x: int) -> int:
    """Return x."""

    return x


def checked(x: int) -> int:
    """Return x after a check."""
    if x < 0:
        raise ValueError("x")
    # halves
    half = x // 2
    text = """
text at the margin
"""
    return half * len(text)


class Counter:
    """Counts."""

    class Inner:
        def inside(self) -> int:
            return 1

    @property
    def total(self) -> int:
        return 5

    def next(
        self,
        step: int = 1,
    ) -> int:
        """Return the next number."""
        def nested() -> int:
            return step

        return nested()


TABLE: dict[str, object] = {
    "plus": (lambda a, b: a + b,
             lambda ä, b: (ä
                           - b)),
    "none": (None, lambda a: {"key": [x for x in a]}),
    min: max,
}
TABLE["minus"] = lambda a, b: a - b
'''

NAMES = ("double", "bare", "later", "Counter.next", "Counter.Inner.inside", "Counter.total", "TABLE[plus]")
MORE = ("TABLE[none]", "TABLE[minus]", "checked")


def exercise(*names: str, given: tuple[Given, ...] = (), edit: tuple[Edit, ...] = (), **starts: str) -> Exercise:
    step = Step.model_validate({"title": "t", "names": names, "hint": "h", "tests": ["test_x"], "from": starts})
    return Exercise(MODULES[1], Path("exercise.toml"), Path("source.py"), (step,), given, edit)


ALL = exercise(*NAMES, *MORE, checked="half = ")


def test_blank_can_be_run_and_keeps_signatures_docstrings_and_decorators() -> None:
    text = blank(SOURCE, ALL)
    before, after = ast.parse(SOURCE), ast.parse(text)

    def outlines(tree: ast.AST) -> list[tuple[str, str, str | None, list[str]]]:
        functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
        return [
            (n.name, ast.unparse(n.args), ast.get_docstring(n), [ast.unparse(d) for d in n.decorator_list])
            for n in functions
            if n.name != "nested"
        ]

    assert outlines(before) == outlines(after)
    exec(compile(text, "blank", "exec"), {"__name__": "blank"})


def test_blank_leaves_no_answer_and_no_comment_of_one() -> None:
    text = blank(SOURCE, ALL)
    for gone in ("product", "x * by", "nothing else", "no docstring", "x + 1", "return 1", "nested", "halves", "a - b"):
        assert gone not in text
    for kept in ("# the factor", "if x < 0", "# öäü", "min: max", "(None, lambda a: yours("):
        assert kept in text
    assert text.count("yours to write") == 7


def test_blank_raises_the_name_of_what_is_missing() -> None:
    namespace: dict[str, object] = {"__name__": "blank"}
    exec(compile(blank(SOURCE, ALL), "blank", "exec"), namespace)
    with pytest.raises(NotImplementedError, match=r"^02 double: yours to write$"):
        namespace["double"](1)  # type: ignore[operator]
    with pytest.raises(NotImplementedError, match=r"^02 TABLE\[plus\]: yours to write$"):
        namespace["TABLE"]["plus"][1](1, 2)  # type: ignore[index]
    with pytest.raises(NotImplementedError, match=r"^02 TABLE\[minus\]: yours to write$"):
        namespace["TABLE"]["minus"](1, 2)  # type: ignore[index]


def test_filling_with_the_removed_bodies_restores_the_source() -> None:
    answers = answers_in(prepared(SOURCE, ALL), ALL, "source.py")
    filled = fill(blank(SOURCE, ALL), answers)
    assert filled.replace("from tinytorch.base.errors import yours\n", "") == SOURCE


def test_filling_one_name_leaves_the_others_blank() -> None:
    answers = answers_in(prepared(SOURCE, ALL), ALL, "source.py")
    text = fill(blank(SOURCE, ALL), {"double": answers["double"]})
    assert not is_blank(text, "double")
    assert is_blank(text, "TABLE[plus]")
    assert all(is_blank(text, name) for name in ALL.names if name != "double")


def test_answer_with_another_indentation_is_moved_but_its_texts_are_not() -> None:
    answer = body_of(SOURCE, "checked", "half = ")
    text = fill(blank(SOURCE, exercise("Counter.next")), {"Counter.next": answer})
    assert "        half = x // 2\n" in text
    assert '\ntext at the margin\n"""\n        return half' in text


def test_whole_answer_replaces_the_checks_that_were_left() -> None:
    left = exercise("checked", checked="half = ")
    text = fill(blank(SOURCE, left), {"checked": "    return 1\n"}, whole=True)
    assert body_of(text, "checked") == "    return 1\n"
    assert 'raise ValueError("x")' in body_of(fill(blank(SOURCE, left), {"checked": "    return 1\n"}), "checked")


def test_plain_answer_need_not_repeat_the_checks() -> None:
    assert body_of("def checked(x):\n    return x\n", "checked", "half = ") == "    return x\n"
    assert body_of("def checked(x):\n    if x: pass\n    half = 1\n", "checked", "half = ") == "    half = 1\n"


def test_simpler_body_and_edit_are_applied_first() -> None:
    given = (Given(name="double", body="return x + x"),)
    text = prepared(SOURCE, exercise("bare", given=given, edit=(Edit(find="SIZE = 3", replace="SIZE = 4"),)))
    assert body_of(text, "double") == "    return x + x\n"
    assert "SIZE = 4  # öäü" in text
    assert '"""Return x times `by`."""' in text


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (exercise("nobody"), "source.py: nothing is named nobody: expected a function, Class.method, or TABLE"),
        (exercise("TABLE[nobody]"), "nothing is named TABLE"),
        (exercise("Counter"), "nothing is named Counter"),
        (exercise("TABLE[min]"), "the row has no lambda"),
        (exercise("checked", checked="third = "), "no statement of checked begins with 'third ='"),
        (exercise("bare", edit=(Edit(find="x", replace="y"),)), "edit: 'x' occurs [0-9]+ times: expected once"),
    ],
)
def test_exercise_that_does_not_fit_is_an_error(wrong: Exercise, message: str) -> None:
    with pytest.raises(CourseError, match=message):
        blank(SOURCE, wrong)


def test_answers_are_shown_without_indentation() -> None:
    assert dedented(body_of(SOURCE, "Counter.total")) == "return 5\n"


def test_reference_answers_come_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "source.py"
    path.write_text(SOURCE)
    step = Step.model_validate({"title": "t", "names": ["bare"], "hint": "h", "tests": ["test_x"]})
    found = Exercise(MODULES[1], tmp_path / "exercise.toml", path, (step,))
    assert reference_answers(found) == {"bare": "    # no docstring\n    return x + 1\n"}
