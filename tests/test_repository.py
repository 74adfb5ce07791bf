"""What the repository's texts promise to a stranger."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import tinytorch

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


# ---- commands


def sessions() -> set[str]:
    """The names of the noxfile's sessions."""
    names = set()
    for node in ast.parse((ROOT / "noxfile.py").read_text()).body:
        if not isinstance(node, ast.FunctionDef):
            continue
        for decorator in node.decorator_list:
            given = [word.value for word in getattr(decorator, "keywords", []) if word.arg == "name"]
            names.add(ast.literal_eval(given[0]) if given else node.name)
    return names


def test_every_nox_session_that_a_text_names_exists() -> None:
    named = {
        (path.relative_to(ROOT).as_posix(), session)
        for path in tracked()
        if path.suffix in (".md", ".yml", ".yaml") or path.name == "run"
        for words in re.findall(r"nox -s ((?:[a-z][a-z0-9-]*[ `]?)+)", path.read_text(encoding="utf-8"))
        for session in words.partition("`")[0].split()[:1]
    }
    assert len(named) > 10
    assert {(path, session) for path, session in named if session not in sessions()} == set()


# ---- versions


def dated_versions() -> list[tuple[str, str]]:
    """The changelog's released versions with their dates, newest first."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    return re.findall(r"^## (\d+\.\d+\.\d+) - (\d{4}-\d{2}-\d{2})$", text, re.MULTILINE)


def test_the_citation_is_of_the_newest_release() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["date-released"]) == dated_versions()[0]


def test_the_changelog_s_first_section_is_the_version_that_stands_in_the_package() -> None:
    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert first
    assert tinytorch.__version__ in (first[1], f"{first[1]}.dev0", dated_versions()[0][0])


# ---- GitHub's files, which no test can run: at least they agree with pyproject.toml


def test_ci_runs_on_each_python_that_the_classifiers_name_and_on_the_oldest_allowed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    pythons = workflow["jobs"]["check"]["strategy"]["matrix"]["python"]
    named = [name.removeprefix("Programming Language :: Python :: ") for name in project["classifiers"]]
    assert pythons == [name for name in named if name.startswith("3.")]
    assert project["requires-python"] == f">={pythons[0]}"
    (oldest,) = [step["with"]["python-version"] for step in workflow["jobs"]["minimums"]["steps"]
                 if "python-version" in step.get("with", {})]  # fmt: skip
    assert oldest == pythons[0]


def test_pre_commit_uses_the_versions_of_the_lint_group() -> None:
    group = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["lint"]
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    used = {
        package for repo in config["repos"] for hook in repo["hooks"] for package in hook["additional_dependencies"]
    }
    assert used == set(group)
