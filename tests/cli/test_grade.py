"""`tito grade` as a process: a class, of which one student hangs, one cheats, and one sends something else."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from tests.cli.course import RELU, SIGMOID, file_of, make_course, solve
from tests.cli.running import tito


@pytest.fixture
def school(tmp_path: Path) -> Path:
    """A project, and a class in its folder `class`."""
    root = make_course(tmp_path)
    tito(root, "module", "start", "3")
    blank = file_of(root).read_text()
    solve(root, "_relu", RELU)
    solve(root, "_sigmoid", SIGMOID)
    good = file_of(root).read_text()
    files = {
        "anna": good,
        "ben": good.replace("np.maximum(x, 0)", "np.abs(x)"),
        "empty": blank,
        "çağla öz": good.replace(SIGMOID, "    return 1 / (1 + np.exp(-x))\n"),
        "broken": good + "def (\n",
        "quits": good + "import os\nos._exit(0)\n",
    }
    for name, text in files.items():
        folder = root / "class" / name
        folder.mkdir(parents=True)
        (folder / "03_activations.py").write_text(text)
    inner = root / "class" / "=nested" / "workspace"
    inner.mkdir(parents=True)
    (inner / "03_activations.py").write_text(good)
    return root


def table(root: Path) -> dict[str, dict[str, str]]:
    with (root / "class" / "grades.csv").open(encoding="utf-8", newline="") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


def test_a_class_becomes_a_table(school: Path) -> None:
    cheat = school / "class" / "ben" / ".tito"
    cheat.mkdir()
    (cheat / "03.json").write_text('{"format": 1, "complete": true}')
    (school / "class" / "ben" / "test_activations.py").write_text("def test_relu(): pass\n")
    done = tito(school, "grade", "class", "--modules", "3")
    assert done.returncode == 0
    rows = table(school)
    assert {name: (row["03.1"], row["03.2"]) for name, row in rows.items()} == {
        "anna": ("1", "1"),
        "ben": ("0", "1"),
        "empty": ("0", "0"),
        "çağla öz": ("1", "0"),
        "broken": ("", ""),
        "quits": ("", ""),
        "'=nested": ("1", "1"),
    }
    assert rows["anna"]["03 message"] == ""
    assert rows["ben"]["03 message"].startswith("03_activations.py:")
    assert "expected [0.0, 2.0], got [1.0, 2.0]" in rows["ben"]["03 message"]
    assert "syntax error" in rows["broken"]["03 message"]
    assert rows["empty"]["03 equal"] == "0.00"
    assert rows["anna"]["03 equal"] == "1.00", "both have one obvious line"
    assert "anna" in done.stdout
    assert "2/2" in done.stdout
    document = json.loads((school / "class" / "grades.json").read_text("utf-8"))
    assert [one["student"] for one in document["students"]] == sorted(set(rows) - {"'=nested"} | {"=nested"})


def test_a_second_run_grades_only_what_has_changed(school: Path) -> None:
    for name in ("broken", "quits", "empty", "=nested"):
        shutil.rmtree(school / "class" / name)
    tito(school, "grade", "class", "--modules", "3")
    path = school / "class" / "grades.json"
    document = json.loads(path.read_text("utf-8"))
    for student in document["students"]:
        student["grades"]["03"]["message"] = "kept"
    path.write_text(json.dumps(document))
    shutil.copy(school / "class" / "anna" / "03_activations.py", school / "class" / "ben")
    tito(school, "grade", "class", "--modules", "3")
    rows = table(school)
    assert {name: row["03 message"] for name, row in rows.items()} == {"anna": "kept", "çağla öz": "kept", "ben": ""}
    path.write_text("damaged")
    tito(school, "grade", "class", "--modules", "3")
    assert table(school)["anna"]["03 message"] == ""


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere"], "no such folder: expected one that contains a workspace for each student"),
        (["suites"], "no workspace in it: expected subfolders with files such as 02_tensor.py"),
        (["class", "--modules", "8-2"], "--modules 8-2: expected the first module before the last, e.g. 2-8"),
        (["class", "--modules", "2-33"], "module '33': expected a number from 1 to 20"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_code_2(school: Path, arguments: list[str], complaint: str) -> None:
    done = tito(school, "grade", *arguments)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert complaint in line
