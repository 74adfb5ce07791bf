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
        (2.124e-6, "", "2.1e−6"),
        (-0.0002, "%", "−0.02 %"),
        (-0.00001, "%", "0.00 %"),
        (-0.012, "s", "−12.0 ms"),
        (-1500, "bytes", "−1.50 kB"),
        (-3, "count", "−3"),
        (-1.5, "nats", "−1.500 nats"),
        (1.2345, "bits", "1.234 bits"),
        (182345.0, "/s", "182 000 /s"),
        (35.21e6, "/s", "35.2 M/s"),
        (0.0, "s", "0 s"),
        (float("nan"), "count", "nan"),
        (float("inf"), "bytes", "inf"),
        (float("-inf"), "/s", "−inf"),
    ],
)
def test_a_quantity_is_shown_with_its_unit_and_sensible_digits(value: float, unit: str, text: str) -> None:
    assert said(units.quantity(value, unit)) == text


def test_a_demand_is_shown_as_it_was_written() -> None:
    assert said(units.demand(0.95, "%")) == "95 %"
    assert said(units.demand(0.985, "%")) == "98.5 %"
    assert said(units.demand(60, "s")) == "60 s"


@pytest.mark.parametrize(
    ("mean", "sd", "unit", "text"),
    [
        (0.9901, 0.0001, "%", "99.01 % (sd 0.01, n = 3)"),
        (38.8, 0.546, "s", "38.8 s (sd 0.5, n = 3)"),
        (0.0321, 0.0012, "s", "32.1 ms (sd 1.2, n = 3)"),
        (62.2, 0.004, "us", "62.2 µs (sd 0.004, n = 3)"),
        (3.2e6, 12e3, "bytes", "3.20 MB (sd 0.01, n = 3)"),
        (1.8964, 0.007417, "nats per token", "1.896 nats per token (sd 0.007, n = 3)"),
        (1.0, 0.0, "%", "100.00 % (sd 0, n = 3)"),
        (0.9845, None, "%", "98.45 %"),
    ],
)
def test_mean_and_sd_share_a_unit_and_the_sd_is_never_rounded_to_nothing(
    mean: float, sd: float | None, unit: str, text: str
) -> None:
    assert said(units.spread(mean, sd, 3, unit)) == text


@pytest.mark.parametrize("unit", ["%", "s", "us", "bytes", "count", "", "/s", "times", "nats", "GOP/s"])
@pytest.mark.parametrize("value", [-1234567.8, -700.0, -1.0, -0.5, -0.00042, -1e-9, float("-inf")])
def test_no_number_has_a_hyphen_for_a_minus(value: float, unit: str) -> None:
    shown = [units.quantity(value, unit), units.demand(value, unit), units.spread(value, 0.1, 3, unit)]
    shown += [units.short(value), units.cell(value), units.significant(value)] if value > float("-inf") else []
    assert not [text for text in shown if "-" in text]


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
