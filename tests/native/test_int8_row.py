"""Dynamic INT8 for a single row: the scale, the integers, and the product are those of the layer."""

from __future__ import annotations

import numpy as np
import pytest

from tinytorch.layers import Linear
from tinytorch.native import library
from tinytorch.native.int8_row import Row, Scales
from tinytorch.native.primitives import SUM
from tinytorch.native.program import Program
from tinytorch.quantization import quantize_rows
from tinytorch.quantized import quantize_dynamic
from tinytorch.quantized.layers import QuantizedLinear
from tinytorch.tensor import Array

NATIVE = library.why_not() == "" and "int8" in library.native_dtypes()
pytestmark = [pytest.mark.skipif(not NATIVE, reason="no native int8 kernels here"), pytest.mark.usefixtures("onednn")]
RNG = np.random.default_rng(0)


def layer(bias: bool = True) -> QuantizedLinear:
    made = quantize_dynamic(Linear(48, 30, bias))
    assert isinstance(made, QuantizedLinear)
    return made


ROWS = [RNG.standard_normal((1, 48)).astype(np.float32) * size for size in (1, 1e-6, 1e6)]


@pytest.mark.parametrize("x", [*ROWS, np.zeros((1, 48), np.float32), -np.eye(1, 48, dtype=np.float32)])
def test_scale_and_integers_are_those_of_quantize_rows(x: Array) -> None:
    scales = Scales(x, alone=True)
    Program(scales.primitives)()
    q, scale = quantize_rows(x)
    np.testing.assert_allclose(scales.scale, scale.reshape(1, 1), rtol=1e-6)
    np.testing.assert_array_equal(scales.q, q)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("x", ROWS)
def test_product_with_what_follows_it(x: Array, bias: bool) -> None:
    quantized, factor = layer(bias), RNG.uniform(0.5, 2, 30).astype(np.float32)
    kernel = quantized.kernel()
    expected = quantized.outputs(x) * factor
    y = np.full((1, 30), 3, np.float32)
    Program(Row(kernel, factor, (SUM,)).primitives(x, y, alone=True))()
    np.testing.assert_allclose(y, expected + 3, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    Program(Row(kernel).primitives(x, y, alone=True))()
    np.testing.assert_allclose(y, quantized.outputs(x), rtol=1e-5, atol=1e-5 * np.abs(expected).max())
