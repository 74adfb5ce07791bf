"""A learner's modules under a suite: the workload gets them, the harness keeps the reference's, no run is endless."""

from __future__ import annotations

from pathlib import Path

import pytest

import tinytorch
from tests.process.test_child import follow, is_gone
from tests.process.test_child import start as start_child
from tito.bench import owncode
from tito.bench.owncode import OwnCode
from tito.bench.results import RESULTS
from tito.bench.suites import load_suite
from tito.errors import RunError
from tito.overlay import Plan
from tito.process.child import Child
from tito.process.environment import pinned_environment

TINY = Path(__file__).parent / "suites" / "2001_tiny"
REFERENCE = Path(tinytorch.__file__).parent


@pytest.fixture
def mine(tmp_path: Path) -> OwnCode:
    """The reference's activations as a learner's file, and a module of measurements that must never be used."""
    own = tmp_path / "03_activations.py"
    own.write_bytes((REFERENCE / "activations.py").read_bytes())
    lies = tmp_path / "20_benchmarking.py"
    lies.write_text("raise RuntimeError('the harness measures with the learner's clock')".replace("r's", "r\\'s"))
    plan = Plan({"activations": str(own), "benchmarking": str(lies)}, str(REFERENCE.parent))
    return OwnCode.of(plan, load_suite(TINY).suite, tmp_path / "stand-in")


def child(mine: OwnCode, kind: str, place: Path, behaviour: str, **more: object) -> Child:
    parameters = {"samples": 50, "steps": 3, "behaviour": behaviour, "place": str(place)}
    job = {"kind": kind, "workload": str(TINY / "workload.py"), "parameters": parameters, "seed": 1, "weights": None,
           "metrics": ["accuracy"], "mine": mine.job(), **more}  # fmt: skip
    return Child("tito.bench.jobs", job, RESULTS.get(kind), pinned_environment({}), mine.limits)


def test_the_workload_gets_the_learners_modules_and_the_reference_for_the_rest(mine: OwnCode, tmp_path: Path) -> None:
    with child(mine, "quality", tmp_path / "place", "files") as running:
        assert follow(running)[-1]["event"] == "result"
    own, rest = (tmp_path / "place").read_text().splitlines()
    assert own == mine.plan.modules["activations"]
    assert Path(rest) == REFERENCE / "tensor.py"


def test_a_child_without_a_learners_code_never_sees_it(
    mine: OwnCode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tito.overlay import environment

    for name, value in environment(mine.plan, tmp_path / "stand-in").items():
        monkeypatch.setenv(name, value)
    with start_child("files", tmp_path / "place") as running:
        follow(running)
    assert Path((tmp_path / "place").read_text().splitlines()[0]) == REFERENCE / "activations.py"


def test_steps_are_counted_over_trainings_and_timed_by_the_harness(mine: OwnCode, tmp_path: Path) -> None:
    seen: list[tuple[int, float]] = []
    with child(mine, "steps", tmp_path / "place", "slow") as running:
        for event in running.events(tick=0.05):
            if event and event["event"] == "ready":
                running.go()
            if event and event["event"] == "progress" and event["figures"]:
                seen.append((event["done"], event["figures"]["harness_seconds"]))
                if event["done"] >= 6:
                    break
        pid = running.pid
    assert is_gone(pid)
    counts, seconds = zip(*seen, strict=True)
    assert list(counts) == sorted(counts)
    assert list(seconds) == sorted(seconds)


def test_the_facts_name_each_file_by_its_hash_and_what_is_borrowed(mine: OwnCode) -> None:
    assert set(mine.facts.modules) == {"activations", "benchmarking"}
    assert all(len(sha256) == 64 for sha256 in mine.facts.modules.values())
    assert not set(mine.facts.borrowed) & set(mine.facts.modules)
    assert mine.limits.seconds == 10 * load_suite(TINY).suite.limits.seconds


def test_a_training_that_cannot_finish_is_ended_after_20_seconds(
    mine: OwnCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(owncode, "monotonic", lambda: now[0])
    event = {"event": "progress", "phase": "train", "figures": {}, "total": 1000}
    mine.look_ahead({**event, "done": 0})
    now[0] += 19
    mine.look_ahead({**event, "done": 1})  # too early to tell
    now[0] += 2
    expected = mine.limits.seconds
    enough = int(21 / expected * 1000) + 1
    mine.look_ahead({**event, "done": enough})
    with pytest.raises(RunError, match=r"ended early: 1 of 1000 steps took 21 s, so all would take 350 min"):
        mine.look_ahead({**event, "done": 1})
    mine.look_ahead({**event, "phase": "evaluate", "done": 1})
