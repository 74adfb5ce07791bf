"""The exercises of all modules fit the reference as it is: names, edits, plain answers, and mutations are found.

This only parses. `nox -s course` runs the graded tests on all of it.
"""

from __future__ import annotations

import ast

import pytest

from tito.course.blank import answers_in, blank, fill, is_blank, prepared, reference_answers
from tito.course.exercise import exercise_path, load_exercise
from tito.course.modules import MODULES, Module
from tito.course.proof import mutated, read_mutations
from tito.course.source import Source
from tito.project import find_project

PROJECT = find_project()
WITH_EXERCISE = [module for module in MODULES if exercise_path(PROJECT, module).is_file()]


@pytest.mark.parametrize("module", WITH_EXERCISE, ids=lambda module: module.label)
def test_exercise_fits_its_reference(module: Module) -> None:
    exercise = load_exercise(PROJECT, module)
    empty = blank(exercise.source(), exercise)
    assert [name for name in exercise.names if not is_blank(empty, name)] == []
    plain = exercise.path.with_name("plain.py")
    for answers in (reference_answers(exercise), answers_in(plain.read_text(encoding="utf-8"), exercise, plain.name)):
        filled = fill(empty, answers)
        assert [name for name in exercise.names if is_blank(filled, name)] == []
        Source(filled, exercise.module.file)  # a syntax error would be a CourseError


def top_level(text: str) -> set[str]:
    """Return the names that importing a file defines."""
    names: set[str] = set()
    for node in ast.parse(text).body:
        for part in ast.walk(node) if isinstance(node, ast.If | ast.Try) else [node]:
            if isinstance(part, ast.FunctionDef | ast.ClassDef):
                names.add(part.name)
            elif isinstance(part, ast.Import | ast.ImportFrom):
                names |= {(alias.asname or alias.name).partition(".")[0] for alias in part.names}
            elif isinstance(part, ast.Assign | ast.AnnAssign):
                targets = part.targets if isinstance(part, ast.Assign) else [part.target]
                names |= {name.id for t in targets for name in ast.walk(t) if isinstance(name, ast.Name)}
    return names


@pytest.mark.parametrize("module", WITH_EXERCISE, ids=lambda module: module.label)
def test_whatever_is_imported_from_a_module_is_in_its_exercise(module: Module) -> None:
    """A package or suite that imports more than a learner's file has fails as soon as that file is used."""
    exercise = load_exercise(PROJECT, module)
    given = top_level(blank(exercise.source(), exercise))
    users = [*PROJECT.root.glob("tinytorch/*/*.py"), *PROJECT.root.glob("suites/*/*.py")]
    for file in users:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == f"tinytorch.{module.name}":
                missing = {alias.name for alias in node.names} - given
                assert not missing, f"{file.relative_to(PROJECT.root)}:{node.lineno}"


@pytest.mark.parametrize("module", WITH_EXERCISE, ids=lambda module: module.label)
def test_every_mutation_can_be_made(module: Module) -> None:
    exercise = load_exercise(PROJECT, module)
    whole = prepared(exercise.source(), exercise)
    for mutation in read_mutations(exercise):
        wrong = mutated(whole, mutation, exercise.module.file)
        assert wrong != whole, mutation.why
        Source(wrong, f"{exercise.module.file} with: {mutation.why}")


@pytest.mark.parametrize("module", WITH_EXERCISE, ids=lambda module: module.label)
def test_no_test_is_in_two_steps(module: Module) -> None:
    tests = [test for step in load_exercise(PROJECT, module).steps for test in step.tests]
    assert sorted(tests) == sorted(set(tests))
