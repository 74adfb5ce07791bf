"""Programs in PyTorch's style, run twice: with torch, and with only the imports changed. Their numbers are equal."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

PROGRAMS = sorted((Path(__file__).parent / "programs").glob("*.py"))
FORMS = (
    (r"^import torch$", "import tinytorch as torch"),
    (r"^import torch\.([\w.]+) as (\w+)$", r"import tinytorch.\1 as \2"),
    (r"^from torch((?:\.\w+)*) import ", r"from tinytorch\1 import "),
)


def with_tinytorch(source: str) -> str:
    """Return a program with its imports changed, and nothing else."""
    for pattern, changed in FORMS:
        source = re.sub(pattern, changed, source, flags=re.MULTILINE)
    return source


def losses(source: str, name: str) -> np.ndarray:
    """Run a program and return the numbers of its main()."""
    module = ModuleType(f"program_{name}")
    sys.modules[module.__name__] = module  # dataclasses look it up
    exec(compile(source, f"{name}.py", "exec"), vars(module))
    return np.array(module.main())


def test_there_are_a_dozen_programs() -> None:
    assert len(PROGRAMS) >= 12


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_changing_the_import_changes_nothing_else(path: Path) -> None:
    source = path.read_text()
    before, after = source.splitlines(), with_tinytorch(source).splitlines()
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert changed
    assert all(a.startswith(("import torch", "from torch")) for a, _ in changed)
    assert not re.search(r"^\s*(import|from) torch\b", "\n".join(after), re.MULTILINE)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("default")
def test_program_has_the_losses_that_pytorch_has(path: Path) -> None:
    pytest.importorskip("torch")
    source = path.read_text()
    expected, actual = losses(source, path.stem), losses(with_tinytorch(source), path.stem)
    assert len(expected) >= 20
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_program_runs_without_pytorch(path: Path) -> None:
    found = losses(with_tinytorch(path.read_text()), path.stem)
    assert len(found) >= 20
    assert np.isfinite(found).all()
