"""A row as text: figures with their intervals, and no figure where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compete.crowd import make_standing
from tests.compete.sample import make_ground, make_quality, make_receipt
from tito.compete.ranking import Row, rank
from tito.compete.receipt import Receipt
from tito.report import standings
from tito.report.standings import Cell
from tito.report.units import THIN


def row(receipt: Receipt) -> Row:
    return rank([receipt], make_ground().id, str(receipt.track), str(receipt.division)).rows[0]


def test_a_figure_stands_with_its_interval() -> None:
    made = row(make_receipt(noise=1e-9, lost=0.001))
    assert standings.ratio(made) == Cell("2.50×", "2.50–2.50×")
    found = standings.quality(made)
    assert found.value == f"98.87{THIN}%"
    low, high = found.detail.removesuffix(f"{THIN}%").split("–")
    assert 98.5 < float(low) < 98.87 < float(high) < 99.2
    assert standings.size(made.receipt) == Cell(f"542{THIN}kB", f"25.3{THIN}% of reference")
    assert [standings.place(made, criterion).value for criterion in ("latency", "size", "quality")] == ["1", "1", "1"]
    assert standings.why_unranked(made) == ""


def test_a_loss_is_in_nats() -> None:
    made = row(make_receipt(metric="loss", items=200, lost=0.012, track="tinygpt"))
    assert standings.quality(made).value.endswith(f"{THIN}nats")
    assert made.receipt.quality
    assert standings.lost("loss", made.receipt.quality.lost).endswith(" nats lost")


def test_what_was_not_measured_is_a_dash() -> None:
    made = row(make_receipt(times=[], quality=None, file_bytes=None))
    assert [standings.ratio(made), standings.quality(made), standings.size(made.receipt)] == [Cell("–")] * 3
    assert standings.place(made, "latency") == Cell("–")
    assert standings.why_unranked(made) == "no latency and no size and no quality measured"
    assert standings.why_unranked(row(make_receipt(lost=0.5))) == "quality gate missed"


@pytest.mark.parametrize(
    ("lost", "expected"),
    [(0.001, "0.10 points lost"), (-0.0035, "0.35 points gained"), (0.0, "no points lost")],
)
def test_a_loss_of_quality_has_its_direction(lost: float, expected: str) -> None:
    assert standings.lost("accuracy", make_quality(np.random.default_rng(0), lost).lost) == expected


@pytest.mark.parametrize(("value", "expected"), [(0.9704, "0.97×"), (1.0, "1.00×"), (9.995, "9.99×"), (12.34, "12.3×")])
def test_ratios_have_two_digits_after_the_point(value: float, expected: str) -> None:
    assert standings.times(value) == expected


def test_entries_are_counted_by_state() -> None:
    assert standings.counts(make_standing(6)) == [("verified", 6), ("refused", 2), ("stale", 2), ("pending", 2)]
