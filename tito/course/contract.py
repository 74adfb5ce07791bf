"""The contract of a learner's file, checked without running it: what later files and the tests use is there.

The names and parameters come from the exercise's file itself; who needs them is found in the reference.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tito.course.blank import prepared
from tito.course.exercise import Exercise
from tito.course.source import Function, Source
from tito.course.workspace import Workspace, read_source
from tito.errors import CourseError
from tito.overlay import NUMBERS


@dataclass(frozen=True)
class ContractProblem:
    """Something that others need and the learner's file lacks.

    Attributes:
        file: the learner's file.
        line: the line to look at; None for the file as a whole.
        name: what is concerned, e.g. "Tensor.reshape"; "" for the file as a whole.
        found: what is there.
        expected: what is needed.
        needed_by: for whom, e.g. "04 layers" or "the tests of 02 tensor".
    """

    file: Path
    line: int | None
    name: str
    found: str
    expected: str
    needed_by: str

    def text(self) -> str:
        """Return the problem in one line."""
        place = f"{self.file}:{self.line}" if self.line else str(self.file)
        name = f"{self.name}: " if self.name else ""
        needed = f" (needed by {self.needed_by})" if self.needed_by else ""
        return f"{place}: {name}{self.found}; expected {self.expected}{needed}"


def check_contract(workspace: Workspace, exercise: Exercise) -> list[ContractProblem]:
    """Return what the learner's file of a module lacks; an empty list if it can be tested.

    Raises:
        CourseError: the module is not started, or its file is missing.
        OSError: the file cannot be read.
    """
    path = workspace.require(exercise.module)
    try:
        text = read_source(path)
    except CourseError as error:
        return [_whole(path, _line_of(error, path), str(error), "a Python file in UTF-8")]
    return check_text(text, exercise, path)


def check_text(text: str, exercise: Exercise, path: Path) -> list[ContractProblem]:
    """Return what a text lacks as the learner's file of a module; `path` is how the problems name it."""
    if not text.strip():
        again = f"a Python file; tito module reset {exercise.module.key} creates it again"
        return [_whole(path, None, "the file is empty", again)]
    try:
        mine = Source(text, str(path))
    except CourseError as error:
        line = _line_of(error, path)
        message = str(error).removeprefix(f"{path}:{line}: ").removeprefix(f"{path}: ")
        return [_whole(path, line, f"syntax error: {message}", "valid Python")]
    expected = Source(prepared(exercise.source(), exercise), str(exercise.reference))
    return [problem for problem in _compare(mine, expected, exercise, path) if problem is not None]


def _whole(path: Path, line: int | None, found: str, expected: str) -> ContractProblem:
    return ContractProblem(path, line, "", found.removeprefix(f"{path}:{line}: "), expected, "")


def _line_of(error: CourseError, path: Path) -> int | None:
    number = str(error).removeprefix(f"{path}:").partition(":")[0]
    return int(number) if number.isdigit() else None


def _compare(mine: Source, expected: Source, exercise: Exercise, path: Path) -> Iterator[ContractProblem | None]:
    users = _users(exercise)
    for name, node in _definitions(expected):
        wanted = name in exercise.names
        own, _, member = name.partition(".")
        needed = users.name(own) if not member else users.attribute(member)
        if wanted:
            step = exercise.steps[exercise.step_of(name)]
            needed = needed or f"step {step.title!r}"
        if needed is None:
            continue
        found = _look_up(mine, name)
        if found is None:
            line = _line_of_class(mine, own) if member else None
            yield ContractProblem(path, line, name, "this name is missing", _kind(node), needed)
        elif isinstance(node, Function) and isinstance(found, Function):
            yield _parameters(path, name, found, node, needed)
    for name in exercise.names:
        if "[" in name and mine.row(name) is None:
            needed = f"step {exercise.steps[exercise.step_of(name)].title!r}"
            yield ContractProblem(path, None, name, "this row is missing", "a row of the table", needed)


def _definitions(source: Source) -> Iterator[tuple[str, ast.AST]]:
    """Yield the names at the top level of a file, and the methods of its classes."""
    for node in source.tree.body:
        if isinstance(node, Function | ast.ClassDef):
            yield node.name, node
        if isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{one.name}", one) for one in node.body if isinstance(one, Function))
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        yield from ((target.id, node) for target in targets if isinstance(target, ast.Name))


def _look_up(mine: Source, name: str) -> ast.AST | None:
    """Return what has this name in the learner's file, in whatever way it is bound."""
    function = mine.function(name)
    if function is not None:
        return function
    owner, _, member = name.rpartition(".")
    body = next((n.body for n in mine.tree.body if isinstance(n, ast.ClassDef) and n.name == owner), [])
    for node in ast.walk(ast.Module(body=body if owner else mine.tree.body, type_ignores=[])):
        bound = getattr(node, "id", None) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else None
        bound = node.name if isinstance(node, ast.ClassDef) else bound
        if isinstance(node, ast.Import | ast.ImportFrom) and any(member == (a.asname or a.name) for a in node.names):
            return node
        if bound == member:
            return node
    return None


def _line_of_class(mine: Source, name: str) -> int | None:
    return next((n.lineno for n in mine.tree.body if isinstance(n, ast.ClassDef) and n.name == name), None)


def _kind(node: ast.AST) -> str:
    if isinstance(node, Function):
        return f"def {node.name}({ast.unparse(node.args)})"
    return f"class {node.name}" if isinstance(node, ast.ClassDef) else "a value with this name"


def _parameters(path: Path, name: str, found: Function, node: Function, needed: str) -> ContractProblem | None:
    """Return what callers of the reference's function could not pass to the learner's."""
    mine, theirs = found.args, node.args
    positional = [a.arg for a in (*mine.posonlyargs, *mine.args)]
    anywhere = {*positional, *(a.arg for a in mine.kwonlyargs)}
    wanted = [a.arg for a in (*theirs.posonlyargs, *theirs.args)]
    names = {*wanted, *(a.arg for a in theirs.kwonlyargs)}
    missing = [one for one in (*wanted, *(a.arg for a in theirs.kwonlyargs)) if one not in anywhere]
    moved = [one for one in wanted if one in positional and positional.index(one) != wanted.index(one)]
    required = positional[: len(positional) - len(mine.defaults)]
    required += [a.arg for a, default in zip(mine.kwonlyargs, mine.kw_defaults, strict=True) if default is None]
    extra = [one for one in required if one not in names]
    optional = wanted[len(wanted) - len(theirs.defaults) :] if theirs.defaults else []
    without = [one for one in optional if one in required]
    if missing and not (mine.vararg and mine.kwarg):
        problem = f"parameter {missing[0]} is missing"
    elif moved and not mine.vararg:
        problem = f"parameter {moved[0]} is at another position"
    elif (theirs.vararg and not mine.vararg) or (theirs.kwarg and not mine.kwarg):
        star = f"*{theirs.vararg.arg}" if theirs.vararg and not mine.vararg else f"**{theirs.kwarg.arg}"  # type: ignore[union-attr]
        problem = f"parameter {star} is missing"
    elif extra:
        problem = f"parameter {extra[0]} is new and has no default"
    elif without:
        problem = f"parameter {without[0]} has no default"
    else:
        return None
    return ContractProblem(path, found.lineno, name, problem, f"({ast.unparse(theirs)})", needed)


class _Users:
    """Which files use the names of a module: later modules, the packages, and the module's own tests."""

    def __init__(self, module: str, files: dict[str, Path]) -> None:
        self._names: dict[str, str] = {}
        self._attributes: dict[str, str] = {}
        for label, file in files.items():
            text = file.read_text(encoding="utf-8")
            tree = ast.parse(text)
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute):
                    self._attributes.setdefault(node.attr, label)
                elif isinstance(node, ast.ImportFrom) and node.module in (f"tinytorch.{module}", "tinytorch"):
                    for alias in node.names:
                        self._names.setdefault(alias.name, label)

    def name(self, name: str) -> str | None:
        """Return who imports a name or uses it as an attribute of the module."""
        return self._names.get(name) or self._attributes.get(name)

    def attribute(self, name: str) -> str | None:
        """Return who uses a method; special methods are used by syntax."""
        return "Python's syntax" if name.startswith("__") else self._attributes.get(name)


def _users(exercise: Exercise) -> _Users:
    return _users_of(exercise.module.name, exercise.reference.parent, exercise.test_files)


@cache
def _users_of(module: str, tinytorch: Path, tests: tuple[Path, ...]) -> _Users:
    number = NUMBERS[module]
    files = {}
    for name, later in NUMBERS.items():
        if later > number:
            files[f"{later:02} {name}"] = tinytorch / f"{name}.py"
    packages = {f"tinytorch/{file.parent.name}": file for file in sorted(tinytorch.glob("*/*.py"))}
    files |= {label: file for label, file in packages.items() if f"tinytorch.{module}" in file.read_text("utf-8")}
    files |= {f"the tests in {file.name}": file for file in tests}
    files["tinytorch/__init__.py"] = tinytorch / "__init__.py"
    return _Users(module, files)
