"""The command line as a user meets it: as a process, on a tiny suite, with its outputs and exit codes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tito.bench.record import Record

TINY = Path(__file__).parent / "bench" / "suites" / "2001_tiny"
HOME = Path(__file__).parents[1]
COMMANDS = [
    [],
    ["suite"],
    ["suite", "list"],
    ["suite", "show"],
    ["suite", "run"],
    ["record"],
    ["record", "list"],
    ["record", "show"],
    ["record", "schema"],
    ["data"],
    ["data", "list"],
    ["data", "fetch"],
    ["data", "verify"],
    ["report"],
    ["doctor"],
]


def environment(root: Path) -> dict[str, str]:
    return os.environ | {
        "TITO_ROOT": str(root),
        "TINYTORCH_BLAS_KERNEL": "inherit",
        "TINYTORCH_DATA": str(root / "data"),
        "PYTHONPATH": os.pathsep.join([str(HOME), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }


def tito(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One command in a process of its own; whatever happens, no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "tito", *arguments],
        env=environment(root),
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done


def make_root(root: Path, **parameters: Any) -> Path:
    """A project with the tiny suite and nothing else."""
    folder = root / "suites" / "2001_tiny"
    folder.mkdir(parents=True)
    document = yaml.safe_load((TINY / "suite.yaml").read_text())
    document["cases"][0]["parameters"] |= parameters
    document["profile"]["stack_seconds"] = 0.2
    (folder / "suite.yaml").write_text(yaml.safe_dump(document))
    shutil.copy(TINY / "workload.py", folder)
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path)


@pytest.fixture(scope="module")
def passed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A project in which the suite was run once, and what that printed."""
    root = make_root(tmp_path_factory.mktemp("passed"))
    return root, tito(root, "suite", "run", "tiny", "--quick")


Run = tuple[Path, subprocess.CompletedProcess[str]]


def records(root: Path) -> list[Record]:
    paths = sorted((root / "reports" / "records" / "tiny").glob("*.json"))
    return [Record.model_validate_json(path.read_bytes()) for path in paths]


# ---- help


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(command: list[str], root: Path) -> None:
    done = tito(root, *command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Usage: {' '.join(['tito', *command])}" in done.stdout


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['tito', '--help']\n"
        "from tito.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'pydantic', 'pandas', 'plotly', 'jinja2', 'yaml', 'psutil'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=HOME, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_version_is_printed(root: Path) -> None:
    assert tito(root, "--version").stdout.startswith("tito ")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["suite", "run"], "Missing argument"),
        (["suite", "run", "tiny", "--seeds", "0"], "--seeds"),
        (["suite", "run", "tiny", "--seeds", "many"], "--seeds"),
        (["suite", "run", "tiny", "--fast"], "--fast"),
        (["suite", "run", "tiny", "--gate", "accuracy"], "'accuracy' is not METRIC=VALUE"),
        (["suite", "run", "tiny", "--gate", "accuracy=high"], "not METRIC=VALUE"),
        (["suite", "run", "tiny", "--gate", "rain.accuracy=1"], "no gate on 'rain.accuracy'"),
        (["suite", "run", "tiny", "--gate", "accuracy=nan"], "finite"),
        (["suite", "run", "tiny", "--gate", "charm=1"], "no gate on 'charm'"),
        (["suite", "run", "tiny", "--backend", "abacus"], "'abacus': expected one of numpy, onednn"),
        (["sing"], "sing"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_arguments_end_with_2(arguments: list[str], complaint: str, root: Path) -> None:
    done = tito(root, *arguments)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert not (root / "reports").exists()


# ---- suites


def test_suites_are_listed_and_shown(root: Path) -> None:
    assert "Least squares on two clouds" in tito(root, "suite", "list").stdout
    shown = tito(root, "suite", "show", "tiny").stdout
    assert "Accuracy at least 90 %, mean over seeds" in shown
    assert "tito suite run tiny" in shown


def test_an_unknown_suite_names_the_known_ones(root: Path) -> None:
    done = tito(root, "suite", "run", "tinny")
    assert done.returncode == 1
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
    record = records(root)[0]
    assert record.status == "passed"
    for text in ("2001 tiny", "passed", "at least 90 %", "met", "p50", "p90", "p99", "µs", "/s at batch size"):
        assert text in done.stdout
    for text in ("peak memory", "model file", "training time", "tito suite run tiny --quick", record.id):
        assert text in done.stdout
    assert str(root / "reports" / "tiny.html") in done.stdout
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
    assert tito(root, "record", "list").stdout.rstrip().endswith("altered")


def test_a_gate_override_changes_no_file(root: Path) -> None:
    before = (root / "suites" / "2001_tiny" / "suite.yaml").read_bytes()
    tito(root, "suite", "run", "tiny", "--quick", "--gate", "accuracy=2")
    assert (root / "suites" / "2001_tiny" / "suite.yaml").read_bytes() == before


def test_a_forced_backend_reaches_the_children_the_record_and_the_answer(root: Path) -> None:
    done = tito(root, "suite", "run", "tiny", "--quick", "--gate", "accuracy=2", "--backend", "numpy")
    assert "NumPy (asked for by --backend)" in done.stdout
    (record,) = records(root)
    assert record.provenance.backend is not None
    assert record.provenance.backend.name == "numpy"
    assert record.provenance.environment["TINYTORCH_BACKEND"] == "numpy"
    assert record.provenance.command == "tito suite run tiny --quick --gate accuracy=2 --backend numpy"
    assert "asked for by --backend" in (root / "reports" / "tiny.html").read_text()


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


def test_weights_that_cannot_be_kept_cost_neither_the_record_nor_the_answer(root: Path) -> None:
    (root / "kept").write_text("in the way")
    done = tito(root, "suite", "run", "tiny", "--quick", "--keep-weights", str(root / "kept"))
    assert done.returncode == 1
    assert "latency" in done.stdout
    assert len(records(root)) == 1
    assert done.stderr.splitlines()[-1].startswith(f"tito: {root / 'kept'}: the weights cannot be kept there (")


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
    assert last.startswith("tito: the result above is not kept: ")
    assert str(root / "reports") in last


def test_a_page_that_cannot_be_written_costs_neither_the_record_nor_the_answer(root: Path) -> None:
    (root / "reports" / "tiny.html").mkdir(parents=True)
    done = tito(root, "suite", "run", "tiny", "--quick")
    assert done.returncode == 1
    assert "latency" in done.stdout
    assert len(records(root)) == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"tito: the record is kept in {root / 'reports' / 'records'}")
    assert "but its page is not written: " in last


def test_outside_a_terminal_progress_is_plain_lines(passed: Run) -> None:
    assert "\x1b" not in passed[1].stderr + passed[1].stdout
    assert "clouds, seed 1   Accuracy " in passed[1].stderr


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_command_that_is_ended_cleans_up_and_says_how(tmp_path: Path, number: int, code: int) -> None:
    root = make_root(tmp_path, behaviour="hang deaf", place=str(tmp_path / "place"))
    (tmp_path / "temporary").mkdir()
    command = [sys.executable, "-m", "tito", "suite", "run", "tiny"]
    with subprocess.Popen(
        command,
        env=environment(root) | {"TMPDIR": str(tmp_path / "temporary")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not ((tmp_path / "place").exists() and (tmp_path / "place").read_text()):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == code
    if number == signal.SIGINT:
        assert err.splitlines()[-1] == "tito: interrupted"
    assert "Traceback" not in out + err
    assert list((tmp_path / "temporary").iterdir()) == []
    assert not psutil.pid_exists(int((tmp_path / "place").read_text()))


# ---- records and reports


def test_records_are_listed_and_shown_as_when_they_were_made(passed: Run) -> None:
    root, done = passed
    id = records(root)[0].id
    assert id in tito(root, "record", "list").stdout
    assert id in tito(root, "record", "list", "--suite", "tiny").stdout
    assert id not in tito(root, "record", "list", "--suite", "other").stdout
    assert tito(root, "record", "show", id).stdout == done.stdout
    assert tito(root, "record", "show", "tiny").stdout == done.stdout


def test_a_record_as_json_is_the_record(passed: Run) -> None:
    root, _ = passed
    (record,) = records(root)
    assert Record.model_validate_json(tito(root, "record", "show", record.id, "--json").stdout) == record


def test_the_schema_is_json_schema(root: Path) -> None:
    schema = json.loads(tito(root, "record", "schema").stdout)
    assert schema["type"] == "object"
    assert "provenance" in schema["required"]


def test_an_unknown_record_is_one_line(root: Path) -> None:
    done = tito(root, "record", "show", "20200101T000000Z-tiny-000000")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no record '20200101T000000Z-tiny-000000'" in done.stderr


def test_a_cut_record_is_named_and_the_others_still_shown(passed: Run, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(passed[0], root)
    whole = next((root / "reports" / "records" / "tiny").glob("*.json"))
    cut = whole.with_name("20200101T000000Z-tiny-cut.json")
    cut.write_bytes(whole.read_bytes()[:500])
    done = tito(root, "record", "list")
    assert done.returncode == 0
    assert whole.stem in done.stdout
    assert str(cut) in done.stderr
    assert str(root / "reports" / "index.html") in tito(root, "report").stdout


def test_no_records_is_a_hint_and_not_a_report(root: Path) -> None:
    listed = tito(root, "record", "list")
    assert (listed.returncode, listed.stdout) == (0, "")
    assert "no records yet" in listed.stderr
    report = tito(root, "report")
    assert report.returncode == 1
    assert "no records in" in report.stderr


def unread(root: Path, *arguments: str, also_stderr: bool = False) -> tuple[int, str]:
    """Run a command whose reader closes the pipe at once; return its exit code, and its stderr if that is read."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tito", *arguments],
        env=environment(root),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    if also_stderr:
        process.stderr.close()
    said = "" if also_stderr else process.stderr.read()
    process.stderr.close()
    return process.wait(timeout=120), said


@pytest.mark.parametrize(
    "command",
    [["record", "schema"], ["record", "show", "tiny"], ["record", "list"], ["suite", "show", "tiny"], ["data", "list"]],
    ids=" ".join,
)
def test_a_reader_that_leaves_early_is_no_error(passed: Run, command: list[str]) -> None:
    assert unread(passed[0], *command) == (0, "")


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


def test_a_report_whose_reader_leaves_early_is_written(passed: Run, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(passed[0], root)
    for page in (root / "reports").glob("*.html"):
        page.unlink()
    assert unread(root, "report") == (0, "")
    assert {page.name for page in (root / "reports").glob("*.html")} == {"tiny.html", "index.html"}


# ---- data


def test_data_sets_are_listed_with_what_is_missing(root: Path) -> None:
    done = tito(root, "data", "list")
    assert done.returncode == 0
    for name in ("mnist", "cifar10", "shakespeare"):
        assert any(name in line and " no " in line for line in done.stdout.splitlines())


def test_an_unknown_data_set_names_the_known_ones(root: Path) -> None:
    done = tito(root, "data", "fetch", "imagenet")
    assert done.returncode == 1
    assert done.stderr.startswith("tito: no data set is named 'imagenet'; there are mnist")


def test_a_corrupt_data_file_is_found(root: Path) -> None:
    assert tito(root, "data", "verify").returncode == 0  # nothing there is nothing wrong
    folder = root / "data" / "shakespeare"
    folder.mkdir(parents=True)
    (folder / "shakespeare.txt").write_text("Now is the summer")
    done = tito(root, "data", "verify")
    assert done.returncode == 1
    assert "corrupt" in done.stdout
    assert "tito data fetch shakespeare" in done.stderr


def test_outside_a_project_it_says_what_to_do(tmp_path: Path) -> None:
    done = tito(tmp_path, "suite", "list")
    assert done.returncode == 1
    assert done.stderr.startswith(f"tito: TITO_ROOT={tmp_path}: no folder suites/")
