"""What a run of a learner's own code adds: step times with intervals, hot lines, and a document of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.sample import make_record
from tito.bench import mine
from tito.bench.mine import HotLine, MineRun, StepTime, hot_lines, load_mine, measure_steps, save_mine
from tito.bench.owncode import OwnCode
from tito.bench.record import Mine, Record, Stacks
from tito.bench.suites import load_suite
from tito.errors import RunError
from tito.overlay import Plan

TINY = Path(__file__).parent / "suites" / "2001_tiny"


def own(tmp_path: Path, *modules: str) -> OwnCode:
    files = {}
    for name in modules:
        files[name] = str(tmp_path / f"{name}.py")
        Path(files[name]).write_text("first\nsecond\nthird\n")
    return OwnCode.of(Plan(files, str(tmp_path)), load_suite(TINY).suite, tmp_path)


def record(collapsed: list[tuple[str, int]] | None = None, **changes: object) -> Record:
    made = make_record(mine=Mine(modules={"layers": "0" * 64}, borrowed=["tensor"]), **changes)
    assert made.profile is not None
    stacks = Stacks(tool="py-spy", rate_hz=100, seconds=1, collapsed=collapsed) if collapsed else None
    return made.model_copy(update={"profile": made.profile.model_copy(update={"stacks": stacks})})


def test_a_sample_counts_for_the_innermost_of_the_learners_lines(tmp_path: Path) -> None:
    plan = own(tmp_path, "layers", "tensor").plan
    stacks = [
        ("train (workload.py:3);forward (layers.py:2);dot (numpy/core.py:9)", 6),
        ("train (workload.py:3);forward (layers.py:1);apply (tensor.py:3)", 3),
        ("train (workload.py:3);other (elsewhere.py:2)", 1),
    ]
    lines = hot_lines(record(stacks), plan)
    assert [(one.file, one.line, one.text, one.share) for one in lines] == [
        ("layers.py", 2, "second", 0.6),
        ("tensor.py", 3, "third", 0.3),
    ]
    assert hot_lines(record(), plan) == []


def test_steps_are_timed_with_one_module_at_a_time_and_all_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def seconds(loaded, case, chosen, pinned):
        asked.append(tuple(chosen.plan.modules))
        return {(): 1.0, ("layers",): 80.0, ("tensor",): 1.0}.get(asked[-1], 81.0) + len(asked) * 1e-4

    monkeypatch.setattr(mine, "_step_seconds", seconds)
    loaded = load_suite(TINY)
    suite = loaded.suite.model_copy(update={"modules": [2, 4]})
    steps, why = measure_steps(
        loaded.model_copy(update={"suite": suite}), suite.cases[0], own(tmp_path, "layers", "tensor", "caching"), {},
        True, lambda text: None,
    )  # fmt: skip
    assert why == ""
    assert asked[:4] == [(), ("tensor",), ("layers",), ("tensor", "layers")]
    assert [one.module for one in steps] == ["tensor", "layers", "all"]
    assert steps[1].ratio == pytest.approx(80, rel=0.01)
    assert steps[1].low <= steps[1].ratio <= steps[1].high


def test_steps_that_cannot_be_timed_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments):
        raise RunError("the training is over before its steps can be timed")

    monkeypatch.setattr(mine, "_step_seconds", fails)
    loaded = load_suite(TINY)
    steps, why = measure_steps(loaded, loaded.suite.cases[0], own(tmp_path, "tensor"), {}, True, lambda text: None)
    assert (steps, why) == ([], "the training is over before its steps can be timed")


def test_a_run_is_kept_by_suite_and_what_cannot_be_read_is_skipped(tmp_path: Path) -> None:
    run = made_run()
    path = save_mine(run, tmp_path)
    assert path == tmp_path / "mine" / "sample.json"
    (tmp_path / "mine" / "broken.json").write_text("{")
    found, warnings = load_mine(tmp_path)
    assert found == [run]
    assert len(warnings) == 1
    assert "broken.json" in warnings[0]
    assert not run.record.full


def made_run() -> MineRun:
    step = StepTime(module="layers", seconds=0.08, reference_seconds=0.001, ratio=80, low=78, high=82, rounds=7)
    return MineRun(
        record=record(),
        reference=make_record().cases[0].runs[0],
        steps=[step],
        lines=[HotLine(file="04_layers.py", line=212, text="y[i, j] = np.dot(row, one)", share=0.9)],
    )
