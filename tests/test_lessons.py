"""The lessons: their code runs with the modules up to their own and prints what they say, and no part is missing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = sorted((ROOT / "modules").glob("[0-9][0-9]_*"))
PARTS = [
    "The steps",
    "Traps",
    "Bytes and FLOPs",
    "Predict, then run",
    "Questions",
    "Where it is used next",
    "Sources",
]
IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)]+)\)")
TEST = re.compile(r"`(test_\w+)`")
EACH = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def text_of(folder: Path) -> str:
    return (folder / "lesson.md").read_text("utf-8")


def part(text: str, name: str) -> str:
    """Return what is below a heading, up to the next heading of its level."""
    return re.split(r"^## ", text.partition(f"\n## {name}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the code of the lesson in a folder as a process; a warning is an error."""
    return subprocess.run(
        [sys.executable, str(ROOT / "tests" / "lessons.py"), str(folder / "lesson.md")],
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@EACH
def test_code_runs_with_no_later_module_and_prints_what_the_lesson_says(folder: Path) -> None:
    done = run(folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_later_modules_are_hidden_from_a_lesson(tmp_path: Path) -> None:
    folder = tmp_path / "02_tensor"
    folder.mkdir()
    (folder / "lesson.md").write_text("```python\nimport tinytorch.tensor\nimport tinytorch.layers\n```\n")
    done = run(folder)
    assert done.returncode == 1
    assert "ImportError: module 04 layers comes after 02" in done.stderr


def test_a_figure_that_the_code_does_not_print_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "02_tensor"
    folder.mkdir()
    (folder / "lesson.md").write_text("# 02\n\n```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n")
    done = run(folder)
    assert done.returncode == 1
    assert re.search(r"lesson\.md:4: the lesson says\n3\nand the code prints\n2\n", done.stderr)


@EACH
def test_a_lesson_has_all_parts_in_order(folder: Path) -> None:
    headings = re.findall(r"^## (.*)$", text_of(folder), re.MULTILINE)
    assert [heading for heading in headings if heading in PARTS] == PARTS


@EACH
def test_a_lesson_has_900_to_2000_words(folder: Path) -> None:
    assert 900 <= len(text_of(folder).split()) <= 2000


@EACH
def test_the_example_and_the_experiment_show_what_they_print(folder: Path) -> None:
    shown = re.findall(r"^```python\n.*?^```\n\n```text\n", text_of(folder), re.MULTILINE | re.DOTALL)
    assert len(shown) >= 2
    assert "```python\n" in part(text_of(folder), "Predict, then run")


@EACH
def test_a_lesson_has_a_figure_and_its_images_are_complete(folder: Path) -> None:
    text = text_of(folder)
    drawn = re.findall(r"(?<!^```\n)\n```text\n", text, re.MULTILINE)
    images = IMAGE.findall(text)
    assert drawn or images
    for alternative, name in images:
        assert len(alternative) > 20, f"{name}: the terminal shows only this text"
        root = ElementTree.parse(folder / name).getroot()
        assert "viewBox" in root.attrib
        assert "http" not in "".join(root.itertext())


@EACH
def test_the_steps_are_those_of_the_exercise(folder: Path) -> None:
    steps = tomllib.loads((folder / "exercise.toml").read_text("utf-8"))["step"]
    titles = re.findall(r"^\d+\. \*\*(.*?)\.?\*\*", part(text_of(folder), "The steps"), re.MULTILINE)
    assert titles == [step["title"] for step in steps]


@EACH
def test_the_tests_that_the_traps_name_exist(folder: Path) -> None:
    source = "".join(path.read_text("utf-8") for path in folder.glob("test_*.py"))
    named = TEST.findall(part(text_of(folder), "Traps"))
    assert named
    assert [name for name in named if f"def {name}(" not in source] == []


@EACH
def test_a_lesson_asks_three_questions_or_more_and_names_its_sources(folder: Path) -> None:
    text = text_of(folder)
    assert len(re.findall(r"^\d\. ", part(text, "Questions"), re.MULTILINE)) >= 3
    assert re.search(r"https?://|doi:", part(text, "Sources"))
