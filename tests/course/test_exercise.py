"""tito.course.exercise: a wrong exercise.toml is refused with the file and the key."""

from __future__ import annotations

import pytest

from tests.course.sample import TENSOR, exercise
from tito.course.exercise import load_exercise
from tito.errors import CourseError
from tito.project import Project


def test_exercise_is_read_with_its_tests(course: Project) -> None:
    found = exercise(course)
    assert found.names == ("Tensor.flatten", "Tensor.transpose", "stack")
    assert [path.name for path in found.test_files] == ["test_tensor.py"]
    assert found.step_of("stack") == 1
    with pytest.raises(CourseError, match=r"no step contains cat: expected one of Tensor.flatten, "):
        found.step_of("cat")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('file = "tensor"', 'file = "layers"', 'file = "layers": expected "tensor"'),
        ('file = "tensor"', "", "file: missing"),
        ("[[step]]", "[[steps]]", "step: missing"),
        ("hint = ", "hints = ", "step.0.hint: missing"),
        ('names = ["stack"]', "names = []", "step.1.names: expected a length of at least 1"),
        ('names = ["stack"]', 'names = ["Tensor.flatten"]', "Tensor.flatten is in two steps"),
        ('"test_transpose"', '"test_transposed"', "step 'Shapes': no test is named test_transposed in"),
        ('names = ["stack"]', 'names = ["stack"]\nfrom = {cat = "x"}', "step 'Joining': from names cat"),
        (
            '"test_flatten", "test',
            '"test_flatten", "test_flatten", "test',
            "test_flatten is named twice: expected",
        ),
        ("file", "file = [", "not a TOML file in UTF-8"),
    ],
)
def test_wrong_exercise_is_refused(course: Project, old: str, new: str, message: str) -> None:
    path = course.root / "modules" / "02_tensor" / "exercise.toml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(CourseError) as caught:
        load_exercise(course, TENSOR)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_module_without_an_exercise_is_named(course: Project) -> None:
    (course.root / "modules" / "02_tensor" / "exercise.toml").unlink()
    with pytest.raises(CourseError, match="module 02 tensor has no exercise in this checkout"):
        load_exercise(course, TENSOR)
