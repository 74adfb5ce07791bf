from __future__ import annotations

import pytest

from tito.report import units


def said(text: str) -> str:
    return text.replace(units.THIN, " ")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.98531, "%", "98.53 %"),
        (18.4e-6, "s", "18.4 µs"),
        (0.00321, "s", "3.21 ms"),
        (41.23, "s", "41.2 s"),
        (750.0, "s", "12.5 min"),
        (18.4, "us", "18.4 µs"),
        (3.2e6, "bytes", "3.20 MB"),
        (512, "bytes", "512 B"),
        (60000, "count", "60 000"),
        (0.0082171, "", "0.008217"),
        (2.124e-6, "", "2.1e-6"),
        (1.2345, "bits", "1.234 bits"),
        (182345.0, "/s", "182 000 /s"),
        (35.21e6, "/s", "35.2 M/s"),
        (0.0, "s", "0 s"),
        (float("nan"), "count", "nan"),
        (float("inf"), "bytes", "inf"),
        (float("-inf"), "/s", "-inf"),
    ],
)
def test_a_quantity_is_shown_with_its_unit_and_sensible_digits(value: float, unit: str, text: str) -> None:
    assert said(units.quantity(value, unit)) == text


def test_a_demand_is_shown_as_it_was_written() -> None:
    assert said(units.demand(0.95, "%")) == "95 %"
    assert said(units.demand(0.985, "%")) == "98.5 %"
    assert said(units.demand(60, "s")) == "60 s"


def test_mean_and_sd_share_a_unit() -> None:
    assert said(units.spread(0.9845, 0.0013, "%")) == "98.45 ± 0.13 %"
    assert said(units.spread(38.8, 0.546, "s")) == "38.8 ± 0.55 s"
    assert said(units.spread(0.9845, None, "%")) == "98.45 %"
    assert said(units.spread(1.8964, 0.007417, "nats per token")) == "1.896 ± 0.007 nats per token"


def test_axis_numbers_carry_prefixes() -> None:
    assert [said(units.short(value)) for value in (0.05, 20, 5e4, 2e6)] == ["0.05", "20", "50 k", "2 M"]


def test_a_cells_last_zeros_are_cut_behind_the_point_only() -> None:
    assert [said(units.cell(value)) for value in (1869.6, 0.8, 12.30, 25340.4)] == ["1 870", "0.8", "12.3", "25 340"]


def test_cells_keep_words_and_mark_gaps() -> None:
    assert [said(units.cell(value)) for value in ("fc1", None, 401920, 0.8, 0.004)] == [
        "fc1",
        "–",
        "401 920",
        "0.8",
        "0.004",
    ]


def test_a_ratio_is_a_number_with_a_cross() -> None:
    assert units.quantity(2.3529, "times") == "2.35×"
    assert units.demand(1.5, "times") == "1.5×"


def test_a_demand_in_another_unit_is_shown_as_it_was_written() -> None:
    assert units.demand(0.0001, "") == "0.0001"
    assert units.demand(0.02, "nats") == f"0.02{units.THIN}nats"
