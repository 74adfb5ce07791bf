"""Docstrings as the site shows them: examples are code, formulas are not bold."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import pytest


@pytest.fixture(scope="module")
def tool(load: Callable[[str], ModuleType]) -> ModuleType:
    """The extension without griffe, which only the session `docs` installs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "griffe", SimpleNamespace(Extension=object, Object=object))
        return load("site_docstrings")


CASES = {
    "Add.\n\n>>> 1 + 1\n2\n\nMore.": "Add.\n\n```pycon\n>>> 1 + 1\n2\n```\n\nMore.",
    "Add.\n>>> 1 + 1\n2": "Add.\n\n```pycon\n>>> 1 + 1\n2\n```",
    "Args:\n    x: a number.\n\n        >>> x\n        2": (
        "Args:\n    x: a number.\n\n        ```pycon\n        >>> x\n        2\n        ```"
    ),
    "x**2 and y**2": r"x\*\*2 and y\*\*2",
    "`x**2` and __init__": r"`x**2` and \_\_init\_\_",
    "Formula.\n\n    y = x**2": "Formula.\n\n    y = x**2",
    "Args:\n    x: to be taken **2": "Args:\n    x: to be taken \\*\\*2",
    "Source: He et al. 2016": "**Source:** He et al. 2016",
    "Outsource: nothing": "Outsource: nothing",
}


@pytest.mark.parametrize("text", CASES)
def test_plain_text_becomes_markdown(tool: ModuleType, text: str) -> None:
    assert tool.prepared(text) == CASES[text]


SHOWN = [
    ("forward", {"documented": True, "of_a_class": True, "attribute": False}),
    ("forward", {"documented": False, "of_a_class": True, "attribute": False}),
    ("rows", {"documented": True, "of_a_class": True, "attribute": True}),
    ("LARGEST", {"documented": False, "of_a_class": False, "attribute": True}),
]
HIDDEN = [
    ("_forward", {"documented": True, "of_a_class": True, "attribute": False}),
    ("rows", {"documented": False, "of_a_class": True, "attribute": True}),
    ("sdpa", {"documented": False, "of_a_class": False, "attribute": True}),
]


@pytest.mark.parametrize(("name", "facts"), SHOWN)
def test_functions_documented_attributes_and_constants_are_shown(tool: ModuleType, name: str, facts: dict) -> None:
    assert tool.shown(name, **facts)


@pytest.mark.parametrize(("name", "facts"), HIDDEN)
def test_private_names_and_bare_attributes_are_not(tool: ModuleType, name: str, facts: dict) -> None:
    assert not tool.shown(name, **facts)
