"""`tito python` as a process: a program runs on the learner's file, and so do the processes that it starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.course import make_course, popen, solve
from tests.cli.running import tito

CODE = "import tinytorch as tt; print(tt.relu(tt.Tensor([-1.0, 2.0])).numpy().tolist())"
LINE = "tinytorch: yours: 03 activations; reference: the rest\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = make_course(tmp_path)
    assert tito(root, "module", "start", "3").returncode == 0
    solve(root, "_relu", "    return np.abs(x)  # wrong, so that it can be told apart\n")
    return root


def test_code_runs_on_the_learners_file(root: Path) -> None:
    done = tito(root, "python", "-c", CODE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[1.0, 2.0]\n", LINE)


def test_a_borrowed_module_comes_from_the_reference(root: Path) -> None:
    done = tito(root, "python", "--borrow", "3", "-c", CODE)
    assert (done.stdout, done.stderr) == ("[0.0, 2.0]\n", "tinytorch: yours: none; reference: the rest\n")


def test_a_file_with_arguments_and_its_children_run_on_the_learners_file(root: Path) -> None:
    folder = root / "programs"
    folder.mkdir()
    (folder / "random.py").write_text("raise RuntimeError('this is not the library')\n")
    program = folder / "program.py"
    program.write_text(
        f"import subprocess, sys\nprint(sys.argv[1:])\nsubprocess.run([sys.executable, '-c', {CODE!r}])\n"
    )
    done = tito(root, "python", "programs/program.py", "--lr", "0.1")
    assert (done.returncode, done.stderr) == (0, LINE)
    assert sorted(done.stdout.splitlines()) == ["['--lr', '0.1']", "[1.0, 2.0]"]


def test_the_exit_code_is_the_programs(root: Path) -> None:
    assert tito(root, "python", "-c", "raise SystemExit(7)").returncode == 7
    assert tito(root, "python", "missing.py").returncode == 2
    done = tito(root, "python", "--borrow", "33", "-c", CODE)
    assert done.returncode == 2
    assert "module '33': expected a number" in done.stderr


def test_a_prompt_reads_from_the_terminal_or_a_pipe(root: Path) -> None:
    process = popen(root, "python")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", LINE)


def test_jupyter_uses_the_learners_files_after_one_import(root: Path) -> None:
    done = tito(root, "python", "--borrow", "3", "-c", "print(1)")  # any process: the import below is what counts
    assert done.returncode == 0
    code = f"import tito.mine, tito.mine as again\n{CODE}"
    process = popen(root, "python", "-c", code)
    assert process.communicate(timeout=60)[0] == "[1.0, 2.0]\n"
