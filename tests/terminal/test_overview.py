"""An overview in the terminal: the best first, whole tables at any width, notes below their table."""

from __future__ import annotations

import re

import pytest

from tests.report.test_headline import FP32, INT8, TINY, referenced
from tests.report.test_overview import OVERVIEW
from tests.terminal.sample import printed
from tito.report.headline import headline
from tito.report.overview import sides
from tito.terminal.overview import SideBySide, best_of_each_track
from tito.terminal.record import show_record

NOTED = INT8.model_copy(update={"note": "rounded"})
RECORD = referenced(FP32, NOTED, TINY)


def test_the_best_of_each_track_names_its_case_and_its_gain() -> None:
    lines = [line.split() for line in printed(best_of_each_track(headline(RECORD))).splitlines()]
    assert ["digits", "FP32:", "400", "B,", "40.0", "µs,", "99.00", "%"] in lines
    assert ["smallest", "20", "B", "5.00", "%", "of", "FP32", "TINY"] in lines
    assert ["fastest", "10.0", "µs", "INT8"] in lines


def test_a_track_whose_cases_all_miss_their_gates_says_so() -> None:
    broken = INT8.model_copy(update={"verdicts": [INT8.verdicts[0].model_copy(update={"met": False})]})
    assert "no other case meets its gates" in printed(best_of_each_track(headline(referenced(FP32, broken))))


@pytest.mark.parametrize("width", [32, 40, 60, 80, 120, 160])
def test_no_word_is_broken_and_nothing_is_wider_than_the_terminal(width: int) -> None:
    words = set(printed(show_record(RECORD, wide=True), 400).split())
    for wide in (False, True):
        text = printed(show_record(RECORD, wide=wide), width)
        assert max(map(len, text.splitlines())) <= width
        assert set(re.sub(r"\d+ more columns? with --wide", "", text).split()) <= words


def test_columns_without_room_are_left_out_by_their_importance_and_counted() -> None:
    (side,) = sides(RECORD)
    narrow = printed(SideBySide(side), 36)
    assert "accuracy" in narrow
    hidden = next(line for line in narrow.splitlines() if "with --wide" in line)
    shown = [head for head in side.heads if head in narrow]
    count = len(side.heads) - len(shown)
    assert hidden.strip() == f"{count} more column{'s' * (count != 1)} with --wide"
    assert count > 0
    assert "with --wide" not in printed(SideBySide(side), 160)


def test_a_missed_figure_is_never_left_out_before_the_others() -> None:
    verdict = INT8.verdicts[0]
    last = OVERVIEW.columns[-1]
    missed = verdict.model_copy(
        update={"met": False, "criterion": verdict.criterion.model_copy(update={"metric": last})}
    )
    (side,) = sides(referenced(FP32, INT8.model_copy(update={"verdicts": [missed]})))
    assert side.heads[side.priority[0]] == side.heads[-1]


@pytest.mark.parametrize("width", [32, 40, 60, 100, 160])
def test_with_wide_all_columns_follow_below_and_no_figure_is_broken(width: int) -> None:
    (side,) = sides(RECORD)
    text = printed(SideBySide(side, wide=True), width)
    assert max(map(len, text.splitlines())) <= width
    for figure in ("99.00 %", "98.50 %", "400 B", "40.0 µs", "12.0 µs", "≥ 0 %"):
        assert figure in text
    assert text.count("accuracy") == text.count("File") == 1


def test_a_note_stands_below_the_table_of_its_case() -> None:
    (side,) = sides(RECORD)
    assert printed(SideBySide(side)).splitlines()[-1].strip() == "INT8: rounded"


def test_a_record_with_an_overview_opens_with_the_best() -> None:
    text = printed(show_record(RECORD))
    assert text.index("best of each track") < text.index("*  INT8") < text.index("gates met")
