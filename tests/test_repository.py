"""What the repository's texts promise to a stranger."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOREIGN = "tinytorch"  # on PyPI this name belongs to another project
ADVICE = re.compile(rf"pip\s+install\b[^\n]*?(?<![\w.\-/]){FOREIGN}(?![\w\-/.])|(?<![\w.\-/]){FOREIGN}\[")


def tracked() -> list[Path]:
    """The repository's text files."""
    done = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in done.stdout.split("\0") if name]
    return [path for path in paths if path.suffix not in (".png", ".safetensors") and path.is_file()]


def test_the_distribution_does_not_have_the_name_of_a_stranger() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] != FOREIGN
    assert project["name"] == "tinytorch-bench"


def test_no_text_advises_to_install_a_stranger_s_package() -> None:
    own = Path(__file__)
    advised = [
        f"{path.relative_to(ROOT)}: {found.group()}"
        for path in tracked()
        if path != own
        for found in ADVICE.finditer(path.read_text(encoding="utf-8"))
    ]
    assert advised == []


@pytest.mark.parametrize(
    "advice", ["pip install tinytorch", "python -m pip install 'tinytorch[onednn]'", "tinytorch[x]"]
)
def test_such_advice_would_be_found(advice: str) -> None:
    assert ADVICE.search(advice)


@pytest.mark.parametrize("advice", ["pip install -e '.[onednn]'", "pip install tinytorch-bench", "import tinytorch"])
def test_other_advice_is_not(advice: str) -> None:
    assert not ADVICE.search(advice)
