"""tito.compete.names: a name is a folder on every file system, and no two names look alike."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tito.compete.names import id_problem, name_problem


@pytest.mark.parametrize("name", ["a", "0", "int8", "a-b-c", "x" * 39, "conn", "nul-1", "com10"])
def test_a_good_name(name: str) -> None:
    assert name_problem(name, "id") is None


LOOKALIKES = ["é", "ａ", "а", "ı", "ﬁ", "a\u0301"]  # among them a full-width and a Cyrillic a
DEVICES = ["con", "prn", "aux", "nul", "com0", "com1", "lpt9"]
OTHERS = ["", ".", "..", "-a", "A", "a_b", "a.b", "a b", "a/b", "x" * 40, "a\n", "a\x00", "~", "$home", "*"]


@pytest.mark.parametrize("name", [*LOOKALIKES, *DEVICES, *OTHERS, "reference", "receipts"])
def test_a_bad_name(name: str) -> None:
    problem = name_problem(name, "id", "submission.json")
    assert problem
    assert (problem.code, problem.file, problem.field) == ("name", "submission.json", "id")


@pytest.mark.parametrize("id", ["alice/int8", "0/0"])
def test_a_good_id(id: str) -> None:
    assert id_problem(id) is None


@pytest.mark.parametrize(
    "id", ["alice", "alice/", "/int8", "alice/int8/x", "../..", "alice\\int8", "nul/x", "x/nul", ""]
)
def test_a_bad_id(id: str) -> None:
    problem = id_problem(id)
    assert problem
    assert problem.code == "name"


@given(st.text(max_size=50))
def test_no_other_text_is_a_name(name: str) -> None:
    if name_problem(name, "id") is None:
        assert re.fullmatch("[a-z0-9-]{1,39}", name)
        assert name.isascii()
        assert name == name.casefold()
