"""A learner's answers in a newer version of their exercise."""

from __future__ import annotations

import ast

from tito.course.blank import body_of, fill, is_blank
from tito.course.exercise import Exercise
from tito.course.source import Function, Source
from tito.errors import CourseError


def merged(
    mine: str, before: str | None, newest: str, exercise: Exercise, file: str
) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Return the newest blank file with the learner's answers, the names that are kept, and those that are not.

    Imports and functions that the learner has added are taken over as well.

    Args:
        mine: the learner's file.
        before: the blank file that it began as, if it is known.
        newest: the newest blank file.
        exercise: the newest exercise.
        file: how messages name the learner's file.

    Raises:
        CourseError: the learner's file has a syntax error.
    """
    own, fresh = Source(mine, file), Source(newest)
    answers = {name: body_of(mine, name) for name in exercise.names if _written(mine, before, name)}
    text = fill(newest, answers, whole=True)
    known = _defined(fresh) | (_defined(Source(before)) if before is not None else set())
    text, added = _with_additions(text, own, known)
    dropped = [] if before is None else _changed(own, Source(before), {*exercise.names, *added})
    return text, (*answers, *added), tuple(dropped)


def _written(mine: str, before: str | None, name: str) -> bool:
    """Return whether the learner wrote this body; one that was handed out is not theirs."""
    if not _has(Source(mine), name) or is_blank(mine, name):
        return False
    given = before is not None and _has(Source(before), name)
    return not given or before is None or body_of(mine, name) != body_of(before, name)


def _has(source: Source, name: str) -> bool:
    try:
        source.find(name)
    except CourseError:
        return False
    return True


def _defined(source: Source) -> set[str]:
    """Return the names that a file's top level defines."""
    found: set[str] = set()
    for node in source.tree.body:
        found |= set(_names(node))
    return found


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, Function | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _with_additions(text: str, own: Source, known: set[str]) -> tuple[str, list[str]]:
    """Return the text with the learner's own imports, functions, classes, and constants after its imports."""
    target = Source(text)
    present = {ast.unparse(node) for node in target.tree.body if isinstance(node, ast.Import | ast.ImportFrom)}
    imports, definitions, added = "", "", []
    for node in own.tree.body:
        first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
        lines = own.region(first, node.end_lineno or node.lineno)
        if isinstance(node, ast.Import | ast.ImportFrom):
            future = isinstance(node, ast.ImportFrom) and node.module == "__future__"
            imports += lines if not future and ast.unparse(node) not in present else ""
        elif (names := _names(node)) and not known & set(names):
            definitions += f"\n\n{lines}"
            added += names
    place = target.after_imports()
    return target.edited([target.lines_edit(place + 1, place, imports + definitions)]), added


def _changed(own: Source, before: Source, handled: set[str]) -> list[str]:
    """Return the functions outside the exercise that differ from those that were handed out."""
    changed = []
    for name, node in _functions(before):
        mine = own.function(name)
        if name not in handled and mine is not None and ast.dump(mine) != ast.dump(node):
            changed.append(name)
    return changed


def _functions(source: Source) -> list[tuple[str, ast.AST]]:
    """Return the functions and methods with their dotted names; of several with one name the last: see `@overload`."""
    found: dict[str, ast.AST] = {}
    for node in source.tree.body:
        if isinstance(node, Function):
            found[node.name] = node
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{one.name}": one for one in node.body if isinstance(one, Function)}
    return list(found.items())
