"""The tests of the checkpoints: one file each, and none that needs a module which comes later."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

from tito.course.modules import CHECKPOINTS, Checkpoint

ROOT = Path(__file__).parents[2]
RULES = tomllib.loads((ROOT / "tests" / "architecture.toml").read_text())
FOLDER = ROOT / "modules" / "checkpoints"


def number_of(name: str) -> int:
    """Return the module that a name of tinytorch belongs to, e.g. 4 for tinytorch.layers and 17 for .quantized."""
    part = name.split(".")[1]
    return RULES["modules"][part] if part in RULES["modules"] else RULES["rooms"][part]["module"]


def test_each_checkpoint_has_one_file_that_asks_its_question():
    assert sorted(path.name for path in FOLDER.glob("*.py")) == [
        f"test_{one.key}_{one.name.lower()}.py" for one in CHECKPOINTS
    ]
    for one in CHECKPOINTS:
        text = (FOLDER / f"test_{one.key}_{one.name.lower()}.py").read_text()
        question = one.question[0].lower() + one.question[1:]
        assert text.startswith(f'"""Checkpoint {one.key}: {question} ')


@pytest.mark.parametrize("checkpoint", CHECKPOINTS, ids=lambda one: one.name)
def test_a_checkpoint_imports_no_later_module(checkpoint: Checkpoint):
    (path,) = FOLDER.glob(f"test_{checkpoint.key}_*.py")
    used = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tinytorch."):
            used.add(number_of(node.module or ""))
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        assert not [name for name in names if name.startswith("tinytorch")], "import names from tinytorch's files"
    assert max(used) <= max(checkpoint.modules)
    assert used & set(checkpoint.modules), "it tests its own module"
