"""oneDNN rounds numbers to the integers of `quantize`, at the edges of their range as well."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinytorch.native import int8, library
from tinytorch.quantization import quantize

pytestmark = pytest.mark.skipif(bool(library.why_not()), reason=library.why_not() or "available")


@given(
    dtype=st.sampled_from(["int8", "uint8"]),
    exponent=st.floats(-6, 4),
    steps=st.lists(st.integers(-600, 600), min_size=1, max_size=40),
    noise=st.floats(-0.4, 0.4),
)
@settings(deadline=None, max_examples=200)
def test_integers_are_those_of_quantize(dtype: str, exponent: float, steps: list[int], noise: float) -> None:
    scale = np.array(10**exponent, np.float32)
    halves = np.array(steps, np.float32) / 2 * scale  # every second one is halfway between two integers
    extremes = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 0], np.float32)
    x = np.concatenate([halves, halves * np.float32(1 + noise), extremes])
    run, q = int8.rounding(x, scale, dtype)
    run()
    np.testing.assert_array_equal(q, quantize(x, scale, dtype), strict=True)
