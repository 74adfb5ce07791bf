"""Charts without scripts: round ticks on the axis, and everything inside the box."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tito.report import charts
from tito.report.charts import Axis
from tito.report.units import THIN


@given(st.floats(1e-3, 1e9), st.floats(1.0, 1e6))
def test_an_axis_has_a_few_ticks_that_lie_on_it(low: float, factor: float) -> None:
    made = charts.axis([low, low * factor], 0.05)
    ticks = made.ticks()
    assert 2 <= len(ticks) <= charts.MOST_TICKS
    assert ticks == sorted(set(ticks))
    assert all(made.low * 0.999 <= tick <= made.high * 1.001 for tick in ticks)


@given(st.lists(st.floats(1e-3, 1e9), min_size=1, max_size=20))
def test_every_value_is_inside_its_axis(values: list[float]) -> None:
    made = charts.axis(values, 0.05)
    assert all(0 < made.at(value) < 1 for value in values)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.9, 1.5, [0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5]),
        (0.8, 7.8, [1, 2, 5]),
        (3000, 300_000, [3000, 10_000, 30_000, 100_000, 300_000]),
        (900, 2_000_000, [1000, 10_000, 100_000, 1_000_000]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert Axis(low, high).ticks() == expected


def test_larger_values_are_higher_and_to_the_right() -> None:
    made = Axis(1, 100)
    assert charts.polyline([(made.at(1), made.at(1)), (made.at(10), made.at(100))]) == "M0 1000L500 0"
    assert [tick.at for tick in charts.x_ticks(made, "times")] == ["0%", "50%", "100%"]
    assert [tick.at for tick in charts.y_ticks(made, "times")] == ["100%", "50%", "0%"]


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (1.5, "times", "1.5×"),
        (20, "us", "20 µs"),
        (1500, "us", "1.5 ms"),
        (100_000, "bytes", "100 kB"),
        (1_200_000, "bytes", "1.2 MB"),
    ],
)
def test_labels_have_their_unit_and_no_needless_zeros(value: float, unit: str, expected: str) -> None:
    assert charts._text(value, unit).replace(THIN, " ") == expected
