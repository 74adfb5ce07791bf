"""tito.course.source: names are found where they are defined, and nowhere else."""

from __future__ import annotations

import ast

import pytest

from tito.course.source import Function, Source, lambdas
from tito.errors import CourseError

TEXT = '''
from typing import overload

@overload
def f(x: int) -> int: ...
@overload
def f(x: str) -> str: ...
def f(x):
    """Return x."""
    # first
    return x
    # last

# of the module

class A:
    def g(self):
        def f(): return 1
        return f

T = {"a": lambda x: x, 1: None, min: (lambda: 0, [lambda: (lambda: 1)])}
T["b"] = lambda x: -x
'''


def test_last_definition_counts_and_nested_functions_do_not() -> None:
    source = Source(TEXT)
    found = source.function("f")
    assert found is not None
    assert ast.get_docstring(found) == "Return x."
    assert source.function("A.g") is not None
    for name in ("g", "A.f", "A.g.f", "B.g", "A"):
        assert source.function(name) is None


def test_rows_are_found_by_the_source_or_the_text_of_their_key() -> None:
    source = Source(TEXT)
    for name, value in (("T[a]", "lambda x: x"), ("T['a']", "lambda x: x"), ("T[b]", "lambda x: -x"), ("T[1]", "None")):
        found = source.row(name)
        assert found is not None
        assert source.segment(found) == value
    assert source.row("T[c]") is None
    assert source.row("U[a]") is None


def test_outermost_lambdas_of_a_row() -> None:
    found = Source(TEXT).row("T[min]")
    assert found is not None
    assert [ast.unparse(one) for one in lambdas(found)] == ["lambda: 0", "lambda: lambda: 1"]


def test_body_includes_its_comments_and_not_the_modules() -> None:
    source = Source(TEXT)
    node = source.find("f")
    assert isinstance(node, Function)
    assert source.region(*source.body(node)) == "    # first\n    return x\n    # last\n"


def test_body_on_the_line_of_its_def_is_refused() -> None:
    source = Source("def f(): return 1\n", "file.py")
    node = source.find("f")
    assert isinstance(node, Function)
    with pytest.raises(CourseError, match=r"file.py:1: f has no body of its own lines"):
        source.body(node)


def test_edits_count_bytes_not_characters() -> None:
    source = Source("x = {'ä': 'ö', 'ü': 1}  # ß\n")
    value = source.row("x[ü]")
    assert value is not None
    assert source.edited([source.span_edit(value, "'é'")]) == "x = {'ä': 'ö', 'ü': 'é'}  # ß\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(:\n", "f.py:1: "),
        ("x = '\0'", "f.py: .*null bytes"),
        ("x = " + "-" * 100_000 + "1", "f.py: an expression is nested too deeply for Python"),
    ],
)
def test_syntax_error_names_file_and_line(text: str, message: str) -> None:
    with pytest.raises(CourseError, match=message):
        Source(text, "f.py")
