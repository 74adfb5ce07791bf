"""A preview: one round beside the reference, with the referees, and no receipt."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.compete.measuring import BACKEND, KERNEL, Organizer, organizer_at
from tito.compete import preview as previews
from tito.compete.preview import preview
from tito.compete.problems import RefusedError
from tito.compete.progress import Progress
from tito.compete.rules import load_rules


@pytest.fixture
def organizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Organizer:
    monkeypatch.setattr(previews, "choose_kernel", lambda: KERNEL)
    monkeypatch.setattr(previews, "choose_backend", lambda: BACKEND)
    return organizer_at(tmp_path, monkeypatch)


@pytest.mark.parametrize("track", ["mnist", "tinygpt"])
def test_one_round_shows_both_sides(organizer: Organizer, track: str) -> None:
    path = organizer.enter("alice/a", "speedup=3.0 lost=0.005", track)
    seen: list[Progress] = []
    found = preview(load_rules(organizer.project), path, track, seen.append)
    assert [case for case, *_ in organizer.rounds.asked] == [f"{track}_quality", f"{track}_times"]
    assert found.speedup == pytest.approx(3, rel=0.05)
    assert found.lost == pytest.approx(0.005)
    assert found.gate_met
    assert found.reference.quality == pytest.approx(4.0 if track == "tinygpt" else 0.98)
    assert (found.own.file_bytes, found.reference.file_bytes) == (1000, 4000)
    assert (found.own.memory_bytes, found.reference.memory_bytes) == (5000, 9000)
    assert found.own.batch_us == pytest.approx(9 * found.own.p50_us)
    assert [str(step) for step in seen] == [
        f"{track}: preparing its data", f"{track}: measuring quality", f"{track}: measuring times",
    ]  # fmt: skip
    assert not (organizer.folder / "receipts").exists()


def test_a_missed_gate_is_shown_and_refuses_nothing(organizer: Organizer) -> None:
    path = organizer.enter("alice/a", "lost=0.05")
    assert not preview(load_rules(organizer.project), path, "mnist").gate_met


def test_a_referee_refuses_already_here(organizer: Organizer) -> None:
    path = organizer.enter("eve/cheat", "fails=times code=repeats message=CheckError:_too_quick")
    with pytest.raises(RefusedError) as caught:
        preview(load_rules(organizer.project), path, "mnist")
    assert [problem.code for problem in caught.value.problems] == ["repeats"]
