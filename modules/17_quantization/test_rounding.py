"""Module 17: scales and rounding, for whole weights and for rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes
from hypothesis.extra.numpy import arrays as hypothesis_arrays

from tinytorch.arrays.integers import LARGEST
from tinytorch.base.errors import SettingError
from tinytorch.layers import Linear
from tinytorch.quantization import quantize, quantize_rows, quantize_weight, scales_for
from tinytorch.quantized import prepare_qat, quantize_dynamic
from tinytorch.tensor import Array

pytestmark = pytest.mark.usefixtures("backend")
TINY = float(np.finfo(np.float32).tiny)
few = settings(deadline=None, max_examples=40)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def integers(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    low, high = (0, 255) if dtype == "uint8" else (-127, 127)
    ends = rng.choice([low, high], shape)
    return np.where(rng.random(shape) < 0.3, ends, rng.integers(low, high + 1, shape)).astype(dtype)


@pytest.mark.parametrize("steps", [1, 7, 127, 255])
def test_scale_maps_the_largest_value_to_the_largest_integer(steps: int) -> None:
    assert scales_for(0.0, steps) == 1
    scales = scales_for(np.array([3.0, 0.0, 1e-45, 2e38]), steps)
    assert scales.dtype == np.float32
    assert scales.shape == (4,)
    expected = np.array([3 / steps, 1, TINY, 2e38 / steps]).astype(np.float32)
    np.testing.assert_array_equal(scales, expected)


@pytest.mark.parametrize("dtype", LARGEST)
@few
@given(st.lists(st.floats(width=32), min_size=1, max_size=20), st.floats(TINY, 1e30))
def test_rounding_is_to_the_nearest_and_saturates(dtype: str, values: list[float], scale: float) -> None:
    x, s = np.array(values, np.float32), np.float32(scale)
    q = quantize(x, s, dtype)
    low, high = (0, 255) if dtype == "uint8" else (-127, 127)
    assert q.dtype == dtype
    with np.errstate(over="ignore", invalid="ignore"):
        expected = np.clip(np.nan_to_num(x.astype(np.float64) / float(s), nan=low), low, high)
    assert np.abs(q - expected).max() <= 0.5 + 1e-4


def test_ties_round_to_even_and_both_sides_saturate() -> None:
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 1e9, -1e9, np.inf, -np.inf, np.nan, 126.5, 254.5, -126.5], np.float32)
    assert quantize(x, np.float32(1), "int8").tolist() == [0, 2, 2, 0, -2, 127, -127, 127, -127, -127, 126, 127, -126]
    assert quantize(x, np.float32(1), "uint8").tolist() == [0, 2, 2, 0, 0, 255, 0, 255, 0, 0, 126, 254, 0]


@pytest.mark.parametrize("bits", range(2, 9))
def test_weights_use_exactly_their_bits(bits: int, rng: np.random.Generator) -> None:
    weight = rng.standard_normal((5, 40)).astype(np.float32)
    q, scale = quantize_weight(weight, bits)
    steps = 2 ** (bits - 1) - 1
    assert q.dtype == np.int8
    assert np.abs(q).max(axis=1).tolist() == [steps] * 5  # each channel has its own scale, from its largest weight
    assert np.abs(q * scale[:, None] - weight).max() <= scale.max() / 2 * 1.0001
    assert (np.abs(q * scale[:, None] - weight) <= scale[:, None] / 2 * 1.0001).all()


@pytest.mark.parametrize("bits", [1, 9, 0, -8, 4.0])
def test_bits_out_of_range_are_rejected(bits: int) -> None:
    with pytest.raises(SettingError, match="2 to 8"):
        quantize_weight(np.ones((2, 2), np.float32), bits)
    with pytest.raises(SettingError, match="2 to 8"):
        quantize_dynamic(Linear(3, 2), bits)
    with pytest.raises(SettingError, match="2 to 8"):
        prepare_qat(Linear(3, 2), bits)


@pytest.mark.parametrize("value", [0.0, 1e-45, 1e-40, TINY, 1e-30, 1.0, 3e38])
def test_scale_never_underflows(value: float) -> None:
    scale = scales_for(value, 127)
    assert np.isfinite(scale)
    assert np.isfinite(np.float32(1) / scale)
    assert scale >= TINY
    q, scales = quantize_weight(np.full((2, 3), value, np.float32))
    assert np.abs(q * scales[:, None] - np.float32(value)).max() <= max(scales.max() / 2, 1e-5 * value)
    rows, row_scales = quantize_rows(np.full((2, 3), -value, np.float32))
    assert np.isfinite(row_scales).all()
    assert np.abs(rows * row_scales + np.float32(value)).max() <= max(row_scales.max() / 2, 1e-5 * value)


def test_each_row_has_its_own_scale(rng: np.random.Generator) -> None:
    x = rng.standard_normal((6, 8)).astype(np.float32) * np.float32(10) ** np.arange(-3, 3)[:, None]
    q, _ = quantize_rows(x.astype(np.float32))
    assert np.abs(q).max(axis=1).tolist() == [127] * 6
    alone = [quantize_rows(row[None].astype(np.float32))[0][0] for row in x]
    np.testing.assert_array_equal(q, alone)


ROWS = hypothesis_arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, max_side=40),
    elements=st.one_of(
        st.sampled_from([0.0, -0.0, 1.0, -127.0, 0.5, 1.5, 2.5, -63.5, 1e-45, -1e-38, 3e38]), st.floats(width=32)
    ),
)


@few
@given(ROWS)
def test_row_rounding_matches_the_formula(x: Array) -> None:
    q, scale = quantize_rows(x)
    with np.errstate(invalid="ignore", over="ignore"):
        expected = np.maximum(np.abs(x).max(axis=1, keepdims=True) * np.float32(1 / 127), np.float32(TINY))
        np.testing.assert_array_equal(scale, expected)
        known = np.isfinite(x).all(axis=1)
        rounded = np.rint(x[known] * (np.float32(1) / scale[known]))
    np.testing.assert_array_equal(q[known], rounded)
    assert not np.isfinite(scale[~known]).any()
