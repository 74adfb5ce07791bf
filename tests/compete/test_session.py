"""Batches of entries between self-tests: a long run writes receipts as it goes, and a bad moment costs one batch."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.compete.measuring import BACKEND, KERNEL, Organizer, organizer_at
from tito.compete import session
from tito.compete.ledger import sealed_receipts
from tito.compete.progress import Progress
from tito.compete.seal import organizer_key
from tito.compete.verify import Summary, verify

PER_ENTRY, PER_TEST = 13, 22


@pytest.fixture
def organizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Organizer:
    monkeypatch.setattr(session, "BATCH", 2)
    return organizer_at(tmp_path, monkeypatch)


def run(organizer: Organizer, seen: list[Progress] | None = None) -> Summary:
    report = (lambda step: None) if seen is None else seen.append
    return verify(organizer.project, organizer.folder, kernel=KERNEL, backend=BACKEND, report=report)


def entries(organizer: Organizer) -> list[str]:
    return [receipt.entry for receipt in sealed_receipts(organizer.shared, organizer_key(organizer.folder))[0]]


def kinds(organizer: Organizer) -> list[str]:
    """Return the order of what was measured: a self-test, or an entry by its recipe."""
    names = [settings or "test" for _, settings, _, _ in organizer.rounds.asked]
    return [name for i, name in enumerate(names) if i == 0 or names[i - 1] != name]


def test_the_test_after_a_batch_is_the_one_before_the_next(organizer: Organizer) -> None:
    for i in range(5):
        organizer.enter(f"alice/e{i}", f"speedup=1.{i + 1}", seed=i)
    seen: list[Progress] = []
    assert run(organizer, seen).verified == 5
    a, b, c, d, e = (f"speedup=1.{i + 1}" for i in range(5))
    assert kinds(organizer) == ["test", a, b, "test", c, d, "test", e, "test"]
    assert (seen[-1].done, seen[-1].total) == (5 * PER_ENTRY + 4 * PER_TEST,) * 2


def test_entries_of_one_track_come_together(organizer: Organizer) -> None:
    for i, track in enumerate(["mnist", "tinygpt", "mnist", "tinygpt"]):
        organizer.enter(f"alice/e{i}", track=track, seed=i)
    run(organizer)
    cases = [case.split("_")[0] for case, *_ in organizer.rounds.asked]
    assert cases == sorted(cases)
    assert len(cases) == 4 * PER_ENTRY + 4 * PER_TEST


def test_a_host_that_becomes_unfit_costs_one_batch(organizer: Organizer) -> None:
    for i in range(6):
        organizer.enter(f"alice/e{i}", f"speedup=1.{i + 1}", seed=i)

    def spoil(case: str, recipe: str, seed: int) -> None:
        if recipe == "speedup=1.4":
            organizer.rounds.bias = 1.08

    organizer.rounds.before = spoil
    summary = run(organizer)
    assert (summary.verified, list(summary.failed)) == (2, ["mnist"])
    assert entries(organizer) == ["alice/e0", "alice/e1"]
    assert "speedup=1.5" not in kinds(organizer)  # the third batch was not begun
    organizer.rounds.before, organizer.rounds.bias = (lambda case, recipe, seed: None), 1.0
    assert run(organizer).verified == 4


def test_an_interruption_keeps_the_receipts_of_earlier_batches(organizer: Organizer) -> None:
    for i in range(3):
        organizer.enter(f"alice/e{i}", f"speedup=1.{i + 1}", seed=i)

    def interrupt(case: str, recipe: str, seed: int) -> None:
        if recipe == "speedup=1.3":
            raise KeyboardInterrupt

    organizer.rounds.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        run(organizer)
    assert entries(organizer) == ["alice/e0", "alice/e1"]


@pytest.mark.parametrize("rounds", [1, 3])
def test_few_rounds_of_an_entry_do_not_weaken_the_self_test(organizer: Organizer, rounds: int) -> None:
    organizer.enter("alice/a")
    summary = verify(organizer.project, organizer.folder, rounds=rounds, kernel=KERNEL, backend=BACKEND)
    assert summary.verified == 1
    assert len(organizer.rounds.asked) == 2 * PER_TEST + 2 + rounds
    assert summary.self_tests["mnist"].children == 11
