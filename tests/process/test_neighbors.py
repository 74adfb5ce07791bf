"""tito.process.neighbors: a process that uses a core is seen and named, and this process is not its own neighbor."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tito.process import neighbors
from tito.process.neighbors import Neighbors, look


def test_a_busy_process_is_seen_and_named() -> None:
    loop = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    with subprocess.Popen(loop, stdout=subprocess.PIPE) as busy:
        try:
            assert busy.stdout is not None
            busy.stdout.readline()
            found = look(0.3)
        finally:
            busy.kill()
    assert any(f"(process {busy.pid})" in name for name in found.busiest) or len(found.busiest) == 3
    if "others" in found.conditions:
        assert found.conditions["others"] > 0
        assert "other processes use" in found.line


def test_this_process_is_not_its_own_neighbor() -> None:
    assert not any(f"(process {os.getpid()})" in name for name in look(0.05).busiest)


def test_where_the_system_counts_no_use_the_load_average_decides() -> None:
    counted = {"seconds": 0.5, "load_average": 3.0, "cores": 4.0}
    assert Neighbors(counted, ()).noise.line == "the load average was 3.0 before the run, on 4 cores"
    assert Neighbors(counted, ()).line == "load average 3.00"
    assert not Neighbors(counted | {"load_average": 1.9}, ()).noise.noisy
    assert not Neighbors(counted | {"others": 0.0}, ()).noise.noisy  # what is counted is better than the load average


def test_a_process_whose_name_changed_did_not_use_its_whole_life_just_now(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([{(7, 1.0): ("kworker/0:1", 100.0)}, {(7, 1.0): ("kworker/0:1-events", 100.0)}])
    monkeypatch.setattr(neighbors, "_cpu_times", lambda: next(readings))
    assert look(0.01).busiest == ()


def test_a_process_that_began_just_now_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([{}, {(7, 1.0): ("cc1", 1000.0)}])
    monkeypatch.setattr(neighbors, "_cpu_times", lambda: next(readings))
    assert look(0.01).busiest[0].startswith("cc1 (process 7) ")
