"""tito.process.conditions: figures of the machine while a process works, each within its range."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tito.process import conditions
from tito.process.conditions import Watch


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
    assert all(found["load_average"] >= 0 and found["context_switches"] >= 0 for found in (busy, idle))


def test_stolen_time_is_a_share_of_all_ticks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = tmp_path / "stat"
    monkeypatch.setattr(conditions, "STAT", stat)
    stat.write_text("cpu  100 0 50 800 0 0 0 50 7 0\ncpu0 1 1\n")
    watch = Watch()
    stat.write_text("cpu  150 0 70 810 0 0 0 70 99 0\ncpu0 1 1\n")
    assert watch.read()["steal"] == pytest.approx(20 / 100)


def test_a_system_without_the_counters_gives_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "STAT", tmp_path / "nothing")
    assert set(Watch().read()) == {"load_average", "context_switches", "cpu_per_wall"}
