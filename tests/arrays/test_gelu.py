"""The derivative of GELU, in blocks."""

from __future__ import annotations

import numpy as np
import pytest

from tinytorch.activations import GELU_CUBIC, GELU_SCALE
from tinytorch.arrays import gelu
from tinytorch.tensor import Array

rng = np.random.default_rng(0)


def by_formula(g: Array, x: Array) -> Array:
    t = np.tanh(GELU_SCALE * (x + GELU_CUBIC * x**3))
    return g / 2 * (1 + t + x * (1 - t * t) * GELU_SCALE * (1 + 3 * GELU_CUBIC * x * x))


@pytest.mark.parametrize("shape", [(), (0,), (3, 4), (3, gelu.BLOCK), (1, gelu.BLOCK + 5)])
@pytest.mark.parametrize("layout", ["C", "F", "shared gradient"])
def test_gradient_equals_the_formula_for_each_size_and_layout(shape: tuple[int, ...], layout: str) -> None:
    x = np.asarray(rng.standard_normal(shape) * 3, order="F" if layout == "F" else "C")
    g = np.broadcast_to(np.float64(2), shape) if layout == "shared gradient" else np.asarray(rng.standard_normal(shape))
    t = np.tanh(GELU_SCALE * (x + GELU_CUBIC * x**3))
    kept = [array.copy() for array in (g, t, x)]
    np.testing.assert_allclose(gelu.gelu_gradient(g, t, x, GELU_SCALE, GELU_CUBIC), by_formula(g, x), atol=1e-12)
    for array, before in zip((g, t, x), kept, strict=True):
        np.testing.assert_array_equal(array, before)


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
def test_huge_values_have_the_gradient_of_their_limit() -> None:
    x = np.array([1e14, -1e14, 1e18, -1e18, 0], np.float32)
    t = np.tanh(np.sign(x) * 100).astype(np.float32)
    np.testing.assert_array_equal(gelu.gelu_gradient(np.full_like(x, 2), t, x, GELU_SCALE, GELU_CUBIC), [2, 0, 2, 0, 1])
