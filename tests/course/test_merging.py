"""tito.course.merging: only what the learner wrote is taken over, and nothing of it is forgotten silently."""

from __future__ import annotations

from pathlib import Path

from tito.course.blank import blank, is_blank
from tito.course.exercise import Exercise, Step
from tito.course.merging import merged
from tito.course.modules import MODULES

OLD = '''"""Old."""

import math


def area(r: float) -> float:
    """Return pi r^2."""
    return math.pi * r * r


def given(x: float) -> float:
    return x
'''
NEW = OLD.replace('"""Old."""', '"""New."""').replace(
    "def given", "def length(r: float) -> float:\n    return 2\n\n\ndef given"
)


def exercise(*names: str) -> Exercise:
    step = Step.model_validate({"title": "t", "names": names, "hint": "h", "tests": ["test_x"]})
    return Exercise(MODULES[1], Path("exercise.toml"), Path("source.py"), (step,))


def test_answers_and_additions_are_taken_over() -> None:
    before, newest = blank(OLD, exercise("area")), blank(NEW, exercise("area", "length"))
    mine = before.replace('raise NotImplementedError("02 area: yours to write")', "return square(r) * math.pi")
    mine = mine.replace("import math\n", "import math\nimport cmath as c\n") + "\n\ndef square(x):\n    return x * x\n"
    text, kept, dropped = merged(mine, before, newest, exercise("area", "length"), "file.py")
    assert text.startswith('"""New."""')
    assert "import cmath as c\n" in text
    assert kept == ("area", "square")
    assert dropped == ()
    assert is_blank(text, "length")
    namespace: dict[str, object] = {}
    exec(compile(text, "merged", "exec"), namespace)
    assert round(namespace["area"](2.0), 3) == 12.566  # type: ignore[operator]


def test_body_that_was_handed_out_is_not_an_answer() -> None:
    before, newest = blank(OLD, exercise("area")), blank(NEW, exercise("area", "given"))
    text, kept, _ = merged(before, before, newest, exercise("area", "given"), "file.py")
    assert kept == ()
    assert is_blank(text, "given")


def test_changes_outside_the_exercise_are_named() -> None:
    before = blank(OLD, exercise("area"))
    mine = before.replace("    return x\n", "    return -x\n")
    assert merged(mine, before, before, exercise("area"), "file.py")[2] == ("given",)


def test_without_the_file_that_was_handed_out_answers_are_taken_over() -> None:
    newest = blank(NEW, exercise("area"))
    text, kept, dropped = merged(OLD, None, newest, exercise("area"), "file.py")
    assert kept == ("area",)
    assert dropped == ()
    assert not is_blank(text, "area")
