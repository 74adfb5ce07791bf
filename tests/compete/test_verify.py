"""Verifying: what is due is measured, what is refused says why, and nothing counts without both self-tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.compete.measuring import BACKEND, KERNEL, Organizer, organizer_at
from tito.compete.journal import state_folder
from tito.compete.ledger import sealed_receipts
from tito.compete.progress import Progress
from tito.compete.receipt import Receipt
from tito.compete.seal import organizer_key
from tito.compete.verify import Summary, choose, verify
from tito.errors import TitoError
from tito.process.turn import turn, turn_file

ROUNDS = 11
PER_ENTRY, PER_SELF_TEST = ROUNDS + 2, 2 * ROUNDS


@pytest.fixture
def organizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Organizer:
    return organizer_at(tmp_path, monkeypatch)


def run(organizer: Organizer, *ids: str, **more: Any) -> Summary:
    chosen = list(ids) or None
    return verify(organizer.project, organizer.folder, chosen, kernel=KERNEL, backend=BACKEND, **more)


def receipts(organizer: Organizer) -> list[Receipt]:
    return sealed_receipts(organizer.shared, organizer_key(organizer.folder))[0]


def receipt(organizer: Organizer, id: str) -> Receipt:
    (found,) = (one for one in receipts(organizer) if one.entry == id)
    return found


def codes(organizer: Organizer, id: str) -> list[str]:
    return [problem.code for problem in receipt(organizer, id).problems]


# What is measured ---------------------------------------------------------------------------------------


def test_an_entry_gets_a_receipt_with_everything_that_ranks(organizer: Organizer) -> None:
    organizer.enter("alice/fast", "speedup=2.0 lost=0.005")
    summary = run(organizer)
    assert str(summary) == "verified 1, refused 0, self-test tied"
    found = receipt(organizer, "alice/fast")
    assert (found.status, found.track, found.division, found.title) == ("verified", "mnist", "open", "A small one")
    assert found.quality is not None
    assert found.quality.lost == pytest.approx(0.005)
    assert found.quality.own().mean() == pytest.approx(found.quality.value)
    assert found.quality_gate_met
    assert [child.round for child in found.times] == list(range(1, ROUNDS + 1))
    assert all(1.9 < child.reference.p50_us / child.own.p50_us < 2.1 for child in found.times)
    assert all(child.load_average == 0.5 and child.context_switches == 3 for child in found.times)
    assert (found.file_bytes, found.reference_bytes, found.memory_bytes) == (1000, 4000, 5000)
    assert [layer.kind for layer in found.layers] == ["Linear"]
    assert found.self_test is not None
    assert found.self_test.passed
    assert found.command == "tito verify alice/fast --again"


def test_the_reference_is_tested_before_and_after_and_data_are_prepared_once(organizer: Organizer) -> None:
    organizer.enter("alice/a")
    organizer.enter("bob/b")
    organizer.enter("bob/text", track="tinygpt")
    run(organizer)
    assert organizer.rounds.prepared == ["mnist_quality", "tinygpt_quality"]
    assert len(organizer.rounds.asked) == 3 * PER_ENTRY + 4 * PER_SELF_TEST
    slowed = [slow for case, _, _, slow in organizer.rounds.asked]
    assert slowed[:PER_SELF_TEST] == slowed[-PER_SELF_TEST:] == [0.0, 0.1] * ROUNDS


def test_a_second_verification_has_nothing_to_do(organizer: Organizer) -> None:
    organizer.enter("alice/good")
    organizer.enter("eve/bad", "fails=times code=answers message=lies")
    run(organizer)
    organizer.rounds.asked.clear()
    summary = run(organizer)
    assert str(summary) == "nothing to do: every entry has a receipt of this ground"
    assert summary.passed
    assert organizer.rounds.asked == []
    assert len(receipts(organizer)) == 2


def test_again_measures_again_and_keeps_the_older_receipt(organizer: Organizer) -> None:
    organizer.enter("alice/good")
    run(organizer)
    summary = run(organizer, "alice/good", again=True)
    assert summary.verified == 1
    assert len(receipts(organizer)) == 2


def test_another_ground_is_measured_on_its_own(organizer: Organizer) -> None:
    organizer.enter("alice/good")
    run(organizer)
    other = BACKEND.model_copy(update={"name": "onednn", "version": "3.2.0"})
    assert verify(organizer.project, organizer.folder, kernel=KERNEL, backend=other).verified == 1
    assert len({one.ground.id for one in receipts(organizer)}) == 2


@pytest.mark.parametrize("change", ["model", "manifest"])
def test_an_entry_whose_files_changed_is_measured_again(organizer: Organizer, change: str) -> None:
    organizer.enter("alice/good")
    run(organizer)
    if change == "model":
        organizer.enter("alice/good", seed=5)
    else:
        organizer.enter("alice/good", title="Another title")
    assert run(organizer).verified == 1


def test_only_the_named_entries_are_verified(organizer: Organizer) -> None:
    organizer.enter("alice/a")
    organizer.enter("bob/b")
    assert run(organizer, "bob/b").verified == 1
    assert [one.entry for one in receipts(organizer)] == ["bob/b"]
    with pytest.raises(TitoError, match="no entry 'carol/c'"):
        run(organizer, "carol/c")


def test_shards_are_disjoint_and_complete(organizer: Organizer) -> None:
    ids = [f"alice/entry-{i}" for i in range(24)]
    for i, id in enumerate(ids):
        organizer.enter(id, seed=i)
    parts = [choose(organizer.shared, None, (number, 3))[0] for number in (1, 2, 3)]
    assert sorted(id for part in parts for id in part) == sorted(ids)
    assert all(parts)
    with pytest.raises(TitoError, match="--shard 4/3"):
        choose(organizer.shared, None, (4, 3))


def test_a_round_is_reported_with_the_time_left(organizer: Organizer) -> None:
    organizer.enter("alice/a")
    seen: list[Progress] = []
    run(organizer, report=seen.append)
    assert seen[0].what == "alice/a"
    assert {"self-test mnist", "alice/a"} <= {step.what for step in seen}
    assert (seen[-1].done, seen[-1].total) == (PER_ENTRY + 2 * PER_SELF_TEST,) * 2
    assert seen[-1].seconds_left == 0
    assert all(step.done <= step.total for step in seen)


def test_it_waits_for_another_measurement_and_says_so(organizer: Organizer) -> None:
    organizer.enter("alice/a")
    seen: list[Progress] = []

    class EnoughError(Exception):
        pass

    def report(step: Progress) -> None:
        seen.append(step)
        raise EnoughError

    with turn("a suite", print, turn_file()), pytest.raises(EnoughError):
        run(organizer, report=report)
    assert str(seen[0]).startswith("waiting: for a suite (process ")


# What is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "code"),
    [
        ("fails=quality code=answers message=the_outputs_differ", "answers"),
        ("fails=times code=cached message=other_tokens", "cached"),
        ("fails=times code=memory message=Unable_to_allocate_100_GiB", "memory"),
        ("fails=quality code=time message=killed_at_the_time_limit", "time"),
        ("fails=times message=KeyError:_'gone'", "died"),
        ("fails=times code=unheard-of message=strange", "died"),
        ("unsteady=3", "unsteady"),
        ("repeats=0.9", "repeats"),
    ],
)
def test_a_failure_or_a_referee_is_a_refusal_with_its_code(organizer: Organizer, recipe: str, code: str) -> None:
    organizer.enter("eve/cheat", recipe)
    organizer.enter("alice/good")
    summary = run(organizer)
    assert (summary.verified, summary.refused) == (1, 1)
    assert codes(organizer, "eve/cheat") == [code]
    assert receipt(organizer, "eve/cheat").status == "refused"


def test_a_refusal_names_the_round_and_the_reason(organizer: Organizer) -> None:
    organizer.enter("eve/cheat", "fails=times code=answers message=CheckError:_the_outputs_differ")
    run(organizer)
    (problem,) = receipt(organizer, "eve/cheat").problems
    assert (problem.file, problem.found) == ("mnist_times, round 1", "the outputs differ")


def test_two_items_may_differ_between_processes(organizer: Organizer) -> None:
    organizer.enter("alice/almost", "unsteady=2")
    assert run(organizer).verified == 1


def test_a_missed_quality_gate_refuses_nothing_but_is_in_the_receipt(organizer: Organizer) -> None:
    organizer.enter("alice/small", "lost=0.05")
    organizer.enter("alice/text", "lost=0.03", track="tinygpt")
    run(organizer)
    for id in ("alice/small", "alice/text"):
        found = receipt(organizer, id)
        assert (found.status, found.quality_gate_met) == ("verified", False)


def test_a_refused_entry_costs_no_more_rounds(organizer: Organizer) -> None:
    organizer.enter("eve/cheat", "fails=quality code=answers message=lies")
    seen: list[Progress] = []
    run(organizer, report=seen.append)
    assert len(organizer.rounds.asked) == 1 + 2 * PER_SELF_TEST
    assert (seen[-1].done, seen[-1].total) == (2 * PER_SELF_TEST,) * 2


def test_an_entry_that_fails_the_check_is_refused_without_any_measurement(organizer: Organizer) -> None:
    path = organizer.enter("eve/pickle")
    (path / "model.safetensors").write_bytes(b"\x80\x04.")
    organizer.enter("eve/extra")
    (organizer.folder / "eve" / "extra" / "run.py").write_text("print()")
    organizer.enter("eve/json")
    (organizer.folder / "eve" / "json" / "submission.json").write_text("{")
    summary = run(organizer)
    assert str(summary) == "verified 0, refused 3, self-test not needed"
    assert (organizer.rounds.asked, organizer.rounds.prepared) == ([], [])
    assert {id: codes(organizer, id) for id in ("eve/pickle", "eve/extra", "eve/json")} == {
        "eve/pickle": ["hash", "tensors"],
        "eve/extra": ["files"],
        "eve/json": ["manifest"],
    }
    assert receipt(organizer, "eve/json").track is None
    assert str(run(organizer)).startswith("nothing to do")


def test_the_same_model_under_another_name_is_refused(organizer: Organizer) -> None:
    organizer.enter("alice/first", seed=3)
    organizer.enter("eve/copy", seed=3)
    summary = run(organizer)
    assert (summary.verified, summary.refused) == (1, 1)
    assert sorted(codes(organizer, "alice/first") + codes(organizer, "eve/copy")) == ["same-model"]


def test_an_entry_that_changes_between_check_and_copy_is_refused(organizer: Organizer) -> None:
    organizer.enter("eve/switch")

    def switch(case: str, recipe: str, seed: int) -> None:
        if not switched:
            switched.append(1)
            organizer.enter("eve/switch", seed=77)

    switched: list[int] = []
    organizer.rounds.before = switch
    run(organizer)
    assert codes(organizer, "eve/switch") == ["changed"]


def test_a_manifest_that_changes_between_check_and_copy_is_refused(organizer: Organizer) -> None:
    path = organizer.enter("eve/switch")

    def switch(case: str, recipe: str, seed: int) -> None:
        manifest = json.loads((path / "submission.json").read_text())
        (path / "submission.json").write_text(json.dumps(manifest | {"title": "Closed after all"}))

    organizer.rounds.before = switch
    run(organizer)
    assert codes(organizer, "eve/switch") == ["changed"]


# Self-tests ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bias", "shows"), [(1.08, True), (1.0, False)])
def test_a_host_that_fails_its_self_test_writes_no_receipt(organizer: Organizer, bias: float, shows: bool) -> None:
    """The reference does not tie with itself, or the slowed twin does not lose."""
    organizer.enter("alice/good")
    organizer.rounds.bias, organizer.rounds.slow_shows = bias, shows
    summary = run(organizer)
    assert not summary.passed
    assert (summary.verified, summary.refused, receipts(organizer)) == (0, 0, [])
    assert "mnist, before the entries: the reference against itself" in str(summary)
    assert len(organizer.rounds.asked) == PER_SELF_TEST


def test_a_self_test_that_fails_afterward_leaves_no_receipt_and_no_round(organizer: Organizer) -> None:
    organizer.enter("alice/good")

    def spoil(case: str, recipe: str, seed: int) -> None:
        if case.endswith("quality"):
            organizer.rounds.bias = 1.08

    organizer.rounds.before = spoil
    summary = run(organizer)
    assert "after the entries" in str(summary)
    assert receipts(organizer) == []
    assert [path for path in state_folder().rglob("*") if path.is_file()] == []


def test_other_tracks_keep_their_receipts_where_one_track_fails(organizer: Organizer) -> None:
    organizer.enter("alice/good")
    organizer.enter("alice/text", track="tinygpt")

    def spoil(case: str, recipe: str, seed: int) -> None:
        organizer.rounds.bias = 1.08 if case.startswith("tinygpt") else 1.0

    organizer.rounds.before = spoil
    summary = run(organizer)
    assert list(summary.failed) == ["tinygpt"]
    assert [one.entry for one in receipts(organizer)] == ["alice/good"]


def test_a_reference_that_cannot_be_measured_is_a_failed_self_test(organizer: Organizer) -> None:
    from tito.errors import RunError

    organizer.enter("alice/good")

    def spoil(case: str, recipe: str, seed: int) -> None:
        raise RunError("killed by signal 9", "died")

    organizer.rounds.before = spoil
    summary = run(organizer)
    assert "the reference itself cannot be measured: mnist_times, round 1: killed by signal 9" in str(summary)
    assert receipts(organizer) == []


# Forged receipts ----------------------------------------------------------------------------------------


def test_a_forged_or_edited_receipt_counts_for_nothing(organizer: Organizer) -> None:
    organizer.enter("alice/good", "speedup=2.0")
    (path,) = run(organizer).receipts
    honest = path.read_text()
    document = json.loads(honest)
    for child in document["times"]:
        child["own"]["p50_us"] /= 10
    path.write_text(json.dumps(document))
    forged = path.with_name(path.name.replace("alice.good", "eve.best"))
    forged.write_text(json.dumps(document | {"entry": "eve/best", "seal": ""}))
    found, problems = sealed_receipts(organizer.shared, organizer_key(organizer.folder))
    assert found == []
    assert [problem.code for problem in problems] == ["seal", "seal"]
    summary = run(organizer)
    assert summary.verified == 1  # as if there were none
    assert [problem.code for problem in summary.problems] == ["seal", "seal"]


def test_a_receipt_of_another_entry_does_not_cover_this_one(organizer: Organizer) -> None:
    organizer.enter("alice/good")
    (path,) = run(organizer).receipts
    path.with_name(path.name.replace("alice.good", "eve.free")).write_bytes(path.read_bytes())
    organizer.enter("eve/free")
    assert run(organizer).verified == 1
    assert len(receipts(organizer)) == 2


# Interruption -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [1, PER_SELF_TEST + 1, PER_SELF_TEST + 5, PER_SELF_TEST + PER_ENTRY + 3, 80])
def test_an_interruption_loses_one_round_and_the_next_run_goes_on(organizer: Organizer, at: int) -> None:
    organizer.enter("alice/a")
    organizer.enter("bob/b")
    count = 0

    def interrupt(case: str, recipe: str, seed: int) -> None:
        nonlocal count
        count += 1
        if count == at:
            raise KeyboardInterrupt

    organizer.rounds.before = interrupt
    interrupted = False
    try:
        run(organizer)
    except KeyboardInterrupt:
        interrupted = True
    assert interrupted is (at <= 2 * PER_SELF_TEST + 2 * PER_ENTRY)
    entry_rounds = min(max(len(organizer.rounds.asked) - PER_SELF_TEST, 0), 2 * PER_ENTRY)
    organizer.rounds.asked.clear()
    summary = run(organizer)
    if interrupted:
        assert summary.verified == 2
        assert len(organizer.rounds.asked) == 2 * PER_SELF_TEST + 2 * PER_ENTRY - entry_rounds
    assert [len(one.times) for one in receipts(organizer)] == [ROUNDS, ROUNDS]
    assert [path for path in state_folder().rglob("*") if path.is_file()] == []
