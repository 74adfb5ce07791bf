"""The leaderboard in the terminal: the same figures as on the page, and no text that a terminal could obey."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.compete.crowd import TRACKS, make_standing
from tests.compete.sample import make_receipt
from tests.terminal.sample import printed
from tito.compete.ranking import Entry, standing
from tito.compete.receipt import ProblemText, Receipt
from tito.report import standings
from tito.terminal.ranking import problem_line, show_pending, show_preview, show_standing
from tito.terminal.tables import plain

EVIL = "\x1b[2J\u202e"
PROBLEM = ProblemText(code="lineage", file="model.safetensors", field="2.weight", found="0.25", expected="0.125")


def shown(*receipts: Receipt, width: int = 160) -> str:
    made = standing(receipts, [Entry(receipt.entry) for receipt in receipts])
    return printed(show_standing(made, TRACKS), width)


def test_ranks_groups_figures_and_intervals_are_printed() -> None:
    text = shown(
        make_receipt("alice/int8", techniques=["int8", "pruned"]),
        make_receipt("bob/tied", seed=1, speedup=2.51, age=3, file_bytes=600_000),
        make_receipt("carol/slow", seed=2, speedup=1.2, lost=0.5),
    )
    rows = [line.split() for line in text.splitlines()]
    order = [row for row in rows if len(row) > 2 and "/" in row[2]]
    assert [row[:3] for row in order] == [["1", "1", "bob/tied"], ["1", "1", "alice/int8"]]
    assert "int8 (pruned)" in text
    assert "alice/int8 *" in text
    assert "bob/tied *" not in text  # larger, and no faster
    assert "– " in text  # carol has no rank
    assert "missed" in text
    assert "50.00 points lost" in text


def test_the_page_s_figures_are_the_terminal_s() -> None:
    made = make_standing(12)
    text = printed(show_standing(made, TRACKS), 200)
    for board in made.boards:
        for row in board.rows:
            for cell in (standings.ratio(row), standings.quality(row), standings.size(row.receipt)):
                assert plain(cell.value) in text
                assert plain(cell.detail) in text


def test_tracks_stand_in_their_order_and_one_can_be_chosen() -> None:
    made = make_standing(12)
    text = printed(show_standing(made, TRACKS))
    assert text.index("MNIST, closed") < text.index("CIFAR-10,") < text.index("TinyGPT,")
    one = printed(show_standing(made, TRACKS, "cifar10"))
    assert "CIFAR-10," in one
    assert "MNIST, closed" not in one
    assert "eve/cheat-0" in text
    assert "eve/cheat-0" not in one


def test_counts_ground_self_test_and_the_two_sentences_are_printed() -> None:
    text = printed(show_standing(make_standing(12), TRACKS), 300)
    assert "verified 12, refused 2, stale 2, pending 2" in text
    assert "passed: reference against itself tie, 1.002× (0.994–1.009×); slowed by 10% slower, 0.910×" in text
    assert "onednn 3.9.9, BLAS kernel SkylakeX, NumPy 2.4.0" in text
    assert standings.PUBLIC in text
    assert standings.TRADEMARK in text
    assert standings.PUBLIC not in shown(make_receipt(), width=300)


def test_a_refused_entry_is_printed_with_each_problem() -> None:
    receipt = make_receipt(status="refused", problems=[PROBLEM, PROBLEM], times=[], quality=None)
    assert shown(receipt).count("lineage model.safetensors: 2.weight: found 0.25, expected 0.125") == 2
    assert problem_line(PROBLEM.model_copy(update={"field": ""})).startswith("lineage model.safetensors: found 0.25")


def test_pending_and_stale_entries_say_why() -> None:
    text = printed(show_pending(make_standing(3)))
    assert "NumPy 2.3.1, now 2.4.0; tinytorch changed (INT8, calibrated)" in text
    assert "not verified yet (Ternary weights)" in text
    assert "not JSON" in text
    assert printed(show_pending(standing([], []))) == "every entry has a valid receipt\n"


def test_nothing_verified_says_what_to_do() -> None:
    assert "tito verify" in printed(show_standing(standing([], []), TRACKS))


@dataclass(frozen=True)
class Side:
    quality: float
    p50_us: float
    batch_us: float
    file_bytes: int
    memory_bytes: int


@dataclass(frozen=True)
class Preview:
    own: Side
    reference: Side
    lost: float
    gate_met: bool


REFERENCE = Side(0.9897, 32.0, 240, 2_144_900, 4_300_000)


def test_a_preview_stands_next_to_the_reference() -> None:
    preview = Preview(Side(0.9887, 12.8, 60, 542_000, 1_200_000), REFERENCE, 0.001, True)
    text = printed(show_preview("alice/int8", "accuracy", preview))
    rows = [line.split() for line in text.splitlines()]
    assert ["Test", "accuracy", "98.87", "%", "98.97", "%", "0.10", "points", "lost"] in rows
    assert ["p50", "12.8", "µs", "32.0", "µs", "2.50×"] in rows
    assert ["Batch", "of", "64", "60.0", "µs", "240", "µs", "4.00×"] in rows
    assert ["Model", "files", "542", "kB", "2.14", "MB", "25.3", "%"] in rows
    assert "quality gate met" in text
    assert "it ranks nothing" in text


def test_a_preview_that_misses_the_gate_says_what_that_means() -> None:
    preview = Preview(Side(0.1, 12.8, 60, 542_000, 1_200_000), REFERENCE, 0.89, False)
    assert "quality gate missed: it would be ranked by quality only" in printed(
        show_preview("a/b", "accuracy", preview)
    )


@pytest.mark.parametrize("width", [70, 80, 160])
def test_text_of_strangers_moves_no_cursor_and_no_figure_is_cut(width: int) -> None:
    problem = PROBLEM.model_copy(update={"found": EVIL})
    text = shown(
        make_receipt("a/a", noise=1e-9, title=EVIL, techniques=[EVIL], techniques_checked=[]),
        make_receipt("b/b", seed=1, status="refused", problems=[problem], times=[], quality=None),
        width=width,
    )
    assert not set(EVIL[0] + EVIL[-1]) & set(text)
    assert max(map(len, text.splitlines())) <= width
    for figure in ("2.50×", "98.87 %", "542 kB"):
        assert figure in text


def test_at_80_columns_nothing_is_left_out() -> None:
    text = shown(
        make_receipt("alice/int8", techniques=["int8", "pruned"]),
        make_receipt("carol/slow", seed=2, lost=0.5, metric="loss", track="tinygpt", items=400),
        width=80,
    )
    assert max(map(len, text.splitlines())) <= 80
    for words in ("int8 (pruned)", "0.10 points lost", "nats lost, gate missed", "25.3 %"):
        assert words in text
