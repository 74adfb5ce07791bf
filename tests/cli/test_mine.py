"""`tito suite run --mine` as a process: a suite on a learner's module, its page, and what it relies on."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.cli.course import RELU, SIGMOID, file_of, make_course, solve
from tests.cli.running import records, tito
from tito.bench.mine import load_mine


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project whose suite tiny runs module 03, which the learner has completed."""
    root = make_course(tmp_path)
    suite = root / "suites" / "2001_tiny" / "suite.yaml"
    suite.write_text(yaml.safe_dump(yaml.safe_load(suite.read_text()) | {"modules": [2, 3]}))
    assert tito(root, "module", "start", "3").returncode == 0
    solve(root, "_relu", RELU)
    solve(root, "_sigmoid", SIGMOID)
    assert tito(root, "module", "complete", "3").returncode == 0
    return root


def test_a_run_names_whose_modules_ran_and_stays_out_of_the_reference_s_records(root: Path) -> None:
    options = ["--quick", "--gate", "accuracy=0.6", "--case", "clouds", "--mine", "--borrow", "2"]
    words = ["suite", "run", "tiny", *options]
    done = tito(root, *words, "--note", "my first")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "tinytorch: yours: 03 activations; reference: the rest"
    assert lines[1] == "borrowed from the reference: 02 tensor"
    assert records(root) == []
    (run,), warnings = load_mine(root / "reports")
    assert warnings == []
    assert (run.record.note, run.record.provenance.command) == ("my first", f"tito {' '.join(words)}")
    assert run.record.mine is not None
    assert (list(run.record.mine.modules), run.record.mine.borrowed) == (["activations"], ["tensor"])
    page = (root / "reports" / "mine.html").read_text()
    assert "activations" in page
    assert "mine.html" in done.stdout


def test_a_module_that_changed_is_tested_again_first(root: Path) -> None:
    file_of(root).write_text(file_of(root).read_text() + "\n# a remark\n")
    done = tito(root, "suite", "run", "tiny", "--mine", "--quick")
    assert done.returncode == 0, done.stderr
    assert "03 activations: changed since its last test, so it was tested again: all steps pass" in done.stderr


def test_a_module_that_was_broken_does_not_run(root: Path) -> None:
    file_of(root).write_text(file_of(root).read_text().replace(SIGMOID, "    return x\n"))
    done = tito(root, "suite", "run", "tiny", "--mine", "--quick")
    assert done.returncode == 2
    assert "tested again: 1 of 2 steps pass" in done.stderr
    assert "none of the modules that tiny needs is complete" in done.stderr
    assert not (root / "reports" / "mine").exists()
