"""The project's structure: the imports and the size of every file comply with tests/architecture.toml."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import tinytorch

ROOT = Path(__file__).parents[1]
RULES = tomllib.loads((ROOT / "tests" / "architecture.toml").read_text())
MODULES: dict[str, int] = RULES["modules"]
ROOMS: dict[str, dict] = RULES["rooms"]
TITO: dict[str, list[str]] = RULES["tito"]
MOST_LINES, LONGEST_FUNCTION = 400, 50

COURSE = sorted(path for path in (ROOT / "tinytorch").glob("*.py") if path.stem != "__init__")
SUPPORT = sorted(path for path in (ROOT / "tinytorch").glob("*/*.py"))
INITS = sorted((ROOT / "tinytorch").glob("*/__init__.py"))
HARNESS = sorted((ROOT / "tito").rglob("*.py"))
WORKLOADS = sorted((ROOT / "suites").glob("*/*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def imported(path: Path) -> frozenset[str]:
    """Return every module that a file imports, at the top level or inside functions, as dotted names."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:  # relative imports are skipped
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


@cache
def files_imported(path: Path) -> frozenset[Path]:
    """Return the project's files that a file imports; a name from a package counts as its `__init__.py`."""
    found = set()
    for name in imported(path):
        parts = name.split(".")
        for place in (ROOT.joinpath(*parts), ROOT.joinpath(*parts[:-1])):
            file = next((f for f in (place.with_suffix(".py"), place / "__init__.py") if f.is_file()), None)
            if file:
                found.add(file)
                break
    return frozenset(found)


# tinytorch ---------------------------------------------------------------------------------------------


def test_flat_files_are_the_course_and_folders_are_its_packages() -> None:
    assert {path.stem for path in COURSE} == MODULES.keys()
    assert {path.parent.name for path in INITS} == {path.parent.name for path in SUPPORT} == ROOMS.keys()
    assert sorted(MODULES.values()) == list(range(1, 21))


def test_lesson_folders_have_the_numbers_of_their_modules() -> None:
    for folder in (ROOT / "modules").glob("[0-9]*"):
        number, _, name = folder.name.partition("_")
        assert int(number) in MODULES.values()
        assert name in MODULES or (number, name) == ("01", "setup")


def needs(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the files of tinytorch that a file imports, and the module number of each."""
    for file in files_imported(path):
        if file.is_relative_to(ROOT / "tinytorch"):
            parts = file.relative_to(ROOT / "tinytorch").with_suffix("").parts
            yield name_of(file), MODULES[parts[0]] if len(parts) == 1 else ROOMS[parts[0]]["module"]


@pytest.mark.parametrize("path", COURSE, ids=name_of)
def test_module_imports_no_later_module(path: Path) -> None:
    own = MODULES[path.stem]
    assert {name: number for name, number in needs(path) if number > own} == {}


@pytest.mark.parametrize("path", SUPPORT, ids=name_of)
def test_package_imports_only_what_it_may(path: Path) -> None:
    room = ROOMS[path.parent.name]
    assert {name: number for name, number in needs(path) if number > room["module"]} == {}
    rooms = {name.split("/")[1] for name, _ in needs(path) if name.count("/") == 2}
    assert rooms <= {path.parent.name, *room["rooms"]}
    if room["module"] == 0:
        assert [name for name, _ in needs(path) if name.count("/") == 1] == []


@pytest.mark.parametrize("path", [path for path in (*COURSE, *SUPPORT) if path not in INITS], ids=name_of)
def test_files_import_each_other_by_full_path(path: Path) -> None:
    inits = {name_of(file) for file in files_imported(path) if file.name == "__init__.py"}
    assert inits == set(), f"{name_of(path)} imports names from {inits}: import them from the file that defines them"


@pytest.mark.parametrize("path", INITS, ids=lambda path: path.parent.name)
def test_package_docstring_states_its_purpose_imports_and_maintainers(path: Path) -> None:
    docstring = " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").split())
    assert len(docstring.split(".")[0]) > 20
    assert "imports" in docstring.lower()
    assert "Changed by" in docstring


@pytest.mark.parametrize("path", [*COURSE, *SUPPORT], ids=name_of)
def test_framework_never_imports_the_harness(path: Path) -> None:
    assert [name for name in imported(path) if name.split(".")[0] == "tito"] == []


# tito --------------------------------------------------------------------------------------------------


def own_name(path: Path) -> str:
    """Return the file's dotted name within tito, for example bench.record."""
    return ".".join(path.relative_to(ROOT / "tito").with_suffix("").parts)


def test_packages_of_tito_may_import_only_earlier_ones() -> None:
    order = list(TITO)
    assert {path.relative_to(ROOT / "tito").parts[0].removesuffix(".py") for path in HARNESS} == set(order)
    for room, allowed in TITO.items():
        assert {name.split(".")[0] for name in allowed} <= set(order[: order.index(room)]), room


@pytest.mark.parametrize("path", HARNESS, ids=own_name)
def test_file_of_tito_imports_only_what_its_package_may(path: Path) -> None:
    room = own_name(path).split(".")[0]
    used = {name.removeprefix("tito.") for name in imported(path) if name.startswith("tito.")}
    allowed = {*TITO[room], room}
    outside = {name for name in used if not any((name + ".").startswith(one + ".") for one in allowed)}
    assert outside == set(), f"{own_name(path)} may import only {', '.join(sorted(allowed))}"


# Workloads, and the public names of the package --------------------------------------------------------


@pytest.mark.parametrize("path", WORKLOADS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_workload_imports_only_tinytorch_and_numpy(path: Path) -> None:
    outside = {name.split(".")[0] for name in imported(path)} - set(sys.stdlib_module_names)
    assert outside <= {"tinytorch", "numpy"}


@pytest.mark.parametrize("path", WORKLOADS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_workload_neither_prints_nor_reads_the_clock(path: Path) -> None:
    names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
    assert names & {"print", "time", "perf_counter"} == set()


def test_importing_tinytorch_needs_numpy_only() -> None:
    program = """
import sys

class OnlyNumPy:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in sys.stdlib_module_names | {"numpy", "tinytorch"}:
            raise ImportError(name)

sys.meta_path.insert(0, OnlyNumPy())
import tinytorch
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_all_lists_exactly_the_public_names() -> None:
    public = {
        name
        for name in dir(tinytorch)
        if not name.startswith("_") and getattr(getattr(tinytorch, name), "__module__", "").startswith("tinytorch.")
    }
    assert set(tinytorch.__all__) == public


def test_unused_modules_are_not_imported() -> None:
    program = "import sys, tinytorch; print(*sys.modules); tinytorch.Conv2d; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    before, after = (line.split() for line in done.stdout.splitlines())
    heavy = {"tinytorch.spatial", "tinytorch.transformers", "tinytorch.datasets", "tempfile", "safetensors"}
    assert heavy & set(before) == set()
    assert "tinytorch.spatial" in after


def test_top_level_contains_the_files_of_the_design() -> None:
    for name in ("noxfile.py", "pyproject.toml", "tinytorch", "modules", "suites", "submissions", "reports", "tito"):
        assert (ROOT / name).exists(), name


# Everything --------------------------------------------------------------------------------------------


def test_imports_have_no_cycle() -> None:
    """Imports inside functions and for type checkers count, too. The top-level `__init__.py` files are left out."""
    graph = {
        path: {file for file in files_imported(path) if file != path}
        for package in ("tinytorch", "tito")
        for path in (ROOT / package).rglob("*.py")
        if path.parent != ROOT / package or path.stem != "__init__"
    }
    while True:
        free = {path for path, uses in graph.items() if not uses & graph.keys()}
        if not free:
            break
        graph = {path: uses for path, uses in graph.items() if path not in free}
    assert {name_of(path): sorted(name_of(file) for file in uses & graph.keys()) for path, uses in graph.items()} == {}


FOLDERS = ("tinytorch", "tito", "suites", "tools", "examples")
SOURCES = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]


def test_files_have_at_most_400_lines() -> None:
    lengths = {name_of(path): path.read_text().count("\n") for path in SOURCES}
    too_long = {name: lines for name, lines in lengths.items() if lines > MOST_LINES and name not in RULES["long"]}
    assert too_long == {}, "split it, or give a reason in tests/architecture.toml"


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def test_functions_have_at_most_50_lines() -> None:
    too_long = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines, name = length(node), f"{name_of(path)}:{node.name}"
                if lines > LONGEST_FUNCTION and name not in RULES["long"]:
                    too_long[name] = lines
    assert too_long == {}, "split it, or give a reason in tests/architecture.toml"


def test_exceptions_for_length_are_still_needed() -> None:
    for name in RULES["long"]:
        file, _, function = name.partition(":")
        tree = ast.parse((ROOT / file).read_text())
        if not function:
            assert (ROOT / file).read_text().count("\n") > MOST_LINES, name
        else:
            found = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == function]
            assert [n for n in found if length(n) > LONGEST_FUNCTION], name
