"""Hosts of one kind share a ground only if an entry of one of them ties on the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.compete.measuring import BACKEND, KERNEL, Organizer, organizer_at
from tito.compete import verify as verifying
from tito.compete import writing
from tito.compete.ledger import sealed_receipts
from tito.compete.receipt import Receipt
from tito.compete.seal import organizer_key
from tito.compete.verify import Summary, verify


@pytest.fixture
def organizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Organizer:
    return organizer_at(tmp_path, monkeypatch)


def run_on(host: str, organizer: Organizer, monkeypatch: pytest.MonkeyPatch, **more: object) -> Summary:
    for module in (verifying, writing):
        monkeypatch.setattr(module, "this_host", lambda: host)
    return verify(organizer.project, organizer.folder, kernel=KERNEL, backend=BACKEND, **more)  # type: ignore[arg-type]


def receipts(organizer: Organizer) -> list[Receipt]:
    return sealed_receipts(organizer.shared, organizer_key(organizer.folder))[0]


def test_the_first_host_needs_no_anchor(organizer: Organizer, monkeypatch: pytest.MonkeyPatch) -> None:
    organizer.enter("alice/a", "speedup=2")
    assert run_on("first", organizer, monkeypatch).anchors == []
    organizer.enter("bob/b", "speedup=3")
    assert run_on("first", organizer, monkeypatch).anchors == []
    assert [(one.host, one.ground.host) for one in receipts(organizer)] == [("first", "")] * 2


def test_a_host_whose_anchor_ties_shares_the_ground(organizer: Organizer, monkeypatch: pytest.MonkeyPatch) -> None:
    organizer.enter("alice/a", "speedup=2")
    run_on("first", organizer, monkeypatch)
    organizer.enter("bob/b", "speedup=3")
    (anchor,) = run_on("second", organizer, monkeypatch).anchors
    assert (anchor.entry, anchor.host, anchor.ties) == ("alice/a", "first", True)
    assert len({one.ground.id for one in receipts(organizer)}) == 1
    assert receipts(organizer)[-1].anchors == [anchor]
    organizer.enter("carol/c", "speedup=4")
    assert run_on("second", organizer, monkeypatch).anchors == []  # shown once


def test_a_host_whose_anchor_differs_gets_a_ground_of_its_own(
    organizer: Organizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = organizer.enter("alice/a", "speedup=2")
    run_on("first", organizer, monkeypatch)
    organizer.enter("bob/b", "speedup=3")
    usual = organizer.rounds.run_round

    def elsewhere(loaded, case, seed, pinned):  # entries run 5% faster here than on the first host
        run = usual(loaded, case, seed, pinned)
        if case.name.endswith("_times") and case.parameters["folder"] != "reference":
            run.metrics["p50_us"] /= 1.05
        return run

    monkeypatch.setattr("tito.compete.measure.run_round", elsewhere)
    summary = run_on("second", organizer, monkeypatch)
    assert [anchor.ties for anchor in summary.anchors] == [False]
    mine = [one for one in receipts(organizer) if one.host == "second"]
    assert [(one.entry, one.ground.host) for one in mine] == [("bob/b", "second")]
    assert {one.ground.id for one in receipts(organizer) if one.host == "first"} != {mine[0].ground.id}
    again = run_on("second", organizer, monkeypatch)  # what the other host measured is due here
    assert (again.verified, again.anchors) == (1, [])
    assert str(run_on("second", organizer, monkeypatch)).startswith("nothing to do")
    assert path.is_dir()


def test_without_an_entry_to_compare_a_host_has_a_ground_of_its_own(
    organizer: Organizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    organizer.enter("alice/a", "speedup=2")
    run_on("first", organizer, monkeypatch)
    organizer.enter("alice/a", "speedup=2.5")  # changed since
    assert run_on("second", organizer, monkeypatch).anchors == []
    assert receipts(organizer)[-1].ground.host == "second"
