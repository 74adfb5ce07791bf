"""A convolution's outputs depend only on the pixels that they see, whichever algorithm computes them."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.arrays import convolution as cv
from tinytorch.tensor import Array, Tensor

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")

rng = np.random.default_rng(0)
CHANNELS = 16  # enough for Winograd
EXTREME = (inf, -inf, nan, 1e6, -1e6, 1e3)


def images(n: int, size: int, dtype: type = np.float32) -> Array:
    """Return images after ReLU, as most convolutions read them."""
    return np.maximum(rng.standard_normal((n, CHANNELS, size, size)), 0).astype(dtype)


WEIGHT = (rng.uniform(-1, 1, (CHANNELS, CHANNELS, 3, 3)) / 12).astype(np.float32)


def convolve(x: Array, g: Array | None = None, padding: int = 1) -> tuple[Array, Array, Array]:
    """Return y, dx and dweight of a 3x3 convolution without bias."""
    x_, w = Tensor(x, requires_grad=True), Tensor(WEIGHT.astype(x.dtype), requires_grad=True)
    y = tt.conv2d(x_, w, padding=padding)
    y.backward(np.ones(y.shape, x.dtype) if g is None else g.astype(x.dtype))
    assert x_.grad is not None
    assert w.grad is not None
    return y.data, x_.grad.data, w.grad.data


def outside(size: int, row: int, column: int) -> Array:
    """Return where a 3x3 window does not reach the pixel."""
    mask = np.ones((size, size), bool)
    mask[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = False
    return mask


@pytest.mark.parametrize("value", EXTREME)
@pytest.mark.parametrize("size", [4, 9, 16])
def test_extreme_pixel_reaches_only_the_outputs_that_see_it(size: int, value: float) -> None:
    x = images(3, size)
    exact = convolve(x.astype(np.float64))[0]
    x[1, 5, 2, 1] = value
    y = convolve(x)[0]
    error = np.abs(y - exact)
    seen_by_none = outside(size, 2, 1)
    assert error[:, :, seen_by_none].max() < 1e-5
    assert error[[0, 2]].max() < 1e-5  # other samples
    assert not np.isfinite(y[1, :, ~seen_by_none]).all() or np.isfinite(value)


@pytest.mark.parametrize("value", EXTREME)
def test_extreme_gradient_reaches_only_the_pixels_behind_it(value: float) -> None:
    x, g = images(3, 9), rng.standard_normal((3, CHANNELS, 9, 9)).astype(np.float32)
    exact = convolve(x.astype(np.float64), g)[1]
    g[1, 5, 2, 1] = value
    error = np.abs(convolve(x, g)[1] - exact)
    assert error[:, :, outside(9, 2, 1)].max() < 1e-5
    assert error[[0, 2]].max() < 1e-5


@pytest.mark.parametrize("value", EXTREME)
def test_extreme_pixel_reaches_only_the_weights_of_its_channel(value: float) -> None:
    x = images(3, 9)
    exact = convolve(x.astype(np.float64))[2]
    x[1, 5, 4, 4] = value
    dw = convolve(x)[2]
    assert np.abs(dw - exact)[:, np.arange(CHANNELS) != 5].max() < 1e-4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_samples_that_are_computed_tap_by_tap_have_the_same_values_and_gradients(padding: int, dtype: type) -> None:
    x = images(4, 7, dtype)
    g: Array = rng.standard_normal((4, CHANNELS, 5 + 2 * padding, 5 + 2 * padding)).astype(dtype)
    x[1] *= 1e-3
    x[1, 0, 3, 3] = 1  # far above the mean of this sample
    assert cv._uneven(x, cv.INPUT_LIMIT).tolist() == [False, True, False, False]
    for got, expected in zip(convolve(x, g, padding), convolve(x.astype(np.float64), g, padding), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_inverse_gets_the_kernels_back_from_their_tiles(dtype: type) -> None:
    w: Array = WEIGHT.astype(dtype)
    tiles = cv.weight_tiles(w)
    places = (cv._inverse(np.dtype(dtype)) @ tiles.reshape(36, -1)).reshape(3, 3, CHANNELS, CHANNELS)
    np.testing.assert_allclose(places.transpose(3, 2, 0, 1), w, atol=1e-6 if dtype == np.float32 else 1e-14)


def test_usual_images_and_gradients_are_computed_by_winograds_algorithm() -> None:
    g = images(8, 16) * (rng.random((8, CHANNELS, 16, 16)) < 0.25)  # as max pooling leaves it
    assert not cv._uneven(images(8, 16), cv.INPUT_LIMIT).any()
    assert not cv._uneven(g, cv.GRADIENT_LIMIT).any()
    assert not cv._uneven(np.zeros((2, 4, 4, 3), np.float32), cv.INPUT_LIMIT).any()
