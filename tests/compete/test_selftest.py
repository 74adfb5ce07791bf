"""The self-test and its calibration: the same model ties, a slower one loses, and the counts show where that fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.compete.measuring import BACKEND, KERNEL, Organizer, organizer_at
from tito.bench.record import SeedRun
from tito.compete import calibration
from tito.compete.calibration import calibrate
from tito.compete.measure import Host, host_for
from tito.compete.progress import Rounds
from tito.compete.rules import load_rules
from tito.compete.selftest import count_pairs, recorded, self_test
from tito.errors import TitoError


@pytest.fixture
def organizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Organizer:
    return organizer_at(tmp_path, monkeypatch)


@pytest.fixture
def host(organizer: Organizer) -> Iterator[Host]:
    with host_for(load_rules(organizer.project), ["mnist"], KERNEL, BACKEND) as made:
        yield made


def test_the_reference_ties_with_itself_and_its_slowed_twin_loses(host: Host) -> None:
    test = self_test(host, "mnist", 11)
    assert test.passed
    assert test.children == 11
    assert test.same.low < 1 < test.same.high
    assert test.slowed.ratio == pytest.approx(1 / 1.1, rel=0.01)
    assert test.slowed.high < 1


@pytest.mark.parametrize(("bias", "shows"), [(1.05, True), (0.95, True), (1.0, False)])
def test_a_biased_or_a_blind_measurement_fails(host: Host, organizer: Organizer, bias: float, shows: bool) -> None:
    organizer.rounds.bias, organizer.rounds.slow_shows = bias, shows
    assert not self_test(host, "mnist", 11).passed


def test_same_and_slowed_processes_alternate(host: Host, organizer: Organizer) -> None:
    recorded(host, "mnist", 3)
    assert [(seed, slowed) for _, _, seed, slowed in organizer.rounds.asked] == [
        (seed, share) for seed in (1, 2, 3) for share in (0.0, 0.1)
    ]


def runs(count: int, noise: float, slower: float = 1.0) -> list[SeedRun]:
    """Return processes whose own time is noisy and `slower` times the reference's."""
    rng = np.random.default_rng([count, int(1e6 * noise), int(1000 * slower)])
    return [
        SeedRun(
            seed=i,
            metrics={"p50_us": 30 * slower * rng.normal(1, noise), "reference_p50_us": 30 * rng.normal(1, noise)},
            curve=[],
            exhibits=[],
        )
        for i in range(count)
    ]


def test_counts_of_a_quiet_host_pass() -> None:
    counts = count_pairs(runs(60, 0.005), runs(60, 0.005, 1.1), size=11)
    assert (counts.pairs, counts.false, counts.found) == (200, 0, 200)
    assert counts.passed


def test_counts_of_a_noisy_host_fail() -> None:
    counts = count_pairs(runs(60, 0.2), runs(60, 0.2, 1.1), size=11)
    assert counts.found < 198
    assert not counts.passed


def test_a_twin_that_is_not_slower_is_not_found() -> None:
    counts = count_pairs(runs(60, 0.005), runs(60, 0.005), size=11)
    assert counts.found == 0
    assert not counts.passed


def test_a_host_on_which_processes_differ_is_told_apart() -> None:
    """Half of the processes are 30% slower, by chance: pairs of the same model differ too often."""
    mixed = [*runs(30, 0.002), *runs(30, 0.002, 1.3)]
    counts = count_pairs(mixed, runs(60, 0.002, 1.43), size=11)
    assert counts.false > 2
    assert not counts.passed


def test_the_two_entries_of_a_pair_share_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    same = runs(22, 0.005)
    used: list[set[float]] = []

    def latency(own: np.ndarray, reference: np.ndarray, name: str) -> object:
        used.append(set(own))
        return type("Nobody", (), {"beats": lambda self, other: False})()

    monkeypatch.setattr("tito.compete.selftest.latency", latency)
    count_pairs(same, runs(22, 0.005, 1.1), size=11, pairs=20)
    pairs = list(zip(used[::3], used[1::3], strict=True))
    assert len(pairs) == 20
    assert all(len(a) == len(b) == 11 and not a & b for a, b in pairs)


def test_calibration_records_counts_and_resumes(organizer: Organizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "choose_kernel", lambda: KERNEL)
    monkeypatch.setattr(calibration, "choose_backend", lambda: BACKEND)

    def interrupt(case: str, recipe: str, seed: int) -> None:
        if seed == 20:
            raise KeyboardInterrupt

    organizer.rounds.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        calibrate(organizer.project, ["mnist"], 24, Rounds(lambda step: None))
    assert len(organizer.rounds.asked) == 2 * 19
    organizer.rounds.before = lambda case, recipe, seed: None
    organizer.rounds.asked.clear()
    steps: list[str] = []
    found = calibrate(organizer.project, ["mnist"], 24, Rounds(lambda step: steps.append(str(step))))
    assert len(organizer.rounds.asked) == 2 * 5
    assert found["mnist"].passed
    assert steps[-1].startswith("recording mnist: 24 processes of each kind, round 48 of 48")


def test_an_unknown_track_is_one_line(organizer: Organizer) -> None:
    with pytest.raises(TitoError, match="no track 'imagenet'; there are: mnist, cifar10, tinygpt"):
        calibrate(organizer.project, ["imagenet"], 24, Rounds(lambda step: None))
