"""An exercise: what the learner writes in a module, in which order, and which tests each step turns green.

    modules/02_tensor/exercise.toml -> load_exercise(project, module) -> Exercise

`blank` derives the learner's file from it and the reference.
"""

from __future__ import annotations

import ast
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from tito.course.modules import Module
from tito.errors import CourseError
from tito.files import read_plain
from tito.process.documents import Frozen, expectation, place
from tito.project import Project

Text = Annotated[str, Field(min_length=1)]


class Step(Frozen):
    """A part of the work: the names to write, and the tests that they turn green."""

    title: Text
    names: tuple[Text, ...] = Field(min_length=1)
    hint: Text
    tests: tuple[Text, ...] = Field(min_length=1)
    start: dict[str, str] = Field(default_factory=dict, alias="from")  # by name: the statement where blanking begins


class Given(Frozen):
    """A simpler body for a function whose fast path would hide the learner's code."""

    name: Text
    body: Text


class Edit(Frozen):
    """A replacement in the reference's text before anything is blanked; `find` must occur exactly once."""

    find: Text
    replace: str


class Document(Frozen):
    """The content of an exercise.toml."""

    file: Text
    step: tuple[Step, ...] = Field(min_length=1)
    given: tuple[Given, ...] = ()
    edit: tuple[Edit, ...] = ()


@dataclass(frozen=True)
class Exercise:
    """The exercise of one module.

    Attributes:
        module: the module.
        path: its exercise.toml.
        reference: the file in tinytorch/ that it is derived from.
        steps: in the order in which the learner works.
        given: simpler bodies.
        edits: replacements in the reference's text.
    """

    module: Module
    path: Path
    reference: Path
    steps: tuple[Step, ...]
    given: tuple[Given, ...] = ()
    edits: tuple[Edit, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All names that the learner writes, in order."""
        return tuple(name for step in self.steps for name in step.names)

    @property
    def starts(self) -> dict[str, str]:
        """The statements where blanking begins, by name, for the names that have one."""
        return {name: text for step in self.steps for name, text in step.start.items()}

    @cached_property
    def test_files(self) -> tuple[Path, ...]:
        """The module's test files."""
        return tuple(sorted(self.path.parent.glob("test_*.py")))

    def step_of(self, name: str) -> int:
        """Return the index of the step that contains a name.

        Raises:
            CourseError: no step contains it.
        """
        for index, step in enumerate(self.steps):
            if name in step.names:
                return index
        raise CourseError(f"{self.path}: no step contains {name}: expected one of {', '.join(self.names)}")

    def source(self) -> str:
        """Return the reference's text."""
        return read_plain(self.reference).decode().replace("\r\n", "\n")


def exercise_path(project: Project, module: Module) -> Path:
    """Return where a module's exercise.toml is, or would be."""
    return project.root / "modules" / module.folder / "exercise.toml"


def load_exercise(project: Project, module: Module) -> Exercise:
    """Read a module's exercise and check it.

    Raises:
        CourseError: it is missing or invalid; the message names the file and the key.
    """
    path = exercise_path(project, module)
    try:
        document = Document.model_validate(tomllib.loads(read_plain(path).decode()))
    except FileNotFoundError:
        raise CourseError(f"{path}: module {module.label} has no exercise in this checkout") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CourseError(f"{path}: not a TOML file in UTF-8: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, place(first)))
        raise CourseError(f"{path}: {where}: {expectation(first)}") from None
    reference = project.root / "tinytorch" / f"{module.name}.py"
    exercise = Exercise(module, path, reference, document.step, document.given, document.edit)
    _check(exercise, document)
    return exercise


def _check(exercise: Exercise, document: Document) -> None:
    path, names = exercise.path, exercise.names
    if document.file != exercise.module.name:
        raise CourseError(f'{path}: file = "{document.file}": expected "{exercise.module.name}"')
    for one in sorted(set(names)):
        if names.count(one) > 1:
            raise CourseError(f"{path}: {one} is in two steps: expected each name once")
    for step in exercise.steps:
        for name in step.start:
            if name not in step.names:
                raise CourseError(f"{path}: step {step.title!r}: from names {name}, which the step does not contain")
    tests = [test for step in exercise.steps for test in step.tests]
    for test in sorted(set(tests)):
        if tests.count(test) > 1:
            raise CourseError(f"{path}: {test} is named twice: expected each test in one step")
    known = names_of_tests(exercise.test_files)
    for step in exercise.steps:
        for test in step.tests:
            if test.partition("[")[0] not in known:
                raise CourseError(f"{path}: step {step.title!r}: no test is named {test} in {path.parent}")


def names_of_tests(files: tuple[Path, ...]) -> set[str]:
    """Return the tests in these files, as `function`, `Class::function`, and `file.py::function`."""
    found: set[str] = set()
    for file in files:
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            names = [node.name] if isinstance(node, ast.FunctionDef) else []
            if isinstance(node, ast.ClassDef):
                names = [f"{node.name}::{one.name}" for one in node.body if isinstance(one, ast.FunctionDef)]
            found |= {spelled for name in names for spelled in (name, f"{file.name}::{name}")}
    return found
