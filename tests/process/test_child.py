"""tito.process.child: however a child ends, the reason is one line and nothing of it is left running."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from tito.bench.results import RESULTS
from tito.errors import RunError
from tito.process.child import Child
from tito.process.documents import Limits
from tito.process.environment import pinned_environment

WORKLOAD = Path(__file__).parents[1] / "bench" / "suites" / "2001_tiny" / "workload.py"
PINNED = pinned_environment({})


def start(behaviour="good", place="", seconds=20.0, memory_mb=1000, data_mb=None):
    parameters = {"samples": 50, "steps": 3, "behaviour": behaviour, "place": str(place)}
    job = {"kind": "quality", "workload": str(WORKLOAD), "parameters": parameters, "seed": 1}
    limits = Limits(seconds=seconds, memory_mb=memory_mb, data_mb=data_mb)
    job |= {"weights": None, "metrics": ["accuracy"]}
    return Child("tito.bench.jobs", job, RESULTS["quality"], PINNED, limits)


def follow(child):
    """The child's events up to its end."""
    events = []
    for event in child.events(tick=0.05):
        if event is not None:
            events.append(event)
            if event["event"] == "ready":
                child.go()
    return events


def is_gone(pid):
    """Whether a process has ended; one that waits for somebody else's parent to reap it has."""
    for _ in range(100):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def test_a_good_child_tells_its_phases_and_result():
    with start() as child:
        events = follow(child)
    assert [event["name"] for event in events if event["event"] == "phase"] == ["load", "build", "train", "evaluate"]
    assert events[0] == {"event": "ready"}
    assert events[-1]["event"] == "result"
    assert not psutil.pid_exists(child.pid)


def test_phases_are_on_the_clock_of_the_parent():
    with start() as child:
        events = follow(child)
    moments = [event[key] for event in events if event["event"] == "phase" for key in ("start", "end")]
    assert moments == sorted(moments)
    assert child.started < moments[0] < moments[-1] < time.monotonic()


def test_a_child_waits_for_go():
    with start() as child:
        for event in child.events(tick=0.02):
            if event is not None:
                assert event == {"event": "ready"}
            elif time.monotonic() - child.started > 0.6:
                break


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("kill", r"^killed by signal 9 \(out of memory\?\)$"),
        ("segfault", r"^killed by signal 11 \(Segmentation fault\)$"),
        ("real-time signal", r"^killed by signal 40 \(.*signal.*\)$"),
        ("raise odd", r"^ValueError: caf\\udce9 \\x1b\[2J\\x07 \(workload.py line \d+\)$"),
        ("leave", r"^exited with code 0 and no result$"),
        ("raise", r"^ValueError: the clouds have gone \(workload.py line \d+\)$"),
        ("exit", r"^SystemExit: 0 \(workload.py line \d+\)$"),
        ("write to every pipe", r"^wrote b'hello' to the pipe that is reserved for the harness$"),
    ],
)
def test_a_child_that_dies_says_how(behaviour, reason):
    with pytest.raises(RunError, match=reason), start(behaviour) as child:
        follow(child)
    assert not psutil.pid_exists(child.pid)


@pytest.mark.parametrize("event", ['{"event": "result"}', '{"event": "phase"}', '{"event": "charm"}', "[" * 5000])
def test_a_forged_event_is_an_error_and_no_crash(event):
    with (
        pytest.raises(RunError, match=r"^wrote b'.*' to the pipe that is reserved for the harness$"),
        start("forge", event) as child,
    ):
        follow(child)


def test_control_signs_of_the_last_printed_line_do_not_reach_the_terminal(monkeypatch, tmp_path):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nprintf 'a\\033[2Jb\\n'\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(RunError, match=r"no result: a\\x1b\[2Jb$"), start() as child:
        follow(child)


def test_printing_disturbs_nothing():
    with start("print") as child:
        assert follow(child)[-1]["metrics"]["accuracy"] > 0.5


def test_the_last_printed_line_explains_a_child_that_never_began(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/ls")  # no Python: complains of its options and ends
    with pytest.raises(RunError, match=r"^exited with code \d+ and no result: .+"), start() as child:
        follow(child)


def test_a_child_that_hangs_is_ended_at_the_limit_even_if_deaf(tmp_path):
    place = tmp_path / "place"
    limit = r"^killed at the time limit of 2.5 s$"
    with pytest.raises(RunError, match=limit), start("hang deaf", place, seconds=2.5) as child:
        follow(child)
    assert int(place.read_text()) == child.pid
    assert not psutil.pid_exists(child.pid)


@pytest.mark.parametrize("behaviour", ["eat", "fork hog"])
def test_memory_of_the_whole_tree_is_limited(behaviour):
    reason = r"^killed at \d+ MB, above the memory limit of 200 MB$"
    with pytest.raises(RunError, match=reason), start(behaviour, memory_mb=200) as child:
        follow(child)
    assert not psutil.pid_exists(child.pid)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the data of a process")
def test_data_past_the_limit_is_refused_before_it_is_there():
    refusal = pytest.raises(RunError, match="Unable to allocate 100")
    with refusal as caught, start("ask for 100 GB", data_mb=500) as child:
        follow(child)
    assert caught.value.code == "memory"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the data of a process")
def test_what_the_imports_took_does_not_count_as_data():
    with start(data_mb=100) as child:
        assert follow(child)[-1]["event"] == "result"


@pytest.mark.parametrize(
    ("behaviour", "limits", "code"),
    [
        ("refuse", {}, "answers"),
        ("raise", {}, ""),
        ("kill", {}, "died"),
        ("leave", {}, "died"),
        ("hang", {"seconds": 2.5}, "time"),
        ("eat", {"memory_mb": 200}, "memory"),
    ],
)
def test_a_failure_carries_the_code_of_its_reason(behaviour, limits, code):
    with pytest.raises(RunError) as caught, start(behaviour, **limits) as child:
        follow(child)
    assert caught.value.code == code


def test_a_sleeper_that_outlives_a_good_child_is_ended(tmp_path):
    place = tmp_path / "place"
    with start("fork sleeper", place) as child:
        assert follow(child)[-1]["event"] == "result"
    assert is_gone(int(place.read_text()))


def test_a_sleeper_that_left_the_group_is_ended(tmp_path):
    place = tmp_path / "place"
    with pytest.raises(RunError, match="time limit"), start("fork daemon", place, seconds=2.5) as child:
        follow(child)
    assert is_gone(int(place.read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="needs a subreaper")
def test_a_daemon_whose_parent_has_ended_is_ended_and_others_are_left_alone(tmp_path):
    bystander = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"], start_new_session=True)
    place = tmp_path / "place"
    with start("double fork", place) as child:
        assert follow(child)[-1]["event"] == "result"
    assert not psutil.pid_exists(int(place.read_text()))  # not even as a zombie
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_ctrl_c_in_the_parent_ends_the_child_and_goes_on_up(tmp_path):
    place = tmp_path / "place"
    child = start("fork daemon", place)

    def interrupted():
        for event in child.events(tick=0.02):
            if event is not None and event["event"] == "ready":
                child.go()
            if place.exists() and place.read_text():
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), child:
        interrupted()
    assert not psutil.pid_exists(child.pid)
    assert is_gone(int(place.read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux to end it")
def test_a_child_ends_when_the_harness_is_killed(tmp_path):
    place = tmp_path / "place"
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_child import start, follow;"
        "follow(start('hang deaf', sys.argv[2]))"
    )
    here = str(Path(__file__).parent)
    paths = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    harness = subprocess.Popen([sys.executable, "-c", code, here, str(place)], env=os.environ | paths)
    while not (place.exists() and place.read_text()):
        assert harness.poll() is None
        time.sleep(0.02)
    harness.kill()
    harness.wait()
    assert is_gone(int(place.read_text()))


def test_settings_of_the_shell_do_not_reach_the_child(monkeypatch, tmp_path):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    monkeypatch.setenv("OMP_NUM_THREADS", "77")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    with start("hang deaf", tmp_path / "place") as child:
        for event in child.events(tick=0.02):
            if event is not None and event["event"] == "ready":
                environment = child.memory.environ()
                break
    assert {"OPENBLAS_CORETYPE", "ONEDNN_MAX_CPU_ISA"}.isdisjoint(environment)
    assert {key: environment.get(key) for key in PINNED} == PINNED


def test_a_module_that_does_not_exist_is_one_line():
    job = {"kind": "quality", "workload": str(WORKLOAD)}
    limits = Limits(seconds=20.0, memory_mb=1000)
    with pytest.raises(RunError, match=r"^ModuleNotFoundError: No module named 'tito.nothing'"):  # noqa: SIM117
        with Child("tito.nothing", job, None, PINNED, limits) as child:
            follow(child)


def test_the_harness_keeps_its_own_clocks():
    with start("turned clocks") as child:
        events = follow(child)
    phases = [event for event in events if event["event"] == "phase"]
    assert all(event["end"] >= event["start"] > 0 for event in phases)
    assert all(0 <= events[-1]["metrics"][f"{name}_seconds"] < 10 for name in ("load", "train", "evaluate"))


def test_a_question_is_answered_by_an_error_and_not_by_the_time_limit():
    with start("question") as child, pytest.raises(RunError, match="EOFError"):
        follow(child)


def test_a_thread_that_is_left_does_not_keep_the_result():
    began = time.monotonic()
    with start("thread") as child:
        assert follow(child)[-1]["event"] == "result"
    assert time.monotonic() - began < 15


def test_no_exhibits_are_none():
    with start("no exhibits") as child:
        assert follow(child)[-1]["exhibits"] == []


def test_a_result_of_50_mb_arrives_whole_from_many_pieces(monkeypatch):
    """Its pieces are joined once: they were copied again for each piece that came after, 16 s for 50 MB."""
    line = b"x" * 50_000_000
    lengths = []

    def decode(content, result):
        lengths.append(len(content))
        return {"event": "ready"}

    with start() as child:
        monkeypatch.setattr("tito.process.child.decode", decode)
        source, sink = os.pipe()
        own = child._events  # stays open: the child would end if it could not write
        child._events = os.fdopen(source, "rb", buffering=0)

        def write() -> None:
            with os.fdopen(sink, "wb") as file:
                file.write(line + b"\n")

        threading.Thread(target=write).start()
        steps = iter(child.events(tick=0.05))
        while not lengths:
            next(steps)
        own.close()
    assert lengths == [len(line)]
