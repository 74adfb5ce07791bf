"""tito.course.matching: tests are named with or without their file and parameters."""

from __future__ import annotations

import pytest

from tito.course.matching import matches


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("test_add", True),
        ("test_add[1-2]", True),
        ("test_tensor.py::test_add", True),
        ("test_tensor.py::test_add[1-2]", True),
        ("test_add[1]", False),
        ("test_ad", False),
        ("test_other.py::test_add", False),
        ("TestAdd::test_add", False),
    ],
)
def test_name_matches(wanted: str, expected: bool) -> None:
    assert matches("test_tensor.py::test_add[1-2]", wanted) is expected


def test_name_in_a_class_matches_with_its_class() -> None:
    assert matches("test_tensor.py::TestAdd::test_one", "TestAdd::test_one")
    assert not matches("test_tensor.py::TestAdd::test_one", "test_one")
