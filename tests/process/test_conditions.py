"""tito.process.conditions: figures of the machine while a process works, each within its range."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from tito.process import conditions
from tito.process.conditions import Watch

ALWAYS = {"seconds", "load_average", "load_after", "cpu_per_wall", "context_switches"}


@pytest.fixture
def stat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in the place of /proc/stat, on a machine with two cores of which this process may use core 1."""
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("the system has no /proc/stat")
    monkeypatch.setattr(conditions, "STAT", tmp_path / "stat")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1})
    return tmp_path / "stat"


def write_ticks(stat: Path, *core_1: int) -> None:
    stat.write_text(f"cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 5 5 5 5 5 5 5 5 0 0\ncpu1 {' '.join(map(str, core_1))}\nintr 1\n")


def test_a_busy_process_uses_cpu_and_a_sleeping_one_does_not() -> None:
    watch = Watch()
    until = time.process_time() + 0.2
    while time.process_time() < until:
        sum(range(1000))
    busy = watch.read()
    watch = Watch()
    time.sleep(0.2)
    idle = watch.read()
    assert idle["cpu_per_wall"] < 0.3
    assert busy["cpu_per_wall"] > idle["cpu_per_wall"]
    for found in (busy, idle):
        assert found.keys() >= ALWAYS
        assert found["seconds"] >= 0.2
        assert all(value >= 0 for value in found.values())


def test_stolen_time_and_others_are_shares_of_the_time_of_the_cores_that_may_be_used(
    stat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu = iter([(0, 10.0), (3, 10.5)])
    monkeypatch.setattr(conditions, "_usage", lambda: next(cpu))
    monkeypatch.setattr(os, "sysconf", lambda _: 100)
    write_ticks(stat, 100, 0, 50, 800, 0, 0, 0, 50, 7, 0)
    watch = Watch()
    write_ticks(stat, 160, 10, 80, 880, 0, 0, 0, 70, 99, 0)  # of 200 ticks, 100 busy, 20 stolen; guest time apart
    found = watch.read()
    assert found["steal"] == pytest.approx(0.1)
    assert found["others"] == pytest.approx(0.25)  # 1 s was busy, half of it this process
    assert found["context_switches"] == 3


def test_a_coarse_count_never_gives_others_a_negative_share(stat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = iter([(0, 10.0), (0, 11.0)])
    monkeypatch.setattr(conditions, "_usage", lambda: next(cpu))
    write_ticks(stat, 100, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    watch = Watch()
    write_ticks(stat, 101, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    assert watch.read()["others"] == 0


@pytest.mark.parametrize("content", [None, "", "cpu1 1 2 3\n", "cpu1 a b c d e f g h\n"])
def test_a_system_without_the_counters_gives_no_figure(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = tmp_path / "nothing"
    if content is not None:
        (tmp_path / "stat").write_text(content)
    monkeypatch.setattr(conditions, "STAT", nothing if content is None else tmp_path / "stat")
    monkeypatch.setattr(conditions, "THREADS", nothing)
    monkeypatch.setattr(conditions, "CPUINFO", nothing)
    monkeypatch.setattr(conditions, "CLOCKS", f"{nothing}{{core}}")
    assert set(Watch().read()) == ALWAYS


def test_waiting_is_the_time_in_which_the_threads_had_no_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "THREADS", tmp_path)
    for thread in ("10", "11"):
        (tmp_path / thread).mkdir()
        (tmp_path / thread / "schedstat").write_text("5000 1000000000 3\n")
    watch = Watch()
    (tmp_path / "11" / "schedstat").write_text("6000 3000000000 4\n")
    time.sleep(0.01)
    found = watch.read()
    assert found["waiting"] == pytest.approx(2 / found["seconds"])


def test_the_clock_is_read_from_either_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("the system has no affinity")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(conditions, "CLOCKS", str(tmp_path / "{core}"))
    monkeypatch.setattr(conditions, "CPUINFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text("model name\t: A\ncpu MHz\t\t: 2000.5\nmodel name\t: A\ncpu MHz\t\t: 2100.5\n")
    assert Watch().read()["mhz"] == 2050.5
    (tmp_path / "0").write_text("3000000\n")
    (tmp_path / "1").write_text("3200000\n")
    assert Watch().read()["mhz"] == 3100


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts them")
def test_linux_counts_what_others_use_and_how_long_threads_wait() -> None:
    assert Watch().read().keys() >= {"others", "steal", "waiting"}
