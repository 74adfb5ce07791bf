"""`tito module` as a process: a learner's way through a small module, and everything that can be wrong on it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.course import RELU, SIGMOID, file_of, make_course, popen, solve
from tests.cli.running import tito


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_course(tmp_path / "a course")


@pytest.fixture
def started(root: Path) -> Path:
    assert tito(root, "module", "start", "3").returncode == 0
    return root


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the only line on stderr."""
    (line,) = done.stderr.splitlines()
    assert line.startswith("tito: ")
    return line


# The way through a module -------------------------------------------------------------------------------


def test_start_creates_the_file_and_names_lesson_and_next_command(root: Path) -> None:
    done = tito(root, "module", "start", "activations")
    assert (done.returncode, done.stderr) == (0, "")
    assert "your file: workspace/03_activations.py (2 steps)" in done.stdout
    assert "tito module lesson 03" in done.stdout
    assert "from the reference, until you write them: 01, 02" in done.stdout
    text = file_of(root).read_text()
    assert 'NotImplementedError("03 _relu: yours to write")' in text
    assert "GELU_CUBIC = 0.044715" in text  # the rest of the file is given


def test_start_again_changes_nothing_and_says_how_far(started: Path) -> None:
    solve(started, "_relu", RELU)
    before = file_of(started).read_bytes()
    assert tito(started, "module", "test", "03").returncode == 1
    done = tito(started, "module", "start", "03")
    assert done.stdout.startswith("03 activations: started, 1 of 2 steps\n")
    assert file_of(started).read_bytes() == before


def test_a_wrong_answer_is_shown_with_expected_got_and_place(started: Path) -> None:
    solve(started, "_relu", "    return np.abs(x)\n")
    done = tito(started, "module", "test", "3")
    assert done.returncode == 1
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert lines[0] == "tinytorch: yours: 03 activations; reference: the rest"
    assert "  ✗  1  ReLU     0 of 1 test" in lines
    assert "  ·  2  Sigmoid  to write" in lines
    assert "  test_activations.py::test_relu" in lines
    assert re.search(r"expected +\[0\.0, 2\.0\]", done.stdout)
    assert re.search(r"got +\[1\.0, 2\.0\]", done.stdout)
    assert re.search(r"at +workspace/03_activations\.py:\d+", done.stdout)
    assert "hint: tito module hint 03 1" in lines


def test_the_right_answer_completes_the_module(started: Path) -> None:
    solve(started, "_relu", RELU)
    refused = tito(started, "module", "complete", "3")
    assert refused.returncode == 1
    assert one_line(refused) == "tito: 03 activations is not complete: 1 of 2 steps pass"
    solve(started, "_sigmoid", SIGMOID)
    assert tito(started, "module", "test", "3").returncode == 0
    done = tito(started, "module", "complete", "3")
    assert (done.returncode, done.stderr) == (0, "")
    assert "03 activations is complete: all 2 steps pass" in done.stdout
    assert "checkpoint 02: Can I add nonlinearity? tito checkpoint test 02" in done.stdout
    assert re.search(r"03 +Activations +complete +2/2", tito(started, "module", "list").stdout)


def test_one_step_is_tested_by_its_number_a_name_or_a_test(started: Path) -> None:
    solve(started, "_relu", RELU)
    for part in ("1", "relu", "_relu", "ReLU", "test_relu"):
        done = tito(started, "module", "test", "3", part)
        assert (done.returncode, part) == (0, part)
        assert "✓  1  ReLU" in done.stdout
    assert tito(started, "module", "test", "3", "sigmoid").returncode == 1


def test_all_runs_the_tests_that_do_not_grade(started: Path) -> None:
    solve(started, "_relu", RELU)
    solve(started, "_sigmoid", SIGMOID)
    done = tito(started, "module", "test", "3", "--all")
    assert done.returncode == 0
    assert "does not grade   test_activations.py::test_sigmoid_takes_no_time" in done.stdout
    assert "does not grade" not in tito(started, "module", "test", "3").stdout


def test_hints_lead_to_the_step_that_does_not_pass(started: Path) -> None:
    assert "Compare each number with zero." in tito(started, "module", "hint", "3").stdout
    assert "step 2 of 2: Sigmoid" in tito(started, "module", "hint", "3", "2").stdout
    solve(started, "_relu", RELU)
    tito(started, "module", "test", "3")
    assert "step 2 of 2: Sigmoid" in tito(started, "module", "hint", "3").stdout


def test_a_lesson_is_shown(root: Path) -> None:
    assert "Without a bend, layers fold into one." in tito(root, "module", "lesson", "3").stdout
    assert one_line(tito(root, "module", "lesson", "2")).endswith("module 02 tensor has no lesson in this checkout")


def test_reset_keeps_a_backup(started: Path) -> None:
    solve(started, "_relu", RELU)
    mine = file_of(started).read_bytes()
    done = tito(started, "module", "reset", "3")
    assert done.returncode == 0
    backup = started / done.stdout.split("backup:")[1].strip()
    assert backup.read_bytes() == mine
    assert "yours to write" in file_of(started).read_text()


def test_a_solution_asks_first_prints_and_writes_nothing(started: Path) -> None:
    before = file_of(started).read_bytes()
    refused = tito(started, "module", "solution", "3", "relu")
    assert refused.returncode == 1
    assert "np.maximum" not in refused.stdout
    done = tito(started, "module", "solution", "3", "relu", "--yes")
    assert "return np.maximum(x" in done.stdout
    assert file_of(started).read_bytes() == before


def test_update_puts_answers_into_a_newer_exercise(started: Path) -> None:
    assert "03 activations is up to date" in tito(started, "module", "update", "3").stdout
    solve(started, "_relu", RELU)
    exercise = started / "modules" / "03_activations" / "exercise.toml"
    edit = '[[edit]]\nfind = "GELU_CUBIC = 0.044715"\nreplace = "GELU_CUBIC = 4.4715e-2"\n'
    exercise.write_text(exercise.read_text() + edit)
    done = tito(started, "module", "update", "3")
    assert done.returncode == 0
    assert "kept:    _relu" in done.stdout
    text = file_of(started).read_text()
    assert RELU in text
    assert "GELU_CUBIC = 4.4715e-2" in text
    assert "backup:" in done.stdout


def test_status_tests_what_has_changed(started: Path) -> None:
    solve(started, "_relu", RELU)
    done = tito(started, "module", "status")
    assert re.search(r"03 +Activations +started +1/2", done.stdout)
    assert "next: tito module test 03" in done.stdout
    solve(started, "_sigmoid", SIGMOID)
    assert re.search(r"03 +Activations +test again +1/2", tito(started, "module", "list").stdout)
    assert re.search(r"03 +Activations +complete +2/2", tito(started, "module", "status").stdout)


def test_a_lost_or_corrupt_state_is_rebuilt(started: Path) -> None:
    solve(started, "_relu", RELU)
    tito(started, "module", "test", "3")
    state = started / "workspace" / ".tito" / "03.json"
    for damage in (state.unlink, lambda: state.write_text("{"), lambda: state.write_bytes(b"\0\xff")):
        damage()
        assert re.search(r"03 +Activations +started +1/2", tito(started, "module", "status").stdout)


def test_a_newer_state_is_not_overwritten(started: Path) -> None:
    tito(started, "module", "test", "3")
    state = started / "workspace" / ".tito" / "03.json"
    document = json.loads(state.read_text())
    state.write_text(json.dumps(document | {"format": 99}))
    done = tito(started, "module", "list")
    assert done.returncode == 2
    assert "written by a newer tito" in one_line(done)


# Watching and debugging ---------------------------------------------------------------------------------


def test_watch_tests_again_after_a_change_and_ends_with_ctrl_c(started: Path) -> None:
    process = popen(started, "module", "test", "3", "--watch")
    assert process.stdout is not None
    try:
        seen = []
        for line in process.stdout:
            seen.append(line)
            if line.startswith("hint:") and len([one for one in seen if one.startswith("hint:")]) == 1:
                solve(started, "_relu", RELU)
            if line.startswith("hint: tito module hint 03 2"):
                break
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.communicate()
    assert any("✓  1  ReLU" in line for line in seen)


def test_pdb_stops_at_the_first_failure(started: Path) -> None:
    process = popen(started, "module", "test", "3", "relu", "--pdb")
    out, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "yours: 03 activations" in err
    assert "(Pdb)" in out
    assert "03 _relu: yours to write" in out


# What can be wrong --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["start", "33"], "module '33': expected a number from 1 to 20"),
        (["start", "activatoins"], "did you mean 03 activations?"),
        (["start", "4"], "module 04 layers has no exercise in this checkout"),
        (["test", "3"], "module 03 activations is not started: tito module start 03 creates its file"),
        (["complete", "3"], "module 03 activations is not started"),
        (["reset", "3"], "module 03 activations is not started"),
        (["update", "3"], "module 03 activations is not started"),
        (["hint", "3", "3"], "step 3: module 03 activations has steps 1 to 2"),
        (["hint", "3", "sigmiod"], "did you mean"),
        (["solution", "3", "tanh", "--yes"], "'tanh' is no step, name, or test of module 03 activations"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_request_is_one_line_and_exit_code_2(root: Path, arguments: list[str], complaint: str) -> None:
    done = tito(root, "module", *arguments)
    assert done.returncode == 2
    assert complaint in one_line(done)
    assert not (root / "workspace" / "03_activations.py").exists()


def breaks(root: Path, content: bytes) -> str:
    """Write the learner's file, and return what a test prints about it."""
    file_of(root).write_bytes(content)
    done = tito(root, "module", "test", "3")
    assert done.returncode in (1, 2)
    assert file_of(root).read_bytes() == content
    return done.stdout + done.stderr


def test_a_file_that_cannot_be_tested_is_named_with_its_line(started: Path) -> None:
    text = file_of(started).read_text()
    count = len(text.splitlines())
    assert f"workspace/03_activations.py:{count + 1}: syntax error" in breaks(started, (text + "def (:\n").encode())
    assert "not UTF-8" in breaks(started, text.encode() + b"# caf\xe9\n")
    assert "03_activations.py" in breaks(started, b"")
    renamed = breaks(started, text.replace("def tanh(", "def tangent(").encode())
    assert "tanh" in renamed
    assert "expected" in renamed
    file_of(started).unlink()
    gone = tito(started, "module", "test", "3")
    assert gone.returncode == 2
    assert "the file is missing: tito module start 03 creates it again" in one_line(gone)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("raise SystemExit(0)", "SystemExit"),
        ("import os; os._exit(0)", "ended"),
        ("def f():\n    return f()\n\nf()", "RecursionError"),
        ("import random; random.no_such_name", "no_such_name"),
        ("open('left-behind', 'w').write('x')", ""),
        ("import os; os.fork()", ""),
    ],
)
def test_a_file_that_misbehaves_while_it_is_imported(started: Path, line: str, complaint: str) -> None:
    (started / "workspace" / "random.py").write_text("raise RuntimeError('this is not the library')\n")
    solve(started, "_relu", RELU)
    solve(started, "_sigmoid", SIGMOID)
    path = file_of(started)
    path.write_text(f"{path.read_text()}\n\n{line}\n")
    done = tito(started, "module", "test", "3")
    assert done.returncode == (1 if complaint else 0)
    assert complaint in done.stdout
    assert "this is not the library" not in done.stdout
    assert not list(started.rglob("left-behind"))


def test_a_workspace_that_cannot_be_written_loses_nothing(root: Path) -> None:
    (root / "workspace").write_text("a file")
    done = tito(root, "module", "start", "3")
    assert done.returncode == 2
    assert "a file: expected a folder for the workspace" in one_line(done)
    (root / "workspace").unlink()
    (root / "workspace").mkdir()
    (root / "workspace" / ".tito").write_text("a file")
    assert tito(root, "module", "start", "3").returncode == 1
    assert not file_of(root).exists()


def test_the_workspace_moves_with_its_variable(root: Path) -> None:
    place = root / "Übungen für später"
    process = popen(root, "module", "start", "3", TITO_WORKSPACE=str(place))
    assert process.communicate(timeout=60)[1] == ""
    assert (place / "03_activations.py").is_file()
    assert not (root / "workspace").exists()


def test_two_terminals_do_not_disturb_each_other(started: Path) -> None:
    solve(started, "_relu", RELU)
    processes = [popen(started, "module", "test", "3") for _ in range(3)]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (1, "")
        assert "✓  1  ReLU" in out
    assert re.search(r"started +1/2", tito(started, "module", "list").stdout)


def test_ctrl_c_ends_a_test_and_its_processes(started: Path) -> None:
    solve(started, "_relu", f"    while True:\n        pass  # {os.getpid()}\n")
    process = popen(started, "module", "test", "3")
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "tito: interrupted"
    assert not (started / "workspace" / ".tito" / "03.json").exists()
