"""tito.bench.probes: memory as the system sees it, stacks without this machine's paths, or the reason why not."""

from __future__ import annotations

import doctest
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from tito.bench import probes
from tito.bench.probes import MemoryProbe, StackProbe, collapse, find_py_spy
from tito.bench.record import Stacks


def test_examples_in_docstrings_are_true():
    assert doctest.testmod(probes).failed == 0


@pytest.fixture
def unhurried(monkeypatch):
    """RSS at every call and USS once, however slow the machine is just now."""
    monkeypatch.setattr(probes, "MEMORY_INTERVAL", 0.0)
    monkeypatch.setattr(probes, "USS_INTERVAL", 1e6)


def test_memory_goes_up_with_what_is_held(unhurried):
    started = time.monotonic()
    probe = MemoryProbe(psutil.Process(), started)
    probe.sample()
    hoard = np.ones(64 * 2**20, np.uint8)
    probe.sample()
    probe.phase("hoard", started + 1.0, started + 2.5, None)
    trace = probe.trace("case", 3)
    assert trace is not None
    assert trace.baseline == trace.samples[0].rss
    assert trace.peak - trace.baseline >= 0.9 * hoard.nbytes
    assert trace.samples[0].uss is not None
    assert trace.samples[0].uss > 0
    assert trace.samples[1].uss is None  # too soon: it costs more
    assert 0 <= trace.samples[0].seconds <= trace.samples[1].seconds
    assert [(phase.name, phase.start, phase.end) for phase in trace.phases] == [("hoard", 1.0, 2.5)]


def test_the_kernels_peak_is_not_missed_between_two_samples(unhurried):
    probe = MemoryProbe(psutil.Process(), time.monotonic())
    probe.sample()
    probe.phase("load", 0.0, 1.0, 10**15)
    probe.phase("train", 1.0, 2.0, 10**15)
    trace = probe.trace("case", 1)
    assert trace is not None
    assert trace.peak == 10**15


def test_samples_keep_their_distance(monkeypatch):
    monkeypatch.setattr(probes, "MEMORY_INTERVAL", 1e6)
    probe = MemoryProbe(psutil.Process(), time.monotonic())
    probe.sample()
    probe.sample()
    trace = probe.trace("case", 1)
    assert trace is not None
    assert len(trace.samples) == 1


def test_a_process_that_has_ended_gives_no_trace():
    ended = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process = psutil.Process(ended.pid)
    ended.wait()
    probe = MemoryProbe(process, 0.0)
    probe.sample()
    assert probe.trace("case", 1) is None


def test_stacks_begin_in_the_workload_and_hold_no_machine_paths():
    lines = [
        "<module> (tito/bench/jobs.py:1);run (tito/bench/jobs.py:2);train (/home/ann/s/workload.py:5);"
        "forward (/opt/v/lib/python3.11/site-packages/tinytorch/layers.py:7) 3",
        "<module> (tito/bench/jobs.py:1);run (tito/bench/jobs.py:2);train (/home/ann/s/workload.py:5);"
        "forward (tinytorch/layers.py:7) 2",
        "<module> (tito/bench/jobs.py:1);dumps (json/__init__.py:183) 4",
        "train (workload.py:5);progress (tito/bench/jobs.py:9);inner (<frozen posixpath>:3) 1",
        "train (workload.py:5);0x7f0f0da4524a (/lib/x86_64-linux-gnu/libc.so.6) 1",
        "train (workload.py:5);0x7f0f0da45999 (/lib/x86_64-linux-gnu/libc.so.6) 2",
        "train (workload.py:5);0x7f0f0da4524a (?) 4",
        "a line that means nothing",
    ]
    assert collapse(lines) == [
        ("train (workload.py:5);forward (tinytorch/layers.py:7)", 5),
        ("train (workload.py:5);generated code (<generated>)", 4),
        ("train (workload.py:5);in libc.so.6 (libc.so.6)", 3),
        ("train (workload.py:5);progress (tito/bench/jobs.py:9);inner (<frozen posixpath>:3)", 1),
    ]


BUSY = """
def train():
    while True:
        sum(range(1000))
train()
"""


@pytest.mark.skipif(find_py_spy() is None, reason="py-spy is not installed")
def test_py_spy_sees_the_workload_or_says_why_not(tmp_path):
    script = tmp_path / "workload.py"
    script.write_text(BUSY)
    busy = subprocess.Popen([sys.executable, "-S", str(script)])
    py_spy = find_py_spy()
    assert py_spy is not None
    probe = StackProbe(py_spy, busy.pid, 1.0)
    seen = probe.stacks("py-spy")
    probe.close()
    busy.kill()
    busy.wait()
    if isinstance(seen, str):
        assert seen.startswith("py-spy could not read the process: ")
        pytest.skip(seen)
    assert sum(count for _, count in seen.collapsed) > 1
    assert any("train (workload.py" in stack for stack, _ in seen.collapsed)
    assert not any(str(tmp_path) in stack for stack, _ in seen.collapsed)


def program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


REFUSED = """echo 'Error: Permission Denied: Try running again with elevated permissions' >&2
echo 'Stack backtrace:' >&2; exit 1"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (REFUSED, "py-spy could not read the process: Permission Denied: Try running again with"),
        ("exit 3", "py-spy could not read the process: no message"),
        ('for last; do :; done; : > "$last"', "py-spy sampled no running code of the workload"),
        ("exit 0", "py-spy wrote no stacks"),
    ],
)
def test_why_there_are_no_stacks_is_one_line(tmp_path, text, reason):
    probe = StackProbe(program(tmp_path / "py-spy", text), os.getpid(), 1.0)
    answer = probe.stacks("py-spy")
    probe.close()
    assert not isinstance(answer, Stacks)
    assert answer.startswith(reason)
    assert "\n" not in answer


def test_the_seconds_are_measured_and_not_planned(tmp_path):
    spy = 'for last; do :; done; echo "train (workload.py:1) 3" > "$last"'
    probe = StackProbe(program(tmp_path / "py-spy", spy), os.getpid(), 5000.0)
    seen = probe.stacks("py-spy")
    probe.close()
    assert isinstance(seen, Stacks)
    assert 0 < seen.seconds < 1000


def test_closing_ends_a_py_spy_that_still_runs(tmp_path):
    probe = StackProbe(program(tmp_path / "py-spy", "exec sleep 60"), os.getpid(), 1.0)
    assert probe.running()
    probe.close()
    assert not probe.running()


def test_py_spy_is_looked_for_beside_python_and_then_on_the_path(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    assert find_py_spy() is None
    (tmp_path / "path").mkdir()
    elsewhere = program(tmp_path / "path" / "py-spy", "")
    assert find_py_spy() == elsewhere
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "py-spy").write_text("no program: it may not be executed")
    assert find_py_spy() == elsewhere
    beside = program(tmp_path / "bin" / "py-spy", "echo py-spy 9.9")
    assert find_py_spy() == beside
    assert probes.py_spy_version(beside) == "py-spy 9.9"
