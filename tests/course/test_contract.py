"""tito.course.contract: what later files use is in the learner's file, with parameters that they can pass."""

from __future__ import annotations

import pytest

from tests.course.sample import TENSOR, exercise
from tito.course.contract import ContractProblem, check_contract
from tito.course.workspace import Workspace
from tito.project import Project


def problems(course: Project, workspace: Workspace, old: str, new: str) -> list[ContractProblem]:
    """Change one text in the learner's file, and check it."""
    workspace.start(exercise(course))
    path = workspace.file(TENSOR)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return check_contract(workspace, exercise(course))


def test_blank_file_meets_the_contract(course: Project, workspace: Workspace) -> None:
    workspace.start(exercise(course))
    assert check_contract(workspace, exercise(course)) == []


@pytest.mark.parametrize(
    ("old", "new", "name", "found"),
    [
        (
            "def cat(tensors: Sequence[Tensor], dim",
            "def cat(tensors: Sequence[Tensor], axis",
            "cat",
            "parameter dim is",
        ),
        ("def cat(tensors: Sequence[Tensor], dim: int = 0)", "def cat(dim, tensors)", "cat", "parameter tensors is at"),
        ("def cat(tensors: Sequence[Tensor], dim: int = 0)", "def cat(tensors, dim)", "cat", "parameter dim has no"),
        ("def cat(tensors", "def cat(tensors, more", "cat", "parameter dim is at another position"),
        ("(self, start_dim: int = 0)", "(self)", "Tensor.flatten", "parameter start_dim is missing"),
        ("def numel(self)", "def numel(self, *, unit)", "Tensor.numel", "parameter unit is new and has no default"),
        ("def reshape(self, *shape", "def reshape(self, shape", "Tensor.reshape", "parameter *shape is missing"),
        ("def numel(", "def count(", "Tensor.numel", "this name is missing"),
        ("def __add__(", "def add(", "Tensor.__add__", "this name is missing"),
        ("def stack(", "def stacked(", "stack", "this name is missing"),
        ("\nmatmul = Op", "\nmatmuls = Op", "matmul", "this name is missing"),
    ],
)
def test_change_that_breaks_others_is_found(
    course: Project, workspace: Workspace, old: str, new: str, name: str, found: str
) -> None:
    first = problems(course, workspace, old, new)[0]
    assert first.name == name
    assert first.found.startswith(found)
    assert first.needed_by
    if first.line is not None:
        line = workspace.file(TENSOR).read_text().splitlines()[first.line - 1]
        assert line.strip().startswith(("def ", "class "))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("def stack(tensors: Sequence[Tensor], dim: int = 0)", "def stack(tensors, dim=0, *, check=False)"),
        ("def stack(tensors: Sequence[Tensor], dim: int = 0)", "def stack(*args, **kwargs)"),
        ("def _raw(x: Any)", "def _bare(x: Any)"),
        ("def zeros(", "def unused():\n    pass\n\n\ndef zeros("),
    ],
)
def test_change_that_breaks_nobody_is_allowed(course: Project, workspace: Workspace, old: str, new: str) -> None:
    assert problems(course, workspace, old, new) == []


def test_problem_is_one_line(course: Project, workspace: Workspace) -> None:
    (problem,) = problems(course, workspace, "def numel(", "def count(")
    place = f"{workspace.file(TENSOR)}:{problem.line}: Tensor.numel: this name is missing; "
    assert problem.text().startswith(place + "expected def numel(self) (needed by ")
