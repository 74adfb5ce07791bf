"""tito.bench.shifts: a lasting step is found and placed; outliers, drift within the noise, and recoveries are none."""

from __future__ import annotations

import numpy as np
import pytest

from tito.bench.shifts import find_shift

FLAT = [10.0, 10.1, 9.9, 10.05, 9.95, 10.0, 10.1, 9.9]


def test_a_step_is_found_where_it_is() -> None:
    shift = find_shift([*FLAT, 12.5, 12.6, 12.4])
    assert shift is not None
    assert (shift.at, shift.runs_before, shift.runs_after) == (8, 8, 3)
    assert shift.relative == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("later", [[], [13.0], [13.0, 13.0], [13.0, 10.0, 13.0], [10.3, 10.3, 10.3, 10.3]])
def test_few_or_small_or_passing_changes_are_no_step(later: list[float]) -> None:
    assert find_shift([*FLAT, *later]) is None


def test_outliers_neither_are_a_step_nor_hide_one() -> None:
    flat = [*FLAT, *FLAT]
    flat[3], flat[11] = 60.0, 45.0
    assert find_shift(flat) is None
    shift = find_shift([*flat, 12.5, 12.6, 12.4, 12.5, 70.0, 12.5, 12.6, 12.5, 12.5, 12.5])
    assert shift is not None
    assert shift.at == 16


def test_the_last_of_two_steps_is_returned() -> None:
    shift = find_shift([*FLAT, *(1.5 * value for value in FLAT), *(1.2 * value for value in FLAT)])
    assert shift is not None
    assert (shift.at, shift.runs_before) == (16, 8)
    assert shift.relative == pytest.approx(-0.2)


def test_a_history_that_recovered_reports_the_recovery() -> None:
    shift = find_shift([*FLAT, *(1.5 * value for value in FLAT), *FLAT])
    assert shift is not None
    assert shift.relative == pytest.approx(-1 / 3, abs=0.01)


def test_shares_step_by_differences() -> None:
    flat = [0.981, 0.9812, 0.9808, 0.981, 0.9811, 0.9809]
    assert find_shift([*flat, 0.975, 0.9751, 0.9749], share=True) is not None
    assert find_shift([*flat, 0.9805, 0.9805, 0.9805], share=True) is None
    assert find_shift([0.0] * 6 + [0.5] * 3, share=True) is not None


def test_equal_values_and_values_without_a_logarithm_have_none() -> None:
    assert find_shift([3.0] * 20) is None
    assert find_shift([0.0] * 20) is None
    assert find_shift([]) is None


def test_scale_and_direction_do_not_matter() -> None:
    values = [*FLAT, 12.5, 12.6, 12.4]
    shift, other = find_shift(values), find_shift([1e-6 / value for value in values])
    assert shift is not None
    assert other is not None
    assert other.at == shift.at
    assert np.isclose(other.relative, 1 / (1 + shift.relative) - 1)
