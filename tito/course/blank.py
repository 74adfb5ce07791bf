"""The learner's file: the reference with the bodies removed that the learner writes, and the way back.

    blank(source, exercise)      the file that a learner starts with
    reference_answers(...)       the removed bodies, by name
    fill(blanked, answers)       a file with bodies put back: the reference's, a plain answer's, or the learner's

What is left of a body is `raise NotImplementedError("02 apply: yours to write")`. In a table's row, each lambda's body
becomes `yours("06 DERIVATIVES[T.mul]")`, which raises the same.
"""

from __future__ import annotations

import ast
import json
import textwrap
from collections.abc import Mapping

from tito.course.exercise import Exercise
from tito.course.source import Edit, Function, Source, lambdas
from tito.errors import CourseError

MARK = "yours to write"
HELPER = "from tinytorch.base.errors import yours\n"


def prepared(source: str, exercise: Exercise) -> str:
    """Return the reference's text with the exercise's edits and simpler bodies, before anything is blanked.

    Raises:
        CourseError: an edit's text does not occur exactly once, or a name does not exist.
    """
    for edit in exercise.edits:
        if (count := source.count(edit.find)) != 1:
            raise CourseError(f"{exercise.path}: edit: {edit.find[:60]!r} occurs {count} times: expected once")
        source = source.replace(edit.find, edit.replace)
    for given in exercise.given:
        source = _put(Source(source, str(exercise.reference)), given.name, given.body.lstrip("\n"), whole=True)
    return source


def blank(source: str, exercise: Exercise) -> str:
    """Return the file that a learner starts with.

    Args:
        source: the reference's text.
        exercise: what to remove from it.

    Raises:
        CourseError: the exercise does not fit the source; the message names the file and the name.
    """
    text = Source(prepared(source, exercise), str(exercise.reference))
    edits: list[Edit] = []
    for name in exercise.names:
        node = text.find(name)
        label = f"{exercise.module.key} {name}"
        if isinstance(node, Function):
            left = f'{text.indentation(node)}raise NotImplementedError("{label}: {MARK}")\n'
            edits.append(text.lines_edit(*text.body(node, exercise.starts.get(name)), left))
            continue
        found = lambdas(node)
        if not found:
            raise CourseError(f"{exercise.path}: {name}: the row has no lambda that could be blanked")
        call = f"yours({json.dumps(label, ensure_ascii=False)})"
        edits += [text.span_edit(one.body, call) for one in found]
    if any("[" in name for name in exercise.names):
        place = text.after_imports()
        edits.append(text.lines_edit(place + 1, place, HELPER))
    return text.edited(edits)


def body_of(source: str, name: str, start: str | None = None, file: str = "the source") -> str:
    """Return the answer with this name: a function's lines after its docstring, or a row's expression.

    Args:
        source: the text of a reference, a plain answer, or a learner's file.
        name: see `tito.course.source`.
        start: begin at the statement whose source starts with this, if there is one.
        file: how messages name the source.

    Raises:
        CourseError: nothing has this name, or its body is empty.
    """
    text = Source(source, file)
    node = text.find(name)
    if not isinstance(node, Function):
        return text.segment(node)
    if start is not None:
        try:
            return text.region(*text.body(node, start))
        except CourseError:
            pass  # a plain answer need not repeat the argument checks
    return text.region(*text.body(node))


def answers_in(source: str, exercise: Exercise, file: str) -> dict[str, str]:
    """Return the bodies of all names of the exercise in a reference that is `prepared`, or in a plain answer.

    Raises:
        CourseError: a name is missing.
    """
    return {name: body_of(source, name, exercise.starts.get(name), file) for name in exercise.names}


def reference_answers(exercise: Exercise) -> dict[str, str]:
    """Return the reference's own bodies, by name."""
    return answers_in(prepared(exercise.source(), exercise), exercise, str(exercise.reference))


def is_blank(source: str, name: str) -> bool:
    """Return whether nothing has been written yet under this name."""
    node = Source(source).find(name)
    if isinstance(node, Function):
        return MARK in ast.unparse(node.body[-1])
    return any(isinstance(one.body, ast.Call) and ast.unparse(one.body.func) == "yours" for one in lambdas(node))


def fill(blanked: str, answers: Mapping[str, str], whole: bool = False) -> str:
    """Return the file with answers put in.

    Args:
        blanked: a file that `blank` returned, or one with some answers already.
        answers: bodies by name, as `body_of` returns them.
        whole: replace everything after the docstring, including checks that were left.

    Raises:
        CourseError: a name does not exist.
    """
    for name, answer in answers.items():
        blanked = _put(Source(blanked), name, answer, whole)
    return blanked


def _put(text: Source, name: str, answer: str, whole: bool) -> str:
    node = text.find(name)
    if not isinstance(node, Function):
        return text.edited([text.span_edit(node, answer)])
    start = None
    if not whole and MARK in (last := ast.unparse(node.body[-1])):
        start = last.partition("(")[0]
    lines = _reindented(answer, text.indentation(node))
    return text.edited([text.lines_edit(*text.body(node, start), lines)])


def _reindented(answer: str, indentation: str) -> str:
    """Return a body with this indentation; the lines within texts of several lines stay as they are."""
    answer = answer.rstrip("\n") + "\n"
    lines = answer.splitlines(keepends=True)
    code = next((line for line in lines if line.strip() and not line.lstrip().startswith("#")), "")
    own = code[: len(code) - len(code.lstrip())]
    if own == indentation:
        return answer
    inside = _lines_within_texts(answer, own)
    shifted = []
    for number, line in enumerate(lines, start=1):
        movable = number not in inside and line.strip()
        shifted.append(indentation + line.removeprefix(own) if movable else line)
    return "".join(shifted)


def _lines_within_texts(answer: str, own: str) -> set[int]:
    """Return the numbers of the lines that begin inside a string."""
    try:
        tree = ast.parse(f"if True:\n{answer}" if own else f"\n{answer}")
    except SyntaxError:  # e.g. `return` is fine, but a learner's half sentence is not
        return set()
    texts = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
    ]
    return {line - 1 for node in texts for line in range(node.lineno + 1, (node.end_lineno or 0) + 1)}


def dedented(text: str) -> str:
    """Return a body without common indentation, to be shown."""
    return textwrap.dedent(text).strip("\n") + "\n"
