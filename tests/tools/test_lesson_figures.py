"""The lessons' drawings are those that the tool makes, and each one is shown by its lesson."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
NUMBER = re.compile(r"-?\d+\.\d+")


@pytest.fixture(scope="module")
def tool(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("lesson_figures")


def test_each_committed_drawing_is_what_its_formula_gives(tool: ModuleType) -> None:
    for name, draw in tool.FIGURES.items():
        made, kept = draw(), (ROOT / "modules" / name).read_text("utf-8")
        # places may differ in their last digit between machines
        assert NUMBER.sub("", made) == NUMBER.sub("", kept), f"{name}: run python tools/lesson_figures.py"
        np.testing.assert_allclose(
            np.array(NUMBER.findall(made), float), np.array(NUMBER.findall(kept), float), atol=0.2, err_msg=name
        )


def test_every_drawing_is_shown_by_its_lesson(tool: ModuleType) -> None:
    drawings = {path.relative_to(ROOT / "modules").as_posix() for path in (ROOT / "modules").glob("*/*.svg")}
    assert drawings == tool.FIGURES.keys()
    for name in drawings:
        folder, _, file = name.partition("/")
        assert f"]({file})" in (ROOT / "modules" / folder / "lesson.md").read_text("utf-8")


def test_a_drawing_escapes_its_words(tool: ModuleType) -> None:
    card = tool.Card(100, 50)
    card.text(1, 2, "a < b & c")
    assert "a &lt; b &amp; c" in card.svg("x > y")
    assert "x &gt; y" in card.svg("x > y")
