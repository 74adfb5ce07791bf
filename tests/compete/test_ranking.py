"""Ranks: groups 1, 1, 3; nothing ranks without a value; the order in which receipts are read means nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.compete.sample import START, make_ground, make_receipt
from tito.compete.ranking import CRITERIA, Board, Entry, Place, differences, rank, standing, tie_groups
from tito.compete.receipt import ProblemText, Receipt

GROUND = make_ground()
PROBLEM = ProblemText(code="hash", file="model.safetensors", field="", found="aa", expected="bb")


def board(*receipts: Receipt) -> Board:
    return rank(receipts, GROUND.id, "mnist", "closed")


def places(made: Board, criterion: str) -> dict[str, tuple[int, int]]:
    found = {row.receipt.entry: row.places.get(criterion) for row in made.rows}  # type: ignore[call-overload]
    return {entry: (place.rank, place.group) for entry, place in found.items() if place}


def refused(entry: str = "eve/cheat", **changes: Any) -> Receipt:
    return make_receipt(entry, status="refused", problems=[PROBLEM], quality=None, times=[], **changes)


# ---- groups

relations = st.functions(like=lambda a, b: ..., returns=st.booleans(), pure=True)


@given(st.lists(st.integers(), unique=True, max_size=20), relations)
def test_groups_are_a_partition_led_by_what_they_do_not_lose_to(items: list[int], beats: Callable) -> None:
    groups = tie_groups(items, beats)
    assert sorted(item for group in groups for item in group) == sorted(items)
    for i, (first, *others) in enumerate(groups):
        assert not any(beats(first, other) for other in others)
        assert all(beats(first, later) for group in groups[i + 1 :] for later in group)
        later = [item for group in groups[i:] for item in group]
        assert first == next(item for item in items if item in later)


@given(st.lists(st.tuples(st.sampled_from([1.0, 1.5, 3.0]), st.sampled_from([100, 200])), min_size=1, max_size=6))
@settings(max_examples=25, deadline=None)
def test_ranks_count_the_entries_before_the_group(values: list[tuple[float, int]]) -> None:
    made = board(
        *(
            make_receipt(f"a/{i}", seed=i, speedup=speedup, file_bytes=size, items=64)
            for i, (speedup, size) in enumerate(values)
        )
    )
    for criterion in CRITERIA:
        rows = made.by(criterion)
        found = [row.places[criterion] for row in rows]
        for place in found:
            before = [other for other in found if other.group < place.group]
            assert place.rank == 1 + len(before)
        assert [place.group for place in found] == sorted(place.group for place in found)
    by_size = {row.receipt.entry: row.places["size"].rank for row in made.rows}
    for entry, rank_ in by_size.items():
        own = values[int(entry.removeprefix("a/"))][1]
        assert rank_ == 1 + sum(size < own for _, size in values)


@given(st.permutations(range(8)))
@settings(max_examples=20, deadline=None)
def test_the_order_of_the_receipts_means_nothing(order: list[int]) -> None:
    rng = random.Random(5)
    receipts = [
        make_receipt(
            f"a/{i}",
            seed=i,
            speedup=rng.uniform(1.9, 2.2),
            noise=0.03,
            lost=rng.uniform(-0.01, 0.01),
            items=600,
            file_bytes=rng.choice([100, 200]),
            age=i,
        )
        for i in range(8)
    ]
    entries = [Entry(receipt.entry) for receipt in receipts]
    shuffled = standing([receipts[i] for i in order], [entries[i] for i in order])
    assert shuffled.boards == standing(receipts, entries).boards


def test_two_tied_leaders_are_followed_by_rank_3_and_the_older_one_leads() -> None:
    made = board(
        make_receipt("a/new", seed=1, speedup=2.51),
        make_receipt("b/old", seed=2, speedup=2.50, age=5),
        make_receipt("c/slow", seed=3, speedup=1.5),
    )
    assert places(made, "latency") == {"b/old": (1, 1), "a/new": (1, 1), "c/slow": (3, 2)}
    assert [row.receipt.entry for row in made.rows] == ["b/old", "a/new", "c/slow"]


# ---- nothing ranks without a value


def test_an_entry_that_misses_the_gate_ranks_by_quality_alone() -> None:
    made = board(
        make_receipt("a/good", speedup=1.2), make_receipt("b/empty", seed=1, speedup=9, lost=0.9, file_bytes=9)
    )
    assert places(made, "latency") == {"a/good": (1, 1)}
    assert places(made, "size") == {"a/good": (1, 1)}
    assert places(made, "quality") == {"a/good": (1, 1), "b/empty": (2, 2)}
    assert [row.front for row in made.rows] == [True, False]


def test_an_entry_without_times_has_no_latency_rank_and_is_on_no_front() -> None:
    made = board(make_receipt("a/a", times=[]), make_receipt("b/b", seed=1, file_bytes=10**6))
    assert places(made, "latency") == {"b/b": (1, 1)}
    assert places(made, "size") == {"a/a": (1, 1), "b/b": (2, 2)}
    assert {row.receipt.entry: row.front for row in made.rows} == {"b/b": True, "a/a": False}
    assert [row.receipt.entry for row in made.by("latency")] == ["b/b"]


def test_an_entry_without_size_or_quality_has_no_rank_by_it() -> None:
    made = board(make_receipt("a/a", file_bytes=None, quality=None))
    assert places(made, "size") == places(made, "quality") == {}
    assert places(made, "latency") == {"a/a": (1, 1)}


# ---- the front


def test_the_front_holds_what_nothing_beats_without_losing() -> None:
    made = board(
        make_receipt("a/fast", seed=1, speedup=4, file_bytes=500),
        make_receipt("b/small", seed=2, speedup=2, file_bytes=100),
        make_receipt("c/sharp", seed=3, speedup=1.5, file_bytes=900, lost=-0.006),
        make_receipt("d/worse", seed=4, speedup=3, file_bytes=600, lost=0.009),
        make_receipt("e/tie", seed=5, speedup=4.02, file_bytes=501),
    )
    assert {row.receipt.entry for row in made.rows if row.front} == {"a/fast", "b/small", "c/sharp"}


def test_a_lead_within_the_noise_puts_nobody_on_the_front() -> None:
    made = board(
        make_receipt("a/small", seed=1, speedup=2.00, file_bytes=100),
        make_receipt("b/large", seed=2, speedup=2.01, file_bytes=900),
    )
    assert {row.receipt.entry: row.front for row in made.rows} == {"a/small": True, "b/large": False}


# ---- what is refused, stale, pending


def test_only_the_newest_receipt_of_the_ground_counts() -> None:
    entries = [Entry("alice/int8")]
    old, new = make_receipt(seed=1, speedup=1.5, age=9), make_receipt(seed=2, speedup=3.0)
    made = standing([new, old], entries)
    assert [row.receipt.id for row in made.boards[0].rows] == [new.id]
    assert [receipt.id for receipt in made.history["alice/int8"]] == [new.id, old.id]
    later = refused("alice/int8", seed=3, created=START.replace(hour=13))
    made = standing([new, old, later], entries)
    assert made.boards == []
    assert [receipt.id for receipt in made.refused] == [later.id]


def test_a_receipt_of_another_ground_is_stale_and_says_why() -> None:
    other = make_ground(numpy="2.3.1", rules_sha256="ee" * 32)
    receipts = [make_receipt("a/a"), make_receipt("b/b", seed=1, age=9, ground=other)]
    made = standing(receipts, [Entry("a/a"), Entry("b/b", title="B")])
    assert [row.receipt.entry for board in made.boards for row in board.rows] == ["a/a"]
    (stale,) = made.stale
    assert (stale.entry, stale.title) == ("b/b", "B")
    assert stale.reason == "NumPy 2.3.1, now 2.4.0; the rules changed"
    assert standing(receipts, [Entry("a/a"), Entry("b/b")], other.id).ground == other


def test_each_difference_of_two_grounds_is_named() -> None:
    other = dict.fromkeys(type(GROUND).model_fields, "other")
    assert differences(GROUND, make_ground(**other)) == [
        "another machine",
        "backend onednn 3.9.9, now other",
        "BLAS kernel SkylakeX, now other",
        "NumPy 2.4.0, now other",
        "tinytorch changed",
        "the rules changed",
        "another host of this kind, whose anchor does not tie",
    ]
    assert differences(GROUND, GROUND) == []


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (Entry("new/one", "ab", "mnist", "open"), ("pending", "not verified yet")),
        (
            Entry("new/one", problem="manifest submission.json: not JSON"),
            ("pending", "manifest submission.json: not JSON"),
        ),
        (Entry("alice/int8", "ff" * 32), ("stale", "the model changed after it was verified")),
        (
            Entry("alice/int8", "12" * 32, manifest_sha256="ff" * 32),
            ("stale", "the manifest changed after it was verified"),
        ),
    ],
)
def test_an_entry_without_a_valid_receipt_says_why(entry: Entry, expected: tuple[str, str]) -> None:
    made = standing([make_receipt()], [entry])
    assert made.boards == []
    found = {one.entry: (kind, one.reason) for kind in ("stale", "pending") for one in getattr(made, kind)}
    assert found[entry.id] == expected


def test_a_receipt_of_an_entry_that_is_gone_ranks_nothing() -> None:
    made = standing([make_receipt()], [])
    assert (made.boards, [one.reason for one in made.stale]) == ([], ["the entry is no longer in the folder"])


def test_nothing_at_all_is_no_error() -> None:
    made = standing([], [])
    assert (made.ground, made.boards, made.refused, made.stale, made.pending) == (None, [], [], [], [])
    assert board() == Board("mnist", "closed", [])


def test_tracks_and_divisions_are_ranked_apart() -> None:
    receipts = [
        make_receipt("a/a"),
        make_receipt("a/b", seed=1, division="open", speedup=1.5),
        make_receipt("a/c", seed=2, track="tinygpt", division="open", metric="loss", items=64, lost=0.01),
    ]
    made = standing(receipts, [Entry(receipt.entry) for receipt in receipts])
    assert [(board.track, board.division, len(board.rows)) for board in made.boards] == [
        ("mnist", "closed", 1),
        ("mnist", "open", 1),
        ("tinygpt", "open", 1),
    ]
    assert all(row.places["latency"] == Place(1, 1) for board in made.boards for row in board.rows)
    assert set(made.self_tests) == {"mnist", "tinygpt"}
