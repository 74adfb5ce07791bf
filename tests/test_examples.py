"""The code that a reader is told to run does run: README's blocks and the programs in examples/.

The programs run as processes. Their data sets are small stand-ins (`tests/stand_ins.py`), so that no test needs the
network; where the real data set is in the cache, they run on it as well.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tinytorch import datasets
from tinytorch.base.errors import DataError
from tito.bench.record import Record

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
STAND_INS = ROOT / "tests" / "stand_ins.py"


@pytest.fixture(params=["stand-in", "real"])
def data(request: pytest.FixtureRequest) -> str:
    """Which data the program gets; each test then runs twice."""
    return str(request.param)


def run(*command: str | Path, **variables: str) -> str:
    """What a process prints; it must succeed and print nothing on stderr."""
    # one thread: where tests run side by side, the threads of a product would wait for each other
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"} | variables
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def example(data: str, needs: str, *command: str | Path) -> str:
    """What a program of examples/ prints, run on the stand-in of the data set that it needs or on the real one."""
    if data == "stand-in":
        return run(STAND_INS, *command)
    try:
        getattr(datasets, needs)(download=False)
    except DataError:
        pytest.skip(f"{needs} is not in the cache: tito data fetch {needs}")
    return run(*command)


def percent(name: str, printed: str) -> float:
    found = re.search(rf"{name}\s+(\d+\.\d+)%", printed)
    assert found, printed
    return float(found[1])


# ---- README

BLOCKS = re.findall(
    r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
)


def test_the_readme_has_code() -> None:
    assert BLOCKS


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_the_code_in_the_readme_runs_as_it_stands(block: str, data: str, tmp_path: Path) -> None:
    program = tmp_path / "readme.py"
    program.write_text(block, encoding="utf-8")
    printed = example(data, "mnist", program)
    records: list[dict[str, Any]] = [ast.literal_eval(line) for line in printed.splitlines()]
    assert len(records) == 3
    assert records[-1]["accuracy"] > 0.9


# ---- examples/


def test_train_mnist_learns(data: str) -> None:
    printed = example(data, "mnist", EXAMPLES / "train_mnist.py", "--samples", "3000", "--epochs", "2")
    assert len(printed.splitlines()) == 2
    assert percent("test accuracy", printed.splitlines()[-1]) > 80


def test_quantize_and_save_makes_a_quarter_of_the_bytes_and_the_same_answers(data: str, tmp_path: Path) -> None:
    folder = tmp_path / "int8"
    sizes = ("--calibration", "256", "--samples", "500", "--times", "20")
    printed = example(data, "mnist", EXAMPLES / "quantize_and_save.py", folder, *sizes)
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.safetensors"]
    found = re.search(r"bytes\s+FP32 (\d+)\s+INT8 (\d+)", printed)
    assert found, printed
    fp32, int8 = map(int, found.groups())
    assert 0.24 < int8 / fp32 < 0.27
    if data == "real":  # the reference has never seen anything like the stand-in
        assert percent("same answer", printed) > 99
        assert percent("INT8", printed) > 96


def test_generate_text_writes_the_same_with_and_without_a_cache() -> None:
    printed = run(EXAMPLES / "generate_text.py", "--prompt", "ROMEO:\\n", "--tokens", "12", "--seed", "3")
    assert printed.startswith("ROMEO:\n")
    assert re.search(r"^same tokens: +yes$", printed, re.MULTILINE), printed


def test_cast_to_bfloat16_halves_the_bytes(tmp_path: Path) -> None:
    source, target = ROOT / "submissions" / "reference" / "mnist", tmp_path / "bf16"
    program = [sys.executable, str(EXAMPLES / "cast_to_bfloat16.py"), str(source), str(target)]
    done = subprocess.run(program, capture_output=True, text=True, check=True, cwd=ROOT)
    found = re.search(r"^(\d+) bytes became (\d+)", done.stdout)
    assert found, done.stdout
    assert 0.49 < int(found[2]) / int(found[1]) < 0.52
    assert sorted(path.name for path in target.iterdir()) == ["model.json", "model.safetensors"]


def test_a_suite_of_ones_own_runs_and_passes(tmp_path: Path) -> None:
    (tmp_path / "suites").mkdir()  # a project of its own, so that record and page do not land in this one
    suite = EXAMPLES / "own_suite" / "1988_spirals"
    variables = {"TITO_ROOT": str(tmp_path), "TINYTORCH_BLAS_KERNEL": "inherit"}
    done = subprocess.run(
        [sys.executable, "-m", "tito", "suite", "run", suite, "--quick"],
        env=os.environ | variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (tmp_path / "reports" / "records" / "spirals").glob("*.json")
    assert Record.model_validate_json(path.read_bytes()).status == "passed"
    assert (tmp_path / "reports" / "spirals.html").is_file()


@pytest.mark.parametrize("program", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_explains_itself(program: Path) -> None:
    assert "usage:" in run(program, "--help")


def test_the_examples_readme_names_every_example() -> None:
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    names = [path.name for path in EXAMPLES.glob("*.py")] + [path.name for path in EXAMPLES.glob("own_suite/*/")]
    assert [name for name in names if name not in text] == []
