"""Verifying on a Dask cluster: what is accepted, how entries are split, and a real cluster whose workers are killed."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.compete.competition import REFERENCES, ROOT, make_entry
from tests.compete.measuring import Organizer, organizer_at
from tinytorch.saved import load_model
from tito.compete.cluster import (
    Done,
    Outcomes,
    Task,
    check_address,
    check_workers,
    founders,
    tasks_of,
    verify_on_cluster,
)
from tito.compete.ledger import sealed_receipts
from tito.compete.seal import organizer_key
from tito.errors import TitoError

LOOPBACK = "tcp://127.0.0.1:8786"
GOOD = {"nthreads": 1, "resources": {"bench": 1.0}, "memory_limit": 0, "host": "127.0.0.1"}
ENTRIES, WORKERS = 6, 3


@pytest.fixture
def organizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Organizer:
    return organizer_at(tmp_path, monkeypatch)


@pytest.mark.parametrize("address", [LOOPBACK, "tcp://localhost:1", "tcp://[::1]:8786", "tls://bench.example.org:8786"])
def test_loopback_and_tls_addresses_are_accepted(address: str) -> None:
    check_address(address)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("tcp://10.0.0.1:8786", "anybody who reaches a scheduler without TLS can run code"),
        ("tcp://bench.example.org:8786", "anybody who reaches a scheduler without TLS can run code"),
        ("tcp://127.0.0.1.example.org:8786", "anybody who reaches a scheduler without TLS can run code"),
        ("127.0.0.1:8786", "not an address"),
        ("inproc://127.0.0.1:8786", "not an address"),
        ("tcp://127.0.0.1", "not an address"),
        ("", "not an address"),
    ],
)
def test_other_addresses_are_refused(address: str, reason: str) -> None:
    with pytest.raises(TitoError, match=rf"--scheduler {re.escape(address)}: {reason}"):
        check_address(address)


@pytest.mark.parametrize(
    ("change", "profile", "reason"),
    [
        ({"nthreads": 2}, False, "2 threads"),
        ({"resources": {}}, False, "no resource `bench`"),
        ({"memory_limit": 4_000_000_000}, False, "a memory limit of 4000000000 bytes"),
        ({}, True, "a running profiler"),
    ],
)
def test_a_worker_that_is_not_set_up_to_measure_is_refused(change: dict[str, Any], profile: bool, reason: str) -> None:
    with pytest.raises(TitoError, match=f"worker w has {reason}; start workers with: DASK_DISTRIBUTED.*--nthreads 1"):
        check_workers(LOOPBACK, {"w": GOOD | change}, {"w": profile})


def test_workers_that_are_set_up_to_measure_are_accepted_and_none_is_an_error() -> None:
    check_workers(LOOPBACK, {"a": GOOD, "b": GOOD}, {"a": False, "b": False})
    with pytest.raises(TitoError, match="no workers; start workers with: "):
        check_workers(LOOPBACK, {}, {})


@pytest.mark.parametrize("workers", [1, 3, 100])
def test_tasks_hold_each_entry_once_and_one_track_each(organizer: Organizer, workers: int) -> None:
    ids = [f"alice/entry-{i}" for i in range(12)]
    for i, id in enumerate(ids):
        organizer.enter(id, track="mnist" if i % 3 else "tinygpt", seed=i)
    tasks = tasks_of(organizer.shared, ids, workers)
    assert sorted(id for task in tasks for id in task.ids) == sorted(ids)
    assert all((int(id.split("-")[1]) % 3 > 0) == (task.track == "mnist") for task in tasks for id in task.ids)
    assert all(1 <= len(task.ids) <= 8 for task in tasks)
    assert len(tasks) >= min(workers, len(ids))


def test_with_several_hosts_one_task_of_each_track_comes_first() -> None:
    tasks = [Task("a", ("x/1",)), Task("a", ("x/2",)), Task("b", ("x/3",))]
    assert founders(tasks, 1) == ([], tasks)
    first, rest = founders(tasks, 2)
    assert sorted(task.ids[0] for task in first) == ["x/1", "x/3"]
    assert rest == [tasks[1]]


def test_outcomes_fail_with_any_task() -> None:
    good = Done(Task("a", ("x/1",)), "w", 0, ())
    assert Outcomes([good]).passed
    assert not Outcomes([good, Done(Task("a", ("x/2",)), "w", 1, ("bad",))]).passed
    assert not Outcomes([good], {"x/3": "no worker"}).passed


def test_without_dask_one_line_says_how_to_install_it(organizer: Organizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(TitoError, match=r"--scheduler: needs Dask: .*\[cluster\]"):
        verify_on_cluster(LOOPBACK, organizer.folder, [], [])


@pytest.mark.skipif("TITO_CLUSTER" not in os.environ, reason="minutes of measuring: nox -s compete-cluster runs it")
def test_every_entry_gets_a_receipt_although_a_worker_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six real entries, three workers on this host, one of them killed with -9 in the middle of its measurement."""
    for name in ("TITO_KEY", "TITO_STATE", "TITO_TURN"):
        monkeypatch.setenv(name, str(tmp_path / "own" / name.lower()))
    (tmp_path / "own").mkdir()
    shared = tmp_path / "shared"
    for number in range(ENTRIES):
        enter(shared / "alice" / f"entry-{number}", number)
    with cluster(tmp_path, WORKERS) as (address, workers):
        verify = start(tito("verify", "--scheduler", address, "--folder", str(shared)))
        victim = wait_for(lambda: verify.poll() is not None or measuring(workers))
        assert verify.poll() is None, verify.communicate()[0]
        below = descendants(victim)
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: not any(alive(pid) for pid in below))
        said, _ = verify.communicate(timeout=1500)
    assert verify.returncode == 0, said
    assert "6 receipts by 3 tasks on 2 workers, failed 0" in said
    receipts, problems = sealed_receipts(organizer_at_folder(shared), organizer_key(shared))
    assert problems == []
    assert sorted(one.entry for one in receipts) == [f"alice/entry-{number}" for number in range(ENTRIES)]
    assert all(one.status == "verified" and one.self_test and one.self_test.passed for one in receipts)
    spans = sorted((one.began.timestamp(), one.began.timestamp() + one.seconds) for one in receipts if one.began)
    overlaps = [(a, b) for a, b in itertools.pairwise(spans) if b[0] < a[1] - 0.1]  # seconds are rounded to 0.1
    print(f"killed worker {victim} with {len(below)} processes below it; {said.splitlines()[-1]}")  # noqa: T201
    print(f"measurements of {len(spans)} entries, of which overlap {len(overlaps)}")  # noqa: T201 (pytest -rP)
    assert overlaps == []
    again = subprocess.run(tito("verify", "--folder", str(shared)), capture_output=True, text=True, check=True)
    assert again.stdout == "nothing to do: every entry has a receipt of this ground\n"


def organizer_at_folder(shared: Path) -> Any:
    from tito.compete.folder import SharedFolder

    return SharedFolder(shared)


def enter(path: Path, number: int) -> None:
    """Write an entry: the MNIST reference with one weight changed, so that no two entries hold the same model."""
    path.parent.mkdir(parents=True, exist_ok=True)
    model = load_model(REFERENCES / "mnist")
    first = next(iter(model.parameters()))
    first.data[0, number] += np.float32(1e-3)
    make_entry(path, model, f"alice/{path.name}", title=f"The reference, weight {number} changed")


def tito(*words: str) -> list[str]:
    return [sys.executable, "-m", "tito", *words]


def start(command: list[str], **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, cwd=ROOT, env=os.environ | more, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[tuple[str, list[int]]]:
    """A scheduler and workers on loopback, as docs/competition.md starts them; yields the address and the processes."""
    file = folder / "scheduler.json"
    run = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    own = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    processes = [start([*run, *own])]
    try:
        wait_for(file.exists)
        address = json.loads(wait_for(lambda: file.read_text()))["address"]
        options = ["--nthreads", "1", "--resources", "bench=1", "--memory-limit", "0", "--no-nanny", "--no-dashboard"]
        for number in range(workers):
            command = [sys.executable, "-m", "distributed.cli.dask_worker", address, *options]
            place = ["--local-directory", str(folder / f"worker-{number}")]
            off = {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "false"}
            processes.append(start([*command, *place], **off))
        wait_for(lambda: registered(address) == workers)
        yield address, [process.pid for process in processes[1:]]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def registered(address: str) -> int:
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        return len(client.scheduler_info(n_workers=-1)["workers"])


def measuring(workers: list[int]) -> int | None:
    """Return the worker below which a round is being timed, if there is one."""
    for worker in workers:
        lines = [command_line(pid) for pid in descendants(worker)]
        if any("tito.process" in line and "orphan" not in line for line in lines):
            return worker
    return None


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *descendants(child)]
    return found


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def wait_for(found: Any, seconds: float = 120.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds:.0f} s")
