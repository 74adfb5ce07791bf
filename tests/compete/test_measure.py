"""From rounds to a receipt's parts: each figure is the rounds' own, and every failure has a code."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.compete.measuring import BACKEND, KERNEL, Organizer, organizer_at
from tinytorch.benchmarking import compare
from tito.bench.record import SeedRun
from tito.compete.measure import (
    REFERENCE,
    code_sha256,
    ground_of,
    host_for,
    judged,
    measured,
    quality_of,
    ratio_of,
    refusal,
    repeat_problems,
    times_of,
)
from tito.compete.problems import CODES
from tito.compete.receipt import LEVELS
from tito.compete.rules import load_rules
from tito.errors import RunError
from tito.process.blas import KernelChoice


@pytest.fixture
def organizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Organizer:
    return organizer_at(tmp_path, monkeypatch)


def quality_run(own: list[float], reference: list[float], seed: int = 1) -> SeedRun:
    return SeedRun(seed=seed, metrics={}, curve=[], exhibits=[], raw={"own": own, "reference": reference})


# The rules' own cases ------------------------------------------------------------------------------------


def test_each_track_has_its_cases_with_the_gate_of_its_rules(organizer: Organizer) -> None:
    rules = load_rules(organizer.project)
    for track in rules.tracks.values():
        quality, times = (rules.loaded.suite.case(name) for name in (track.quality_case, track.times_case))
        (gate,) = quality.gates
        assert (gate.value, gate.direction) == (track.gate, "at_most")
        assert gate.metric == ("loss_added" if track.is_text else "points_lost")
        assert len(times.seeds) >= 11
        assert len(quality.seeds) == 2
        assert [gate.metric for gate in times.gates] == ["repeat_gain"]
        assert (quality.parameters["measure"], times.parameters["measure"]) == ("quality", "times")
        assert {case.parameters["folder"] for case in (quality, times)} == {REFERENCE}
    assert rules.loaded.suite.limits.data_mb is not None


def test_data_are_prepared_once_for_each_track_and_gone_afterward(organizer: Organizer) -> None:
    rules = load_rules(organizer.project)
    with host_for(rules, ["mnist", "tinygpt"], KERNEL, BACKEND) as host:
        files = [file for file, _ in host.data.values()]
        assert all(file.is_file() and file.parent.stat().st_mode & 0o077 == 0 for file in files)
        measured(host, "mnist", "times", REFERENCE, [1, 2, 3])
    assert organizer.rounds.prepared == ["mnist_quality", "tinygpt_quality"]
    assert not any(file.exists() for file in files)


def test_rounds_are_those_of_the_suite_or_as_many_as_asked(organizer: Organizer) -> None:
    with host_for(load_rules(organizer.project), ["mnist"], KERNEL, BACKEND) as host:
        assert host.seeds("mnist", "times", None) == list(range(1, 12))
        assert host.seeds("mnist", "times", 20) == list(range(1, 21))
        assert host.seeds("mnist", "quality", 20) == [1, 2]


# The ground ---------------------------------------------------------------------------------------------


def test_the_ground_depends_on_code_rules_backend_and_kernel(organizer: Organizer) -> None:
    rules = load_rules(organizer.project)
    ground = ground_of(rules, KERNEL, BACKEND)
    assert ground == ground_of(rules, KERNEL, BACKEND)
    assert re.fullmatch(r"[0-9a-f]{12}", ground.id)
    onednn = BACKEND.model_copy(update={"name": "onednn", "version": "3.2.0"})
    other_kernel = KernelChoice(KERNEL.record.model_copy(update={"used": "SkylakeX"}), {})
    assert ground_of(rules, KERNEL, onednn).backend == "onednn 3.2.0"
    others = [ground_of(rules, KERNEL, onednn), ground_of(rules, other_kernel, BACKEND)]
    assert len({ground.id, *(other.id for other in others)}) == 3


def test_any_change_of_the_code_is_another_hash(tmp_path: Path) -> None:
    package = tmp_path / "package"
    (package / "inner").mkdir(parents=True)
    (package / "a.py").write_text("x = 1\n")
    (package / "inner" / "b.py").write_text("y = 1\n")
    hashes = {code_sha256(package)}
    (package / "inner" / "b.py").write_text("y = 2\n")
    hashes.add(code_sha256(package))
    (package / "inner" / "b.py").rename(package / "inner" / "c.py")
    hashes.add(code_sha256(package))
    (package / "a.py").write_text("x = 1\ny = 2\n")
    hashes.add(code_sha256(package))
    assert len(hashes) == 4
    before = code_sha256(package)
    (package / "notes.txt").write_text("not code")
    assert code_sha256(package) == before


# Figures ------------------------------------------------------------------------------------------------


def test_quality_is_the_first_process_s_and_loses_what_it_loses(organizer: Organizer) -> None:
    tracks = load_rules(organizer.project).tracks
    quality, problems = quality_of(tracks["mnist"], [quality_run([1, 1, 0, 1], [1, 1, 1, 1])] * 2)
    assert problems == []
    assert (quality.value, quality.reference, quality.lost) == (0.75, 1.0, 0.25)
    assert quality.own().tolist() == [1, 1, 0, 1]
    loss, problems = quality_of(tracks["tinygpt"], [quality_run([4.5, 4.0], [4.0, 4.0])] * 2)
    assert problems == []
    assert (loss.metric, loss.lost) == ("loss", 0.25)
    np.testing.assert_array_equal(loss.own(), [4.5, 4.0])


@pytest.mark.parametrize(("track", "change"), [("mnist", 1.0), ("tinygpt", 0.002)])
def test_more_than_two_items_with_another_result_are_unsteady(organizer: Organizer, track: str, change: float) -> None:
    facts = load_rules(organizer.project).tracks[track]
    base = [0.0] * 20
    for wrong, expected in ((2, []), (3, ["unsteady"])):
        again = [change] * wrong + base[wrong:]
        _, problems = quality_of(facts, [quality_run(base, base), quality_run(again, base, 2)])
        assert [problem.code for problem in problems] == expected


def test_another_number_of_items_is_unsteady(organizer: Organizer) -> None:
    facts = load_rules(organizer.project).tracks["mnist"]
    _, (problem,) = quality_of(facts, [quality_run([1.0] * 9, [1.0] * 9), quality_run([1.0] * 8, [1.0] * 8, 2)])
    assert problem.code == "unsteady"


def test_times_and_ratio_are_the_rounds_own(organizer: Organizer) -> None:
    with host_for(load_rules(organizer.project), ["mnist", "tinygpt"], KERNEL, BACKEND) as host:
        runs = measured(host, "mnist", "times", REFERENCE, range(1, 12))
        text = measured(host, "tinygpt", "times", REFERENCE, [1])
    child = times_of(runs[4])
    assert child.round == 5
    assert child.own.p50_us == runs[4].metrics["p50_us"]
    assert child.reference.p99_us == runs[4].metrics["reference_p99_us"]
    assert len(child.own.quantiles_us) == len(LEVELS)
    assert child.own.quantiles_us[LEVELS.index(50)] == pytest.approx(np.median(runs[4].raw["own_us"]), abs=1e-3)
    assert times_of(text[0]).own.p90_us is None
    expected = compare([run.metrics["p50_us"] for run in runs], [run.metrics["reference_p50_us"] for run in runs])
    found = ratio_of(runs)
    assert (found.ratio, found.low, found.high) == (expected.ratio, expected.interval.low, expected.interval.high)


def test_repeats_are_judged_by_the_suite_s_gate(organizer: Organizer) -> None:
    with host_for(load_rules(organizer.project), ["mnist"], KERNEL, BACKEND) as host:
        runs = measured(host, "mnist", "times", REFERENCE, range(1, 12))
        assert repeat_problems(judged(host, "mnist", "times", runs)) == []
        remembered = [run.model_copy(update={"metrics": run.metrics | {"repeat_gain": 0.9}}) for run in runs]
        (problem,) = repeat_problems(judged(host, "mnist", "times", remembered))
        one = [*remembered[:1], *runs[1:]]  # one odd process is not enough: the median counts
        assert repeat_problems(judged(host, "mnist", "times", one)) == []
    assert (problem.code, problem.file, problem.found) == ("repeats", "mnist_times", "90.0% of the time saved")


@pytest.mark.parametrize("code", [*CODES, "", "unheard-of"])
def test_every_failure_is_a_problem_with_a_known_code(code: str) -> None:
    problem = refusal(RunError("mnist_times, round 3: CheckError: it differs: by 3 (entry.py line 12)", code))
    assert problem.code == (code if code in CODES else "died")
    assert (problem.file, problem.found) == ("mnist_times, round 3", "it differs: by 3")
