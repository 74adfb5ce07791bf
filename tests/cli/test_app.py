"""The command line as a process: help, arguments, exit codes, signals, and readers that leave early."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.cli.running import HOME, Run, environment, make_root, tito, unread

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
    ["module"],
    *(["module", name] for name in ("list", "start", "lesson", "test", "hint", "complete")),
    *(["module", name] for name in ("reset", "solution", "update", "status")),
    ["checkpoint"],
    *(["checkpoint", name] for name in ("status", "timeline", "test")),
    ["milestone"],
    *(["milestone", name] for name in ("list", "run")),
    ["grade"],
    ["python"],
    ["report"],
    ["doctor"],
    ["submit"],
    ["check"],
    ["verify"],
    ["leaderboard"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(command: list[str], root: Path) -> None:
    done = tito(root, *command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Usage: {' '.join(['tito', *command])}" in done.stdout
    assert tito(root, *command, "-h").stdout == done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "..." not in done.stdout.replace("]...", "")  # a help text that is cut
    for line in done.stdout.partition("Options:")[2].splitlines():
        assert "INTEGER" not in line
        assert not re.search(r"--[a-z-]+ (<|TEXT\b.*e\.g\.)", line), f"{line}: an option without a metavar"
    usage = done.stdout.partition("\n\n")[0]
    assert not re.search(r"[{}]|\[[a-z]", usage), f"{usage}: an argument without a metavar"


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["suite", "show", "tinny"], "did you mean tiny?"),
        (["suite", "run", "tinny"], "did you mean tiny?"),
        (["suite", "run", "tiny", "--case", "cloud"], "did you mean clouds?"),
        (["suite", "run", "tiny", "--gate", "accurcy=0.5"], "did you mean accuracy?"),
        (["suite", "run", "tiny", "--backend", "nunpy"], "did you mean numpy?"),
        (["suite", "run", "tiny", "--mine", "--borrow", "tensr"], "did you mean 02 tensor?"),
        (["record", "show", "tinny"], "did you mean tiny?"),
        (["record", "list", "--suite", "tinny"], "did you mean tiny?"),
        (["data", "fetch", "mnits"], "did you mean mnist?"),
        (["module", "start", "tensr"], "did you mean 02 tensor?"),
        (["checkpoint", "test", "vison"], "did you mean Vision?"),
        (["milestone", "run", "mnits"], "did you mean mnist?"),
        (["python", "--borrow", "tensr"], "did you mean 02 tensor?"),
        (["grade", "nowhere"], "no such folder"),
        (["suit", "list"], "Did you mean 'suite'"),
        (["suite", "lst"], "Did you mean 'list'?"),
        (["suite", "run", "tiny", "--quik"], "--quick"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_unknown_name_ends_with_2_and_suggests(arguments: list[str], hint: str, root: Path) -> None:
    done = tito(root, *arguments)
    assert done.returncode == 2
    assert hint in " ".join(done.stderr.split())
    assert done.stdout == ""


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['tito', '--help']\n"
        "from tito.cli.app import main\n"
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


def test_no_records_is_a_hint_and_not_a_report(root: Path) -> None:
    listed = tito(root, "record", "list")
    assert (listed.returncode, listed.stdout) == (0, "")
    assert "no records yet" in listed.stderr
    report = tito(root, "report")
    assert report.returncode == 1
    assert "no records in" in report.stderr


@pytest.mark.parametrize(
    "command",
    [["record", "schema"], ["record", "show", "tiny"], ["record", "list"], ["suite", "show", "tiny"], ["data", "list"]],
    ids=" ".join,
)
def test_a_reader_that_leaves_early_is_no_error(passed: Run, command: list[str]) -> None:
    assert unread(passed[0], *command) == (0, "")


def test_a_report_whose_reader_leaves_early_is_written(passed: Run, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(passed[0], root)
    for page in (root / "reports").glob("*.html"):
        page.unlink()
    assert unread(root, "report") == (0, "")
    assert {page.name for page in (root / "reports").glob("*.html")} == {"tiny.html", "index.html"}


def test_outside_a_project_it_says_what_to_do(tmp_path: Path) -> None:
    done = tito(tmp_path, "suite", "list")
    assert done.returncode == 1
    assert done.stderr.startswith(f"tito: TITO_ROOT={tmp_path}: it has no folder suites/")
