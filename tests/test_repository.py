"""The repository's public texts: install advice, versions, the citation, and CI agree with the project."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import tinytorch
from tinytorch.native.library import NOT_INSTALLED, WITHOUT
from tito import doctor
from tito.bench.suites import find_suites
from tito.process.backend import BackendChoice

ROOT = Path(__file__).parents[1]
FOREIGN = "tinytorch"  # on PyPI this name belongs to another project
ADVICE = re.compile(rf"pip\s+install\b[^\n]*?(?<![\w.\-/]){FOREIGN}(?![\w\-/.])|(?<![\w.\-/]){FOREIGN}\[")


def tracked() -> list[Path]:
    """Return the repository's text files."""
    done = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in done.stdout.split("\0") if name]
    return [path for path in paths if path.suffix not in (".png", ".safetensors") and path.is_file()]


def test_distribution_does_not_use_the_name_of_another_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] != FOREIGN
    assert project["name"] == "tinytorch-bench"


def test_no_text_advises_installing_another_projects_package() -> None:
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
def test_wrong_advice_is_detected(advice: str) -> None:
    assert ADVICE.search(advice)


@pytest.mark.parametrize("advice", ["pip install -e '.[onednn]'", "pip install tinytorch-bench", "import tinytorch"])
def test_other_advice_is_not_reported(advice: str) -> None:
    assert not ADVICE.search(advice)


# Commands


def sessions() -> set[str]:
    """Return the names of the noxfile's sessions."""
    names = set()
    for node in ast.parse((ROOT / "noxfile.py").read_text()).body:
        if not isinstance(node, ast.FunctionDef):
            continue
        for decorator in node.decorator_list:
            words = decorator.keywords if isinstance(decorator, ast.Call) else []
            names.add(next((ast.literal_eval(word.value) for word in words if word.arg == "name"), node.name))
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


# Versions


def dated_versions() -> list[tuple[str, str]]:
    """Return the changelog's released versions with their dates, newest first."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    return re.findall(r"^## (\d+\.\d+\.\d+) - (\d{4}-\d{2}-\d{2})$", text, re.MULTILINE)


def test_citation_names_the_newest_release() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["date-released"]) == dated_versions()[0]


def test_first_section_of_the_changelog_is_the_packages_version() -> None:
    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert first
    assert tinytorch.__version__ in (first[1], f"{first[1]}.dev0")


# GitHub's files cannot run in a test, but they must agree with pyproject.toml.


def test_ci_runs_every_python_of_the_classifiers_and_the_minimums_on_the_oldest() -> None:
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


# The README


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_states_for_each_milestone_what_its_suite_states_it_takes() -> None:
    rows = re.findall(r"^\| `nox -s milestone-(\w+)` \|.*\| (\d+) (s|min) \|$", readme(), re.MULTILINE)
    stated = {name: int(number) * (60 if unit == "min" else 1) for name, number, unit in rows}
    suites = {loaded.suite.name: loaded.suite.duration for loaded in find_suites(ROOT / "suites")}
    assert stated.keys() == {
        session.partition("-")[2] for session in sessions() if re.fullmatch(r"milestone-\w+", session)
    }
    for name, seconds in stated.items():
        duration = suites[name]
        assert duration is not None
        assert abs(seconds - duration.full) <= (30 if seconds >= 120 else 0), name


def test_the_first_two_commands_and_the_line_for_a_managed_python_stay() -> None:
    text = readme()
    for command in ("milestone-mnist", "tests"):
        assert f"\n    python -m pip install nox && python -m nox -s {command}\n" in text
    assert "`python3 -m venv .venv && . .venv/bin/activate`" in " ".join(text.split())


def test_one_wording_says_what_is_slower_without_onednn() -> None:
    assert WITHOUT[1:] in " ".join(readme().split())
    assert WITHOUT in backend_advice()


def backend_advice() -> str:
    """Return the doctor's advice on a machine without oneDNN."""
    choice = BackendChoice(name="numpy", version=None, native=[], why=NOT_INSTALLED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(doctor, "choose_backend", lambda: choice)
        return doctor.backend_finding().advice
