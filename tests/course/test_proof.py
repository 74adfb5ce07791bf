"""tito.course.proof: an exercise with a gap is found, whatever the gap is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.course.sample import ACTIVATIONS, TENSOR, exercise
from tito.course.proof import Mutation, Proof, main, mutated, prove
from tito.errors import CourseError
from tito.project import Project

PLAIN = '''
"""A plain answer."""

import math

from tinytorch.tensor import Sequence


class Tensor:
    def flatten(self, start_dim=0):
        return self.reshape(self.shape[:start_dim] + (math.prod(self.shape[start_dim:]),))

    def transpose(self, dim0, dim1):
        dims = list(range(self.ndim))
        dims[dim0], dims[dim1] = dims[dim1], dims[dim0]
        return self.permute(tuple(dims))


def stack(tensors, dim=0):
    return cat([t.unsqueeze(dim) for t in tensors], dim=dim)
'''
MUTATIONS = """
[[mutation]]
name = "stack"
find = "unsqueeze(dim)"
replace = "unsqueeze(0)"
why = "the new dimension is always the first"
"""


def write(course: Project, plain: str = PLAIN, mutations: str = "") -> Path:
    """Write a plain answer and mutations into module 02."""
    folder = course.root / "modules" / "02_tensor"
    (folder / "plain.py").write_text(plain)
    (folder / "mutations.toml").write_text(mutations)
    return folder


def proved(course: Project) -> Proof:
    return prove(course, exercise(course))


def test_sound_exercise_has_no_problems_and_is_counted(course: Project) -> None:
    write(course, mutations=MUTATIONS)
    proof = proved(course)
    assert proof.problems == []
    assert (proof.tests, proof.caught, proof.green, proof.plain, proof.mutations) == (6, 3, 2, True, 1)
    assert proof.line().startswith(
        "02 tensor: 6 tests, 3 of 3 names caught, 2 of 2 steps, plain answer passes, 1 of 1 mutations caught, "
    )


def test_each_gap_is_a_problem(course: Project) -> None:
    folder = write(
        course,
        PLAIN.replace("dim=dim", "dim=0"),
        '[[mutation]]\nname = "Tensor.flatten"\nfind = ":start_dim]"\nreplace = ":start_dim or None]"\nwhy = "w"\n'
        '[[mutation]]\nname = "stack"\nfind = "nowhere"\nreplace = ""\nwhy = "w"\n',
    )
    path = folder / "exercise.toml"
    path.write_text(path.read_text().replace('"stack"]', '"stack", "Tensor.argmax"]'))
    tests = folder / "test_tensor.py"
    tests.write_text(tests.read_text().replace("(tt.zeros(2, 3, 4).flatten(1)", "(tt.zeros(2, 3, 4)"))
    problems = "\n".join(proved(course).problems)
    assert "blanked alone, Tensor.argmax is not caught" in problems
    assert "mutation of stack: 'nowhere' occurs 0 times: expected once" in problems
    assert "mutation not caught: Tensor.flatten: w" in problems
    assert f"{folder / 'plain.py'}: nothing is named Tensor.argmax" in problems


def test_module_whose_tests_need_a_later_module_fails(course: Project) -> None:
    folder = write(course)
    tests = folder / "test_tensor.py"
    tests.write_text(tests.read_text().replace("import tinytorch as tt", "import tinytorch as tt\ntt.Conv2d"))
    (problem,) = proved(course).problems
    assert "the reference fails: ImportError: module 09 spatial comes after 02" in problem


def test_plain_answer_that_fails_is_a_problem(course: Project) -> None:
    write(course, PLAIN.replace("dim=dim", "dim=0"))
    (problem,) = proved(course).problems
    assert problem.startswith("the plain answer fails: test_tensor.py::test_stack[1] assert ")


def test_command_prints_counts_and_fails(
    course: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TITO_ROOT", str(course.root))
    assert main(["03", "04"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("03 activations: 2 tests, 2 of 2 names caught, 2 of 2 steps, plain answer FAILS")
    assert "plain.py is missing" in lines[1]
    assert "04 layers has no exercise in this checkout" in lines[2]
    assert lines[3].startswith("1 modules, 2 tests, 2 of 2 names caught, 2 of 2 steps, 0 of 0 mutations caught")


def test_mutation_changes_only_its_own_name() -> None:
    source = "def a(x):\n    return x + 1\n\n\ndef b(x):\n    return x + 1\n\n\nT = {'r': lambda x: x + 1}\n"
    change = Mutation(name="b", find="x + 1", replace="x", why="w")
    assert mutated(source, change, "f") == source.replace("b(x):\n    return x + 1", "b(x):\n    return x")
    row = Mutation(name="T[r]", find="+ 1", replace="", why="w")
    assert mutated(source, row, "f").endswith("{'r': lambda x: x }\n")
    with pytest.raises(CourseError, match="f: mutation of a: 'x' occurs 2 times: expected once"):
        mutated(source, Mutation(name="a", find="x", replace="y", why="w"), "f")


def test_modules_of_the_sample_are_the_courses() -> None:
    assert (TENSOR.folder, ACTIVATIONS.folder) == ("02_tensor", "03_activations")
