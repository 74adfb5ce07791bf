"""Dynamic INT8 for float32 rows: their scales, their integers, and the product are those of the layer."""

from __future__ import annotations

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.layers import Linear
from tinytorch.native import library
from tinytorch.native.int8_rows import Room, Rows, Scales
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


SIZES = [(1, 1), (1, 1e-6), (1, 1e6), (2, 1), (7, 1e6), (130, 1e-6)]
ROWS = [RNG.standard_normal((rows, 48)).astype(np.float32) * np.float32(size) for rows, size in SIZES]


@pytest.mark.parametrize(
    "x", [*ROWS, np.zeros((1, 48), np.float32), -np.eye(1, 48, dtype=np.float32), -np.eye(5, 48, dtype=np.float32)]
)
def test_scale_and_integers_are_those_of_quantize_rows(x: Array) -> None:
    scales = Scales(x, True, {})
    Program(scales.primitives)()
    q, scale = quantize_rows(x)
    np.testing.assert_allclose(scales.scale, scale.reshape(-1, 1), rtol=1e-6)
    np.testing.assert_array_equal(scales.q, q)


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("x", ROWS)
def test_product_with_what_follows_it(x: Array, bias: bool, alone: bool) -> None:
    quantized, factor = layer(bias), RNG.uniform(0.5, 2, 30).astype(np.float32)
    kernel, plain = quantized.kernel(), quantized.outputs(x)
    size = np.abs(plain).max()

    def computed(rows: Rows, y: Array) -> Array:
        Program(rows.primitives(x, y, alone, {}))()
        return y

    earlier = RNG.standard_normal((len(x), 30)).astype(np.float32)
    summed = computed(Rows(kernel, factor, (SUM,)), earlier.copy())
    np.testing.assert_allclose(summed, plain * factor + earlier, rtol=1e-5, atol=1e-5 * size)
    y = np.full((len(x), 30), np.nan, np.float32)
    np.testing.assert_allclose(computed(Rows(kernel), y), plain, rtol=1e-5, atol=1e-5 * size)
    with np.errstate(over="ignore"):
        curved = tt.gelu(tt.Tensor(plain)).data
    np.testing.assert_allclose(computed(Rows(kernel, post=("gelu",)), y), curved, rtol=1e-5, atol=1e-5 * size)


def test_layers_share_memory_in_turn() -> None:
    x, first, second = ROWS[-1], layer(), layer(bias=False)
    room: Room = {}
    y, z = np.empty((2, len(x), 30), np.float32)
    kernels = [Rows(one.kernel()) for one in (first, second)]
    Program([p for kernel, out in zip(kernels, (y, z), strict=True) for p in kernel.primitives(x, out, True, room)])()
    assert len(room) == 5
    np.testing.assert_allclose(y, first.outputs(x), rtol=1e-5, atol=1e-5 * np.abs(y).max())
    np.testing.assert_allclose(z, second.outputs(x), rtol=1e-5, atol=1e-5 * np.abs(z).max())
