"""What surrounds a command may be hostile: neighbours of a suite, texts, streams, the environment, odd paths."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.running import HOME, Run, environment, tito
from tito.compete.seal import organizer_key
from tito.errors import TitoError

ESCAPE = "\x1b[31m"


def test_one_bad_neighbour_does_not_hide_the_suites(root: Path) -> None:
    suites = root / "suites"
    shutil.copytree(suites / "2001_tiny", suites / ".ipynb_checkpoints")
    shutil.copytree(suites / "2001_tiny", suites / "2001_tiny copy")
    (suites / "1999_broken").mkdir()
    (suites / "1999_broken" / "suite.yaml").write_text("title: [")
    (suites / "1998_pipe").mkdir()
    os.mkfifo(suites / "1998_pipe" / "suite.yaml")
    (suites / "1997_endless").mkdir()
    (suites / "1997_endless" / "suite.yaml").symlink_to("/dev/zero")
    (suites / ".#2001_tiny").symlink_to("nowhere")
    done = tito(root, "suite", "list")
    assert done.returncode == 0
    assert "Least squares on two clouds" in done.stdout
    said = done.stderr.splitlines()
    assert len(said) == 4, said
    assert all(line.startswith("tito: skipped ") for line in said)
    for part in ("1997_endless/suite.yaml: not a regular file", "1998_pipe/suite.yaml: not a regular file",
                 "1999_broken/suite.yaml", "2001_tiny copy/suite.yaml: expected a folder named 2001_tiny"):  # fmt: skip
        assert any(part in line for line in said), part
    assert tito(root, "suite", "show", "tiny").returncode == 0


def test_a_record_that_is_a_pipe_or_endless_is_skipped(passed: Run, tmp_path: Path) -> None:
    shutil.copytree(passed[0], tmp_path / "copy", symlinks=True)
    root = tmp_path / "copy"
    folder = root / "reports" / "records" / "tiny"
    os.mkfifo(folder / "pipe.json")
    (folder / "endless.json").symlink_to("/dev/zero")
    (folder / "number.json").write_text('{"schema_version": 1, "seconds": ' + "1" + "0" * 400 + "}")
    done = tito(root, "record", "list")
    assert done.returncode == 0
    assert done.stderr.count("skipped") == 3
    assert done.stderr.count("\n") == 3


@pytest.mark.parametrize("key", ["title", "story", "unit", "metric", "case", "note"])
def test_a_suite_cannot_send_escapes_to_the_terminal(root: Path, key: str) -> None:
    file = root / "suites" / "2001_tiny" / "suite.yaml"
    text = json.dumps(f"bad {ESCAPE}")
    import yaml

    document = yaml.safe_load(file.read_text())
    metric = next(iter(document["metrics"]))
    places = {
        "title": document, "story": document, "unit": document["metrics"][metric],
        "metric": document["metrics"][metric], "case": document["cases"][0], "note": document["cases"][0],
    }  # fmt: skip
    places[key]["title" if key in ("metric", "case") else key] = json.loads(text)
    file.write_text(yaml.safe_dump(document))
    done = tito(root, "suite", "show", "tiny")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "expected characters that can be printed" in done.stderr
    assert "\x1b" not in done.stderr + done.stdout


def test_a_record_cannot_send_escapes_to_the_terminal_from_any_field(passed: Run, tmp_path: Path) -> None:
    shutil.copytree(passed[0], tmp_path / "copy")
    root = tmp_path / "copy"
    (file,) = (root / "reports" / "records" / "tiny").glob("*.json")
    planted = plant(json.loads(file.read_text()))
    file.write_text(json.dumps(planted))
    for command in (["record", "list"], ["record", "show", "tiny"], ["record", "show", "tiny", "--json"], ["report"]):
        done = tito(root, *command)
        assert "\x1b" not in done.stdout + done.stderr, command
        assert done.returncode == 0, done.stderr


def plant(value: object, key: str = "") -> object:
    """Put an escape at the end of every text that is free: titles, notes, units, names of files and processors."""
    free = {"title", "story", "note", "unit", "short", "cpu", "system", "command", "python", "why", "what", "used"}
    if isinstance(value, str) and key in free:
        return value + ESCAPE
    if isinstance(value, list):
        return [plant(item, key) for item in value]
    if isinstance(value, dict):
        return {name: plant(item, name) for name, item in value.items()}
    return value


def test_names_with_escapes_and_strange_paths_are_one_line(root: Path) -> None:
    for words in (
        ["suite", "show", f"bad{ESCAPE}"],
        ["suite", "run", "~nosuch-user/suite"],
        ["check", "~nosuch-user/entry"],
        ["record", "show", f"../{ESCAPE}"],
        ["data", "fetch", f"mnist{ESCAPE}"],
        ["leaderboard", "--folder", "~nosuch-user"],
    ):
        done = tito(root, *words)
        assert done.returncode in (1, 2), words
        assert "\x1b" not in done.stderr + done.stdout
        assert "a bug" not in done.stderr, done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&-"])
def test_a_closed_stream_is_no_error(root: Path, closed: str) -> None:
    command = f"{sys.executable} -m tito suite list {closed}"
    done = subprocess.run(["bash", "-c", command], env=environment(root), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert ("Least squares" in done.stdout) == (">&-" not in closed.split())


@pytest.mark.parametrize("columns", ["0", "-5", "wide"])
def test_an_odd_width_is_ignored(root: Path, columns: str) -> None:
    env = environment(root) | {"COLUMNS": columns}
    done = subprocess.run(
        [sys.executable, "-m", "tito", "suite", "list"], env=env, capture_output=True, text=True, check=True
    )
    assert "Least squares on two clouds" in done.stdout


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["suite", "show", "TINY"], "did you mean tiny?"),
        (["suite", "show", "2001"], "did you mean tiny?"),
        (["run", "tiny"], "`tito suite run`?"),
        (["fetch", "mnist"], "Did you mean `tito data fetch`?"),
        (["data", "fetch", "mnits"], "did you mean mnist?"),
        (["suite", "run", "tiny", "--gate", "accurcy=0.5"], "did you mean accuracy?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_was_probably_meant_is_named(root: Path, words: list[str], hint: str) -> None:
    done = tito(root, *words)
    assert done.returncode == 2
    assert hint in " ".join(done.stderr.split())


@pytest.mark.parametrize("option", ["--keep-models", "--keep-weights"])
def test_what_cannot_be_kept_is_refused_before_any_training(root: Path, option: str) -> None:
    (root / "file").write_text("")
    for folder, why in (("file", " is not a folder"), ("file/below", " is not a folder"), ("/proc/x", "")):
        done = tito(root, "suite", "run", "tiny", "--quick", option, folder)
        assert done.returncode == 1
        assert done.stderr.startswith(f"tito: {option} {folder}: cannot be written: ")
        assert why in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (root / "reports" / "records" / "tiny").exists()


@pytest.mark.parametrize(
    ("value", "words"),
    [("many", "expected a whole number"), ("1.5", "expected a whole number"), ("0", "expected at least 1")],
)
def test_a_wrong_number_is_said_in_our_words(root: Path, value: str, words: str) -> None:
    done = tito(root, "suite", "run", "tiny", "--seeds", value)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"Error: Invalid value for '--seeds': {words}"


def test_a_suite_may_be_named_by_its_file(root: Path) -> None:
    assert "Least squares" in tito(root, "suite", "show", "suites/2001_tiny/suite.yaml").stdout
    assert tito(root, "suite", "show", "suites/2001_tidy/suite.yaml").returncode == 2


def test_a_pipe_in_place_of_any_file_that_a_command_reads_blocks_nothing(root: Path) -> None:
    for name in ("modules", "tinytorch", "submissions"):
        (root / name).symlink_to(HOME / name)
    for name in ("2025_competition", "2025_tinymlperf"):
        shutil.copytree(HOME / "suites" / name, root / "suites" / name)
    (root / "suites" / "2025_competition" / "rules.yaml").unlink()
    (root / "class" / "student").mkdir(parents=True)
    for pipe in (root / "suites" / "2025_competition" / "rules.yaml", root / "class" / "student" / "02_tensor.py"):
        os.mkfifo(pipe, 0o600)
    for words in (["leaderboard"], ["check"], ["leaderboard", "--folder", "shared"]):
        done = tito(root, *words)
        assert done.returncode == 1
        assert done.stderr.endswith("rules.yaml: not a regular file\n")
    graded = tito(root, "grade", "class", "--modules", "2")
    assert graded.returncode == 0, graded.stderr
    assert "student" in graded.stdout


def test_a_key_that_is_a_pipe_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "key", 0o600)
    monkeypatch.setenv("TITO_KEY", str(tmp_path / "key"))
    with pytest.raises(TitoError, match="not a regular file"):
        organizer_key(tmp_path / "shared", make=False)
