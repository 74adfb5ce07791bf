"""Conversion to bfloat16 rounds to nearest, ties to even, and conversion back to float32 is exact."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tinytorch.base.dtypes import bfloat16, lowest, to_bfloat16, to_float32

BFLOAT16 = bfloat16()
quick = settings(deadline=None, max_examples=60)


def rounded_by_hand(bits: np.ndarray) -> np.ndarray:
    """Round float32 bits to bfloat16 bits: add just less than half, or half if the last remaining bit is odd."""
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=200))
@quick
def test_bfloat16_rounds_to_nearest_and_ties_to_even(numbers: list[int]) -> None:
    bits = np.array(numbers, np.uint32)
    x = bits.view(np.float32)
    finite = ~np.isnan(x)
    rounded = to_bfloat16(x)
    np.testing.assert_array_equal(rounded.view(np.uint16)[finite], rounded_by_hand(bits[finite].astype(np.uint64)))
    assert np.isnan(to_float32(rounded)[~finite]).all()


def test_bfloat16_at_the_ends_of_its_range() -> None:
    half, least = 2.0**-8, 2.0**-133  # half of the step above 1; the smallest subnormal bfloat16 number
    x = np.array([1 + half, 1 + 3 * half, -1 - half, np.inf, -np.inf, 3.4028235e38, least, least / 2, -0.0], np.float32)
    y = np.array([1, 1 + 4 * half, -1, np.inf, -np.inf, np.inf, least, 0, -0.0], np.float32)
    rounded = to_float32(to_bfloat16(x))
    np.testing.assert_array_equal(rounded, y)
    np.testing.assert_array_equal(np.signbit(rounded), np.signbit(y))
    # Truncation would clear all fraction bits of this NaN and turn it into infinity.
    assert np.isnan(to_float32(to_bfloat16(np.array([0x7F800001], np.uint32).view(np.float32)))).all()


def test_every_bfloat16_survives_conversion_to_float32() -> None:
    every = np.arange(2**16).astype(np.uint16).view(BFLOAT16)
    back = to_bfloat16(to_float32(every))
    numbers = ~np.isnan(to_float32(every))
    np.testing.assert_array_equal(back.view(np.uint16)[numbers], every.view(np.uint16)[numbers])


def test_lowest_number_is_finite_in_its_dtype() -> None:
    for dtype in (np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64), BFLOAT16):
        least = np.array(lowest(dtype), dtype)
        assert float(least) == lowest(dtype)
        with np.errstate(over="ignore"):
            assert float(least + least) == -np.inf
