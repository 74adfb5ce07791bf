"""`tito suite run NAME --resume`: finished seeds survive whatever ends a run, and only the same run goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.cli.running import environment, make_root, records, tito

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends signals")


@pytest.fixture
def hanging(tmp_path: Path) -> Path:
    """A project whose suite hangs once in the training of seed 2."""
    return make_root(tmp_path, behaviour="hang once", place=str(tmp_path / "place"))


def trained(root: Path) -> list[str]:
    return (root / "place").read_text().split()


def interrupt(root: Path, number: signal.Signals, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the suite, and end it while it trains seed 2."""
    command = [sys.executable, "-m", "tito", "suite", "run", "tiny", *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment(root), cwd=root, stdout=pipe, stderr=pipe, text=True) as process:
        wait_for_seed_2(root, process)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def wait_for_seed_2(root: Path, process: subprocess.Popen[str]) -> None:
    while not (root / "place").exists() or "2" not in trained(root):
        assert process.poll() is None
        time.sleep(0.05)


def unfinished(root: Path) -> list[Path]:
    return sorted((root / "reports" / "unfinished" / "tiny").glob("*"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_finished_seeds_survive_and_the_run_goes_on(hanging: Path, number: signal.Signals, code: int) -> None:
    ended = interrupt(hanging, number)
    assert ended.returncode == code
    if number != signal.SIGKILL:
        hint = "tito: 1 finished seed is kept; to go on: python -m tito suite run tiny --resume\n"
        assert hint in ended.stderr
    assert records(hanging) == []
    done = tito(hanging, "suite", "run", "tiny", "--resume", "--keep-weights", "kept")
    assert done.returncode == 0, done.stderr
    assert trained(hanging)[:3] == ["1", "2", "2"]
    assert "resuming the run of " in done.stderr
    assert "clouds, seed 1   Accuracy " in done.stderr
    assert done.stderr.count("taken over") == 1
    assert "seed 1 of clouds from the interrupted run of " in done.stdout
    (record,) = records(hanging)
    assert record.resumed is not None
    assert record.resumed.seeds == {"clouds": [1]}
    assert record.full
    assert [run.seed for run in record.cases[0].runs] == [1, 2]
    assert record.profile is not None
    assert len(record.profile.latency) == 2
    assert record.profile.memory is not None
    assert (record.profile.memory.seed, record.profile.parameter_count) == (1, 2)
    assert record.provenance.command == "tito suite run tiny"
    assert json.loads((hanging / "kept" / "reference.json").read_text())["record"] == record.id
    assert not (hanging / "reports" / "unfinished").exists()
    again = tito(hanging, "suite", "run", "tiny", "--resume")
    assert (again.returncode, again.stderr) == (
        2,
        "tito: tiny: no run of it is unfinished; without --resume, it runs from the start\n",
    )


def test_only_the_same_run_goes_on(hanging: Path) -> None:
    interrupt(hanging, signal.SIGKILL)
    (folder,) = unfinished(hanging)

    def refused(*options: str) -> str:
        done = tito(hanging, "suite", "run", "tiny", "--resume", *options)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert done.stderr.startswith("tito: tiny: the unfinished run of ")
        return done.stderr

    assert "--seeds: not set there, 1 here" in refused("--seeds", "1")
    assert "--quick: not set there, True here" in refused("--quick")
    assert "altered: not set there, gate accuracy=0.5 here" in refused("--gate", "accuracy=0.5")
    run = json.loads((folder / "run.json").read_text())
    for name, value, words in (
        ("code", "0" * 64, "the code of tinytorch or tito has changed"),
        ("machine", "0" * 12, "it ran on another machine"),
        ("versions", run["identity"]["versions"] | {"NumPy": "1.0"}, "NumPy: 1.0 there"),
        ("environment", {"LD_PRELOAD": "x.so"}, "variable LD_PRELOAD: x.so there, not set here"),
    ):
        (folder / "run.json").write_text(json.dumps(run | {"identity": run["identity"] | {name: value}}))
        assert words in refused()
    (folder / "run.json").write_text(json.dumps(run))
    file = hanging / "suites" / "2001_tiny" / "suite.yaml"
    text = file.read_text()
    file.write_text(yaml.safe_dump(yaml.safe_load(text) | {"title": "Another"}))
    assert "the suite has changed" in refused()
    file.write_text(text)
    assert unfinished(hanging) == [folder]
    assert tito(hanging, "suite", "run", "tiny", "--resume").returncode == 0


def test_a_run_that_still_runs_is_not_resumed(hanging: Path) -> None:
    command = [sys.executable, "-m", "tito", "suite", "run", "tiny"]
    null = subprocess.DEVNULL
    with subprocess.Popen(command, env=environment(hanging), stdout=null, stderr=null, text=True) as process:
        wait_for_seed_2(hanging, process)
        done = tito(hanging, "suite", "run", "tiny", "--resume")
        process.kill()
    assert done.returncode == 2
    assert done.stderr.endswith(" is still running\n")


@pytest.mark.parametrize("damage", ["seed", "weights"])
def test_what_is_damaged_is_measured_again(hanging: Path, damage: str) -> None:
    interrupt(hanging, signal.SIGKILL)
    (folder,) = unfinished(hanging)
    file = folder / {"seed": "clouds-1.json", "weights": "model.safetensors"}[damage]
    file.write_bytes(file.read_bytes()[:-9])
    assert tito(hanging, "suite", "run", "tiny", "--resume").returncode == 0
    assert trained(hanging)[:4] == ["1", "2", "1", "2"]
    assert records(hanging)[0].resumed is None


def test_a_run_from_the_start_says_what_it_leaves_and_then_removes_it(hanging: Path) -> None:
    interrupt(hanging, signal.SIGKILL)
    done = tito(hanging, "suite", "run", "tiny")
    assert done.returncode == 0
    assert "has 1 finished seed: --resume would go on with it" in done.stderr
    assert trained(hanging)[:4] == ["1", "2", "1", "2"]
    assert records(hanging)[0].resumed is None
    assert unfinished(hanging) == []


def test_models_that_were_kept_stay(hanging: Path) -> None:
    models = ("--keep-models", "models")
    interrupt(hanging, signal.SIGKILL, *models)
    assert (hanging / "models" / "clouds" / "weight").is_file()
    assert tito(hanging, "suite", "run", "tiny", *models).returncode == 1, "the folder exists"
    done = tito(hanging, "suite", "run", "tiny", *models, "--resume")
    assert done.returncode == 0, done.stderr
    assert trained(hanging)[:3] == ["1", "2", "2"]


def test_without_a_finished_seed_nothing_is_left(tmp_path: Path) -> None:
    root = make_root(tmp_path, behaviour="raise")
    assert tito(root, "suite", "run", "tiny").returncode == 1
    assert not (root / "reports" / "unfinished").exists()


def test_a_folder_that_cannot_be_written_is_one_line(root: Path) -> None:
    (root / "reports").mkdir()
    (root / "reports" / "unfinished").write_text("a file")
    done = tito(root, "suite", "run", "tiny", "--quick")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("tito: cannot write into ")


def test_own_code_is_not_resumed(root: Path) -> None:
    assert tito(root, "suite", "run", "tiny", "--mine", "--resume").returncode == 2


def test_only_a_few_unfinished_runs_are_kept(hanging: Path) -> None:
    interrupt(hanging, signal.SIGKILL)
    (folder,) = unfinished(hanging)
    for i in range(8):
        shutil.copytree(folder, folder.with_name(f"2001010{i}T000000-1"))
    tito(hanging, "suite", "run", "tiny", "--quick")
    assert len(unfinished(hanging)) == 4, "the four newest; the quick run had its own folder, which is removed"


def test_seeds_survive_a_record_that_cannot_be_saved(root: Path) -> None:
    (root / "reports" / "records").mkdir(parents=True)
    (root / "reports" / "records" / "tiny").write_text("a file where the folder belongs")
    done = tito(root, "suite", "run", "tiny")
    assert done.returncode == 1
    assert "the result above was not saved: " in done.stderr
    assert "2 finished seeds are kept; to go on: python -m tito suite run tiny --resume" in done.stderr
    (root / "reports" / "records" / "tiny").unlink()
    assert tito(root, "suite", "run", "tiny", "--resume").returncode == 0
    resumed = records(root)[0].resumed
    assert resumed is not None
    assert resumed.seeds == {"clouds": [1, 2]}
