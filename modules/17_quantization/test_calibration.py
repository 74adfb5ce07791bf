"""Module 17: calibration on ordinary and on unusual data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.arrays.integers import LARGEST
from tinytorch.base.errors import NonFiniteError, SettingError
from tinytorch.layers import Dropout, Flatten, Linear, Module, Sequential
from tinytorch.quantization import BINS, Observer, quantize
from tinytorch.quantized import quantize_dynamic, quantize_static
from tinytorch.tensor import Array, Tensor

pytestmark = pytest.mark.usefixtures("backend")
random = np.random.default_rng(0)
DIGITS = random.random((64, 4, 6)).astype(np.float32)


def mlp() -> Sequential:
    tt.manual_seed(0)
    layers = [Flatten(), Linear(24, 32), tt.ReLU(), Dropout(0.1), Linear(32, 16), tt.relu, Linear(16, 5)]
    return Sequential(*layers)  # type: ignore[arg-type]


def outputs(model: Module, x: Array) -> Array:
    with tt.no_grad():
        return model.eval()(Tensor(x)).data


def test_calibration_needs_finite_data_that_reach_every_layer() -> None:
    for nothing in ([], [DIGITS[:0]]):
        with pytest.raises(SettingError, match="no data"):
            quantize_static(mlp(), nothing)
    for bad in (np.nan, np.inf, -np.inf):
        spoilt = DIGITS.copy()
        spoilt[3, 1, 1] = bad
        with pytest.raises(NonFiniteError, match="the input of 1 contains NaN or infinity"):
            quantize_static(mlp(), [DIGITS, spoilt])
    with pytest.raises(SettingError, match="'maximum'"):
        quantize_static(mlp(), [DIGITS], "maximum")  # type: ignore[arg-type]

    class Idle(Module):
        def __init__(self) -> None:
            self.used, self.idle = Linear(24, 2), Linear(24, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)

    with pytest.raises(SettingError, match="idle received no input"):
        quantize_static(Idle(), [DIGITS.reshape(64, 24)])
    broken = mlp()
    broken[1].weight.data[0, 0] = np.nan  # type: ignore[attr-defined]
    with pytest.raises(NonFiniteError, match="weight"):
        quantize_dynamic(broken)


@pytest.mark.parametrize("value", [0.0, 0.5, -3.0, 1e-44, 1e-38, 1e37])
def test_constant_and_tiny_inputs(value: float) -> None:
    x = np.full((4, 24), value, np.float32)
    model = Sequential(Linear(24, 3, bias=False))
    for quantized in (quantize_static(model, [x]), quantize_static(model, [x], "mse"), quantize_dynamic(model)):
        y = outputs(quantized, x)
        assert np.isfinite(y).all()
        assert np.abs(y - outputs(model, x)).max() <= 0.03 * max(abs(value), 1e-37)


def test_zero_weights_return_the_bias() -> None:
    layer = Linear(24, 3)
    layer.weight.data[:] = 0
    for quantized in (quantize_static(layer, [DIGITS.reshape(64, 24)]), quantize_dynamic(layer)):
        np.testing.assert_array_equal(outputs(quantized, DIGITS.reshape(64, 24)), np.tile(layer.bias.data, (64, 1)))  # type: ignore[union-attr]


def test_values_beyond_the_calibrated_range_saturate_on_both_sides() -> None:
    layer = Linear(24, 3, bias=False)
    x = random.uniform(-1, 1, (64, 24)).astype(np.float32)
    x[0, :2] = -1, 1
    quantized = quantize_static(layer, [x])
    for beyond in (50.0, -50.0):
        far, edge = np.full((1, 24), beyond, np.float32), np.full((1, 24), np.sign(beyond), np.float32)
        np.testing.assert_array_equal(outputs(quantized, far), outputs(quantized, edge))
    positive = quantize_static(layer, [np.abs(x)])
    np.testing.assert_array_equal(outputs(positive, -np.abs(x)), np.zeros((64, 3), np.float32))


def test_range_grows_with_each_batch() -> None:
    seen = Observer()
    for batch, low, high, dtype in (
        ([1.0, 5.0], 1, 5, "uint8"),
        ([], 1, 5, "uint8"),
        ([[2.0], [-7.0]], -7, 5, "int8"),
        ([3.0], -7, 5, "int8"),
    ):
        seen.see("x", np.array(batch, np.float32))
        assert (seen.low, seen.high) == (low, high)
        assert seen.dtype == dtype
    assert seen.largest == 7
    with pytest.raises(NonFiniteError, match="the input of fc contains NaN or infinity"):
        seen.see("fc", np.array([np.nan], np.float32))
    assert (seen.low, seen.high) == (-7, 5)


def test_histogram_counts_magnitudes_up_to_the_largest() -> None:
    seen = Observer()
    seen.low, seen.high = -4.0, 2.0
    for batch in ([[-4.0, 4.0], [0.0, 2.0]], [-2.0, 0.001, 3.9999]):
        seen.count("x", np.array(batch, np.float32))
    assert seen.counts.dtype == np.int64
    assert seen.counts.shape == (BINS,)
    places = np.flatnonzero(seen.counts)
    assert places.tolist() == [0, BINS // 2, BINS - 1]
    assert seen.counts[places].tolist() == [2, 2, 3]
    nothing = Observer()
    nothing.low = nothing.high = 0.0
    nothing.count("x", np.zeros(3, np.float32))
    assert not nothing.counts.any()


def observed(x: Array) -> Observer:
    seen = Observer()
    for look in (Observer.see, Observer.count):
        for part in np.array_split(x, 3):
            look(seen, "x", part)
    return seen


def test_outliers_are_cut_off_if_that_reduces_the_error() -> None:
    x = np.random.default_rng(0).standard_normal(30_000).astype(np.float32)
    x[7] = 100
    seen = observed(x)
    scales = {method: seen.scale(method) for method in ("minmax", "percentile", "mse")}
    assert scales["minmax"] == np.float32(100 / 127)
    assert np.quantile(np.abs(x), 0.9999) == pytest.approx(127 * scales["percentile"], abs=2 * 100 / 2048)
    errors = {name: np.square(quantize(x, scale, "int8") * scale - x).sum() for name, scale in scales.items()}
    tried = scales["minmax"] * np.arange(16, 129).astype(np.float32) / 128
    assert errors["mse"] <= 1.02 * min(np.square(quantize(x, s, "int8") * s - x).sum() for s in tried)
    assert errors["mse"] < errors["minmax"]
    assert errors["mse"] < errors["percentile"]


@pytest.mark.parametrize("method", ["minmax", "percentile", "mse"])
def test_uniform_range_is_kept_whole(method: Any) -> None:
    x = np.linspace(0, 2, 5000, dtype=np.float32)
    seen = observed(x)
    assert seen.dtype == "uint8"
    assert seen.scale(method) * LARGEST["uint8"] == pytest.approx(2, rel=0.02)
    assert observed(-x).dtype == "int8"
