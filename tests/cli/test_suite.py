"""`tito suite`: a run saves everything, says what it measured, and its exit code is the verdict."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from tests.cli.running import Run, environment, make_root, records, tito, unread
from tests.report.sample import make_record
from tito.cli.suite import _keep_weights


def test_suites_are_listed_and_shown(root: Path) -> None:
    assert "Least squares on two clouds" in tito(root, "suite", "list").stdout
    shown = tito(root, "suite", "show", "tiny").stdout
    assert "Accuracy at least 90 %, mean over seeds" in shown
    assert "tito suite run tiny" in shown


def test_an_unknown_suite_names_the_known_ones(root: Path) -> None:
    done = tito(root, "suite", "run", "tinny")
    assert done.returncode == 2
    assert done.stderr.startswith("tito: no suite 'tinny'")
    assert "did you mean tiny?" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_malformed_suite_is_one_line_that_names_the_key(root: Path) -> None:
    file = root / "suites" / "2001_tiny" / "suite.yaml"
    file.write_text(file.read_text() + "colour: blue\n")
    done = tito(root, "suite", "run", "tiny")
    assert done.returncode == 1
    assert "colour" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_run_that_passes_prints_every_figure(passed: Run) -> None:
    root, done = passed
    assert done.returncode == 0, done.stderr
    (record,) = records(root)
    assert record.status == "passed"
    for text in ("2001 tiny", "passed", "at least 90 %", "met", "p50", "p90", "p99", "µs", "/s, at batch size"):
        assert text in done.stdout
    for text in ("peak memory", "model file", "training time", "python -m tito suite run tiny --quick", record.id):
        assert text in done.stdout
    page = root / "reports" / "tiny" / f"{record.id}.html"
    assert str(page) in done.stdout
    assert page.is_file()
    assert (root / "reports" / "tiny.html").is_file()
    assert (root / "reports" / "index.html").is_file()


def test_a_missed_aim_is_told_and_does_not_fail(passed: Run) -> None:
    line = next(line for line in passed[1].stdout.splitlines() if line.strip().startswith("aim"))
    assert line.rstrip().endswith("missed")


def test_data_that_cannot_be_had_ends_the_command_before_any_training(root: Path) -> None:
    suite = root / "suites" / "2001_tiny" / "suite.yaml"
    suite.write_text(suite.read_text().replace("data: none", "data: mnist"))
    (root / "data").write_text("a file where the data folder belongs")
    done = tito(root, "suite", "run", "tiny", "--quick")
    assert done.returncode == 1
    assert str(root / "data") in done.stderr
    assert "trying" not in done.stderr, "it was known before any download"


def test_a_missed_gate_ends_with_1_and_says_which(root: Path) -> None:
    done = tito(root, "suite", "run", "tiny", "--seeds", "1", "--gate", "accuracy=101%")
    assert done.returncode == 1
    assert "tito: tiny: gate missed: " in done.stderr
    assert "at least 101 %" in done.stdout
    (record,) = records(root)
    assert record.status == "gate missed"
    assert record.cases[0].verdicts[0].criterion.value == pytest.approx(1.01)
    assert record.provenance.command == "tito suite run tiny --seeds 1 --gate accuracy=101%"
    assert len(record.cases[0].runs) == 1
    assert record.altered == ["gate accuracy=101%", "1 of 2 seeds"]
    assert "altered run" in (root / "reports" / "tiny.html").read_text()
    assert "altered" in tito(root, "record", "list").stdout.splitlines()[-1]  # and noisy, if other programs ran


def test_a_gate_override_changes_no_file(root: Path) -> None:
    before = (root / "suites" / "2001_tiny" / "suite.yaml").read_bytes()
    tito(root, "suite", "run", "tiny", "--quick", "--gate", "accuracy=2")
    assert (root / "suites" / "2001_tiny" / "suite.yaml").read_bytes() == before


def test_a_forced_backend_reaches_the_children_the_record_and_the_answer(root: Path) -> None:
    done = tito(root, "suite", "run", "tiny", "--quick", "--gate", "accuracy=2", "--backend", "numpy")
    assert "NumPy (set by --backend)" in done.stdout
    (record,) = records(root)
    assert record.provenance.backend is not None
    assert record.provenance.backend.name == "numpy"
    assert record.provenance.environment["TINYTORCH_BACKEND"] == "numpy"
    assert record.provenance.command == "tito suite run tiny --quick --gate accuracy=2 --backend numpy"
    assert "set by --backend" in (root / "reports" / "tiny" / f"{record.id}.html").read_text()


def test_a_backend_that_is_not_there_ends_a_run_in_one_line_before_it_begins(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYTORCH_BACKEND", "abacus")
    done = tito(root, "suite", "run", "tiny", "--quick")
    assert done.returncode == 1
    assert done.stderr.startswith("tito: backend 'abacus': expected one of numpy, onednn")
    assert done.stderr.count("\n") == 1
    assert not (root / "reports").exists()


def test_a_failed_run_ends_with_1_and_keeps_its_record(tmp_path: Path) -> None:
    root = make_root(tmp_path, behaviour="raise")
    done = tito(root, "suite", "run", "tiny", "--quick")
    assert done.returncode == 1
    assert "tito: tiny: failed: " in done.stderr
    assert "the clouds" in done.stderr
    assert records(root)[0].status == "failed"
    assert (root / "reports" / "tiny.html").is_file()


def test_kept_weights_say_where_they_came_from_and_are_the_records(root: Path) -> None:
    done = tito(root, "suite", "run", "tiny", "--quick", "--keep-weights", str(root / "kept"))
    assert done.returncode == 0, done.stderr
    origin = json.loads((root / "kept" / "reference.json").read_text())
    content = (root / "kept" / "model.safetensors").read_bytes()
    assert origin["sha256"] == hashlib.sha256(content).hexdigest()
    assert origin["command"] == "tito suite run tiny --quick"
    assert origin["record"] in done.stdout


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_weights_that_cannot_be_kept_end_a_run_before_it_begins(root: Path, below: str) -> None:
    (root / "kept").write_text("in the way")
    folder = root / "kept" / below
    done = tito(root, "suite", "run", "tiny", "--quick", "--keep-weights", str(folder))
    assert (done.returncode, done.stdout, records(root)) == (1, "", [])
    assert done.stderr == f"tito: --keep-weights {folder}: cannot be written: {root / 'kept'} is not a folder\n"


def test_weights_whose_folder_is_lost_during_the_run_cost_neither_the_record_nor_the_answer(root: Path) -> None:
    record = make_record()
    folder = root / "kept"
    folder.write_text("in the way since")
    weights = root / "model.safetensors"
    weights.write_bytes(b"weights")
    (problem,) = _keep_weights(folder, weights, record)
    assert problem.startswith(f"{folder}: the weights cannot be written there (")


def test_a_run_that_fails_its_gate_keeps_no_weights(root: Path) -> None:
    done = tito(root, "suite", "run", "tiny", "--quick", "--gate", "accuracy=1.5", "--keep-weights", str(root / "none"))
    assert done.returncode == 1
    assert not (root / "none").exists()


def test_reports_that_cannot_be_written_end_a_run_before_it_begins(root: Path) -> None:
    (root / "reports").write_text("in the way")
    done = tito(root, "suite", "run", "tiny", "--quick")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"tito: cannot write records into {root / 'reports' / 'records'}: ")
    assert done.stderr.count("\n") == 1


def test_a_record_that_cannot_be_kept_is_still_shown(root: Path) -> None:
    (root / "reports" / "records").mkdir(parents=True)
    (root / "reports" / "records" / "tiny").write_text("in the way")
    done = tito(root, "suite", "run", "tiny", "--quick")
    assert done.returncode == 1
    assert "latency" in done.stdout
    last = done.stderr.splitlines()[-1]
    assert last.startswith("tito: the result above was not saved: ")
    assert str(root / "reports") in last


def test_a_page_that_cannot_be_written_costs_neither_the_record_nor_the_answer(root: Path) -> None:
    (root / "reports" / "tiny.html").mkdir(parents=True)
    done = tito(root, "suite", "run", "tiny", "--quick")
    assert done.returncode == 1
    assert "latency" in done.stdout
    assert len(records(root)) == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"tito: the record was saved in {root / 'reports' / 'records'}")
    assert "but its page was not written: " in last


def test_one_case_s_model_is_kept_and_another_name_is_refused(root: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    done = tito(root, "suite", "run", "tiny", "--quick", "--case", "clouds", "--keep-models", str(models))
    assert done.returncode == 0, done.stderr
    assert [path.name for path in models.rglob("*") if path.is_file()] == ["weight"]
    assert records(root)[0].altered == ["only clouds"]
    assert records(root)[0].provenance.command == "tito suite run tiny --quick --case clouds"
    again = tito(root, "suite", "run", "tiny", "--quick", "--keep-models", str(models))
    assert again.returncode == 1
    assert "clouds exists already" in again.stderr
    other = tito(root, "suite", "run", "tiny", "--case", "cloud")
    assert other.returncode == 2
    assert other.stderr == "tito: tiny has no case 'cloud' (did you mean clouds?); there are: clouds\n"


def test_outside_a_terminal_progress_is_plain_lines(passed: Run) -> None:
    assert "\x1b" not in passed[1].stderr + passed[1].stdout
    assert "clouds, seed 1   Accuracy " in passed[1].stderr


@pytest.mark.parametrize("also_stderr", [False, True], ids=["stdout", "stdout and stderr"])
def test_a_run_whose_reader_leaves_early_loses_nothing(root: Path, also_stderr: bool) -> None:
    code, said = unread(
        root, "suite", "run", "tiny", "--quick", "--keep-weights", str(root / "kept"), also_stderr=also_stderr
    )
    assert code == 0, said
    (record,) = records(root)
    assert record.status == "passed"
    assert json.loads((root / "kept" / "reference.json").read_text())["record"] == record.id
    assert record.id in (root / "reports" / "tiny.html").read_text()
    assert (root / "reports" / "index.html").is_file()


def test_a_failed_run_whose_reader_leaves_early_still_ends_with_1(root: Path) -> None:
    code, said = unread(root, "suite", "run", "tiny", "--quick", "--gate", "accuracy=2")
    assert code == 1
    assert said.splitlines()[-1].startswith("tito: tiny: gate missed: ")
    assert [record.status for record in records(root)] == ["gate missed"]


def test_own_code_without_a_complete_module_says_how_to_begin(root: Path) -> None:
    assert "tiny runs none of the course's modules" in tito(root, "suite", "run", "tiny", "--mine").stderr
    file = root / "suites" / "2001_tiny" / "suite.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"modules": [2, 4]}))
    done = tito(root, "suite", "run", "tiny", "--mine")
    assert done.returncode == 2
    assert done.stderr.startswith("tito: none of the modules that tiny needs is complete in ")
    assert "tito module start" in done.stderr
    assert done.stderr.count("\n") == 1
    assert records(root) == []


@pytest.mark.parametrize(
    "words",
    [
        ["--borrow", "04"],
        ["--mine", "--backend", "onednn"],
        ["--mine", "--keep-weights", "kept"],
        ["--mine", "--seeds", "2"],
    ],
)
def test_options_that_do_not_go_with_own_code_are_refused(root: Path, words: list[str]) -> None:
    assert tito(root, "suite", "run", "tiny", *words).returncode == 2


def test_a_note_is_kept_and_shown(root: Path) -> None:
    done = tito(root, "suite", "run", "tiny", "--quick", "--note", "after  the\nnew \x1b[31mallocator")
    assert done.returncode == 0, done.stderr
    (record,) = records(root)
    assert record.note == "after the new \\x1b[31mallocator"
    assert "after the new" in done.stdout
    assert json.loads(tito(root, "record", "list", "--json").stdout)[0]["note"] == record.note


def test_a_note_that_is_too_long_is_refused_before_the_run(root: Path) -> None:
    done = tito(root, "suite", "run", "tiny", "--quick", "--note", "x" * 501)
    assert done.returncode == 2
    assert "--note: 501 characters; expected at most 500" in done.stderr
    assert not (root / "reports").exists()


def test_the_list_says_how_long_what_is_required_and_how_the_last_run_ended(passed: Run, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(passed[0], root)
    file = root / "suites" / "2001_tiny" / "suite.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"duration": {"full": 700, "quick": 42}}))
    line = next(line for line in tito(root, "suite", "list").stdout.splitlines() if line.startswith("tiny"))
    for part in ("12 min", "40 s", "Accuracy ≥ 90 %", f"passed {records(root)[0].created:%Y-%m-%d}, quick"):
        assert part in line
    assert "about 12 min, with --quick 40 s, on two cores" in tito(root, "suite", "show", "tiny").stdout


def test_a_record_from_the_future_is_not_the_last_run(passed: Run, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(passed[0], root)
    (record,) = records(root)
    late = record.model_copy(
        update={"id": "20960101T000000Z-tiny-000000", "created": datetime(2096, 1, 1, tzinfo=UTC), "status": "failed"}
    )
    (root / "reports" / "records" / "tiny" / f"{late.id}.json").write_text(late.model_dump_json())
    assert "passed" in tito(root, "suite", "list").stdout
    assert "2096" not in tito(root, "suite", "list").stdout


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_screen_breaks_a_word_or_is_wider_than_the_terminal(passed: Run, width: int) -> None:
    for words in (
        ["suite", "list"],
        ["suite", "show", "tiny"],
        ["data", "list"],
        ["record", "list"],
        ["record", "show", "tiny"],
    ):
        wide = [*words, "--wide"] if words in (["suite", "list"], ["record", "show", "tiny"]) else words
        known = set(screen(passed[0], 400, *wide).split())
        text = screen(passed[0], width, *words)
        paths = str(passed[0].parent)  # a path is never broken, so it may be wider
        lines = [line for line in text.splitlines() if paths not in line and "tito suite run" not in line]
        assert max(map(len, lines)) <= width, words
        assert set(re.sub(r"\d+ more columns? with --wide", "", text).split()) <= known, words


def screen(root: Path, width: int, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tito", *words],
        env=environment(root) | {"COLUMNS": str(width)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout
