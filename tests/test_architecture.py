"""The house's rules, held by reading every file's imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tinytorch

ROOT = Path(__file__).parents[1]

# Which course module a file belongs to; what is below 1 may be used by all, and is nobody's lesson
MODULE_OF = {
    "errors": -1,
    "serialization": 0,
    "environment": 1,
    "tensor": 2,
    "random": 2,
    "activations": 3,
    "layers": 4,
    "losses": 5,
    "autograd": 6,
    "optimizers": 7,
    "training": 8,
    "convolution": 9,
    "parallel": 9,
    "pooling": 9,
    "normalization": 9,
    "spatial": 9,
    "png": 10,
    "downloads": 10,
    "dataloader": 10,
    "datasets": 10,
    "tokenization": 11,
    "embeddings": 12,
    "attention": 13,
    "transformers": 14,
    "onednn": 15,  # what 15 and 17 multiply with; 16 shows how it comes to be fast
    "onednn_library": 15,
    "onednn_bf16": 15,
    "kernels": 15,
    "half": 15,
    "mixed_precision": 15,
    "acceleration": 16,
    "ladder": 16,
    "quantizers": 17,
    "onednn_int8": 17,
    "quantized": 17,
    "quantized_training": 17,
    "folding": 17,
    "saved_kinds": 17,  # the words and the table of all layers: 17 asks it which it knows, 19 saves by it
    "saved_clashes": 17,
    "saved_types": 17,
    "quantized_check": 17,
    "quantized_predictor": 17,
    "quantization": 17,
    "packing": 18,
    "channel_pruning": 18,
    "compression": 18,
    "decoding": 19,
    "caching": 19,
    "cache_check": 19,
    "saved_document": 19,
    "saved_files": 19,
    "saving": 19,
    "benchmarking": 20,
}
FRAMEWORK = [path for path in sorted((ROOT / "tinytorch").glob("*.py")) if path.stem != "__init__"]
WORKLOADS = sorted((ROOT / "suites").glob("*/*.py"))


def imported(path: Path) -> set[str]:
    """Every module that a file imports anywhere in it, as dotted names."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:  # not from files beside it
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", FRAMEWORK, ids=lambda path: path.stem)
def test_a_module_imports_only_modules_before_it(path: Path) -> None:
    own = MODULE_OF[path.stem]
    used = {name.split(".")[1] for name in imported(path) if name.startswith("tinytorch.")}
    later = {name: MODULE_OF[name] for name in used if MODULE_OF[name] > own}
    assert later == {}, f"{path.name} (module {own}) imports what comes later: {later}"
    assert "tinytorch" not in imported(path), f"{path.name} imports the whole package"


@pytest.mark.parametrize("path", FRAMEWORK, ids=lambda path: path.stem)
def test_the_framework_never_imports_the_harness(path: Path) -> None:
    assert [name for name in imported(path) if name.split(".")[0] == "tito"] == []


# What each file and room of tito may import of the others: only what stands before it here
TITO: dict[str, set[str]] = {
    "__init__": set(),
    "errors": set(),
    "project": {"errors"},
    "data": {"errors"},
    "process": {"errors"},
    "versus": {"errors", "project", "process"},
    "bench": {"errors", "process", "versus.contest"},
    "report": {"errors", "bench.record", "bench.suite"},
    "doctor": {"errors", "data", "process", "bench.probes", "report.units"},
    "terminal": {"data", "doctor", "bench", "report"},
    "cli": {"errors", "project", "data", "process", "bench", "report", "doctor", "terminal"},
    "__main__": {"cli"},
}
HARNESS = sorted((ROOT / "tito").rglob("*.py"))


def own_name(path: Path) -> str:
    """The file's dotted name below tito: bench.record."""
    return ".".join(path.relative_to(ROOT / "tito").with_suffix("").parts)


def test_no_room_of_tito_imports_one_that_stands_after_it() -> None:
    order = list(TITO)
    assert {path.relative_to(ROOT / "tito").parts[0].removesuffix(".py") for path in HARNESS} == set(order)
    for room, allowed in TITO.items():
        assert {name.split(".")[0] for name in allowed} <= set(order[: order.index(room)]), room


@pytest.mark.parametrize("path", HARNESS, ids=own_name)
def test_a_file_of_tito_imports_only_what_its_room_may(path: Path) -> None:
    room = own_name(path).split(".")[0]
    used = {name.removeprefix("tito.") for name in imported(path) if name.startswith("tito.")}
    allowed = TITO[room] | {room}
    outside = {name for name in used if not any((name + ".").startswith(one + ".") for one in allowed)}
    assert outside == set(), f"{own_name(path)} may import only {', '.join(sorted(allowed))}"


@pytest.mark.parametrize("path", WORKLOADS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_workload_imports_only_tinytorch_and_numpy(path: Path) -> None:
    outside = {name.split(".")[0] for name in imported(path)} - set(sys.stdlib_module_names)
    assert outside <= {"tinytorch", "numpy"}


@pytest.mark.parametrize("path", WORKLOADS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_workload_neither_prints_nor_looks_at_the_clock(path: Path) -> None:
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


def test_all_names_what_is_there_and_nothing_else() -> None:
    public = {
        name
        for name in dir(tinytorch)
        if not name.startswith("_") and getattr(getattr(tinytorch, name), "__module__", "").startswith("tinytorch.")
    }
    assert set(tinytorch.__all__) == public


def test_what_is_not_used_is_not_imported() -> None:
    program = "import sys, tinytorch; print(*sys.modules); tinytorch.Conv2d; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    before, after = (line.split() for line in done.stdout.splitlines())
    heavy = {"tinytorch.spatial", "tinytorch.transformers", "tinytorch.datasets", "tempfile", "safetensors"}
    assert heavy & set(before) == set()
    assert "tinytorch.spatial" in after


def test_the_top_level_holds_what_the_design_says() -> None:
    for name in ("noxfile.py", "pyproject.toml", "tinytorch", "modules", "suites", "submissions", "reports", "tito"):
        assert (ROOT / name).exists(), name
