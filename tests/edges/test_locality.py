"""A convolution's outputs depend only on the pixels that they see, whichever algorithm computes them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import inf, nan

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.arrays import convolution as cv
from tinytorch.arrays.evenness import uneven
from tinytorch.fast import images as fast
from tinytorch.native import backend, library
from tinytorch.tensor import Array, Tensor

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")

rng = np.random.default_rng(0)
CHANNELS = 16  # enough for Winograd
EXTREME = (inf, -inf, nan, 1e6, -1e6, 1e3)


@pytest.fixture(params=["numpy", "onednn"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Compute convolutions of any size by NumPy (here: Winograd's algorithm) or by oneDNN; return which."""
    name: str = request.param
    if name == "onednn" and (problem := library.why_not()):
        pytest.skip(problem)
    before = backend.backend()
    backend.use_backend(name)
    monkeypatch.setattr(fast, "LEAST_WORK", 0)
    yield name
    backend.use_backend(before)


def images(n: int, size: int, dtype: type = np.float32) -> Array:
    """Return images after ReLU, as most convolutions read them."""
    return np.maximum(rng.standard_normal((n, CHANNELS, size, size)), 0).astype(dtype)


WEIGHT = (rng.uniform(-1, 1, (CHANNELS, CHANNELS, 3, 3)) / 12).astype(np.float32)


def convolve(x: Array, g: Array | None = None, padding: int = 1, weight: Array = WEIGHT) -> tuple[Array, Array, Array]:
    """Return y, dx and dweight of a 3x3 convolution without bias."""
    x_, w = Tensor(x, requires_grad=True), Tensor(weight.astype(x.dtype), requires_grad=True)
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
@pytest.mark.usefixtures("way")
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
@pytest.mark.usefixtures("way")
def test_extreme_gradient_reaches_only_the_pixels_behind_it(value: float) -> None:
    x, g = images(3, 9), rng.standard_normal((3, CHANNELS, 9, 9)).astype(np.float32)
    exact = convolve(x.astype(np.float64), g)[1]
    g[1, 5, 2, 1] = value
    error = np.abs(convolve(x, g)[1] - exact)
    assert error[:, :, outside(9, 2, 1)].max() < 1e-5
    assert error[[0, 2]].max() < 1e-5


@pytest.mark.parametrize("value", EXTREME)
@pytest.mark.usefixtures("way")
def test_extreme_pixel_reaches_only_the_weights_of_its_channel(value: float) -> None:
    x = images(3, 9)
    exact = convolve(x.astype(np.float64))[2]
    x[1, 5, 4, 4] = value
    dw = convolve(x)[2]
    assert np.abs(dw - exact)[:, np.arange(CHANNELS) != 5].max() < 1e-4


CORNERS = [(0, 0), (0, -1), (-1, 0), (-1, -1)]


def seen_through_padding(bad: dict[str, Array], padding: int) -> tuple[Array, Array, Array]:
    """Return where y, dx, and dweight have no product with a bad value, apart from the zeros of the padding.

    NumPy multiplies these zeros with infinite weights and gradients; oneDNN skips the padding.
    """
    results = []
    for target, sources in enumerate((("x", "weight"), ("g", "weight"), ("x", "g"))):
        marked = {name: np.ones(array.shape) for name, array in bad.items()}
        marked |= {name: array.astype(np.float64) for name, array in bad.items() if array.any()}
        reached = convolve(marked["x"], marked["g"], padding, marked["weight"])[target] > 0
        depends = any(bad[name].any() for name in sources)
        results.append(~reached & depends)
    return results[0], results[1], results[2]


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("after_relu", [True, False])
@pytest.mark.parametrize("place", ["x", "g", "weight"])
@pytest.mark.parametrize("value", [*EXTREME, 1e20, -1e20, 3e38])
def test_extreme_corner_reaches_what_im2col_says_it_reaches(
    value: float, place: str, after_relu: bool, n: int, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for (height, width, padding), corner in product([(1, 1, 1), (3, 3, 0), (4, 4, 2), (6, 5, 0), (9, 7, 1)], CORNERS):
        x = rng.standard_normal((n, CHANNELS, height, width)).astype(np.float32)
        x = np.maximum(x, 0) if after_relu else x
        g = rng.standard_normal((n, CHANNELS, height + 2 * padding - 2, width + 2 * padding - 2)).astype(np.float32)
        w = WEIGHT.copy()
        {"x": x, "g": g, "weight": w}[place][0, 5][corner] = value
        results = []
        for channels, name in ((CHANNELS, way), (CHANNELS + 1, "numpy")):  # Winograd or oneDNN, im2col
            monkeypatch.setattr(cv, "WINOGRAD_CHANNELS", channels)
            backend.use_backend(name)
            x_, w_ = Tensor(x, requires_grad=True), Tensor(w, requires_grad=True)
            y = tt.conv2d(x_, w_, padding=padding)
            y.backward(g)
            assert x_.grad is not None
            assert w_.grad is not None
            results.append((y.data, x_.grad.data, w_.grad.data))
        bad = {name: ~np.isfinite(array) for name, array in (("x", x), ("g", g), ("weight", w))}
        for ours, im2col, apart in zip(*results, seen_through_padding(bad, padding), strict=True):
            finite = np.isfinite(im2col) | (apart & (way == "onednn"))
            np.testing.assert_array_equal(np.isfinite(ours), finite)
            small = finite & (np.abs(im2col, where=finite, out=np.full_like(im2col, inf)) < 500)
            assert np.abs(ours - im2col)[small].max(initial=0) < 1e-3  # unseen; what is seen is far above


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("spread", ["one sample", "all samples", "the weights"])
def test_what_is_computed_tap_by_tap_has_the_same_values_and_gradients(spread: str, padding: int, dtype: type) -> None:
    x = images(4, 7, dtype)
    g: Array = rng.standard_normal((4, CHANNELS, 5 + 2 * padding, 5 + 2 * padding)).astype(dtype)
    part: Array = {"one sample": x[1:2], "all samples": x, "the weights": WEIGHT[None].astype(dtype)}[spread]
    part *= dtype(1e-4)
    part.reshape(len(part), -1)[:, 20] = 1  # far above the mean
    weight = part[0] if spread == "the weights" else WEIGHT
    found = uneven(x, cv.INPUT_LIMIT)
    expected = {"one sample": [False, True, False, False], "all samples": [True] * 4, "the weights": None}[spread]
    assert (None if found is None else found.tolist()) == expected
    assert np.isnan(cv.weight_tiles(weight.astype(dtype))[:36]).all() == (spread == "the weights")
    exact = convolve(x.astype(np.float64), g, padding, weight)
    for got, value in zip(convolve(x, g, padding, weight), exact, strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-4, atol=1e-4 if dtype == np.float32 else 1e-12)


def test_pruned_weights_are_even() -> None:
    w = WEIGHT * (rng.random(WEIGHT.shape) < 0.005)
    assert np.isfinite(cv.weight_tiles(w)).all()


def test_usual_images_and_gradients_are_computed_by_winograds_algorithm() -> None:
    g = images(8, 16) * (rng.random((8, CHANNELS, 16, 16)) < 0.25)  # as max pooling leaves it
    assert uneven(images(8, 16), cv.INPUT_LIMIT) is None
    assert uneven(g, cv.GRADIENT_LIMIT) is None
    assert uneven(np.zeros((2, 4, 4, 3), np.float32), cv.INPUT_LIMIT) is None
