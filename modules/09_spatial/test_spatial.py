"""Module 09: convolution, pooling, and batch normalization against loops that follow their formulas."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinytorch import spatial
from tinytorch.arrays import convolution
from tinytorch.arrays.windows import Pair, Window, pad
from tinytorch.autograd import check_grads, no_grad
from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.base.random import manual_seed
from tinytorch.layers import Module, Sequential
from tinytorch.spatial import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BasicBlock,
    BatchNorm2d,
    Conv2d,
    MaxPool2d,
    PairLike,
    adaptive_avg_pool2d,
    avg_pool2d,
    conv2d,
    max_pool2d,
)
from tinytorch.tensor import Array, Tensor


def rng() -> np.random.Generator:
    return np.random.default_rng(9)


def naive_windows(
    x: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, fill: float = 0.0
) -> Iterator[tuple[int, int, Array]]:
    """Yield (i, j, window): the pixels of the window at position (i, j), (N, C, kh, kw)."""
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = kernel, stride, padding, dilation
    padded = np.pad(x, [(0, 0), (0, 0), (ph, ph), (pw, pw)], constant_values=fill)
    reach_h, reach_w = dh * (kh - 1) + 1, dw * (kw - 1) + 1
    for i, top in enumerate(range(0, padded.shape[2] - reach_h + 1, sh)):
        for j, left in enumerate(range(0, padded.shape[3] - reach_w + 1, sw)):
            yield i, j, padded[:, :, top : top + reach_h : dh, left : left + reach_w : dw]


def naive_conv2d(x: Array, w: Array, b: Array, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Array:
    share_k, share_c = len(w) // groups, w.shape[1]
    found = {}
    for i, j, seen in naive_windows(x, (w.shape[2], w.shape[3]), stride, padding, dilation):
        value = np.empty((len(x), len(w)))
        for k in range(len(w)):
            first = k // share_k * share_c
            value[:, k] = (seen[:, first : first + share_c] * w[k]).sum((1, 2, 3)) + b[k]
        found[i, j] = value
    size = tuple(max(place[axis] for place in found) + 1 for axis in (0, 1))
    y = np.empty((len(x), len(w), *size))
    for (i, j), value in found.items():
        y[:, :, i, j] = value
    return y


def naive_pool(
    x: Array, kernel: Pair, stride: Pair, padding: Pair, function: Callable[[Array], Array], fill: float
) -> Array:
    found = {(i, j): function(seen) for i, j, seen in naive_windows(x, kernel, stride, padding, (1, 1), fill)}
    size = tuple(max(place[axis] for place in found) + 1 for axis in (0, 1))
    y = np.empty((*x.shape[:2], *size))
    for (i, j), value in found.items():
        y[:, :, i, j] = value
    return y


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))

# Windows, columns, and back; images are (N, H, W, C) ------------------------------------------------------

WINDOWS: dict[str, tuple[tuple[int, int, int, int], Window]] = {  # images, window
    "plain": ((2, 5, 6, 3), Window((3, 3), (1, 1), (0, 0), (1, 1), (3, 4))),
    "single pixels": ((2, 4, 3, 2), Window((1, 1), (1, 1), (0, 0), (1, 1), (4, 3))),
    "side by side": ((2, 4, 6, 2), Window((2, 2), (2, 2), (0, 0), (1, 1), (2, 3))),
    "stride": ((2, 7, 6, 2), Window((3, 2), (2, 3), (0, 0), (1, 1), (3, 2))),
    "dilation": ((2, 7, 8, 2), Window((3, 2), (1, 1), (0, 0), (2, 3), (3, 5))),
    "padding": ((2, 3, 4, 2), Window((3, 3), (1, 1), (1, 2), (1, 1), (3, 6))),
    "all, uneven": ((3, 9, 8, 4), Window((3, 2), (2, 1), (1, 2), (2, 1), (4, 11))),
}


def by_loops(x: Array, window: Window) -> Array:
    """Return every window of unpadded images, (N, OH, OW, kh, kw, C), with loops over all positions and places."""
    padded = np.pad(x, [(0, 0), *((p, p) for p in window.padding), (0, 0)])
    found = np.empty((len(x), *window.positions, *window.kernel, x.shape[3]), x.dtype)
    for i, j in np.ndindex(window.positions):
        for u, v in np.ndindex(window.kernel):
            top, left = i * window.stride[0] + u * window.dilation[0], j * window.stride[1] + v * window.dilation[1]
            found[:, i, j, u, v] = padded[:, top, left]
    return found


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_have_the_pixels_at_their_positions(name: str) -> None:
    shape, window = WINDOWS[name]
    x = rng().standard_normal(shape)
    found = spatial.windows(pad(x, window.padding), window)
    assert found.shape == (shape[0], *window.positions, *window.kernel, shape[3])
    np.testing.assert_array_equal(found, by_loops(x, window))


def test_windows_are_a_view() -> None:
    shape, window = WINDOWS["plain"]
    x = rng().standard_normal(shape).astype(np.float32)
    found = spatial.windows(x, window)
    assert np.shares_memory(found, x)
    assert found.dtype == np.float32


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("name", ["side by side", "stride", "padding", "all, uneven"])
def test_columns_are_the_windows_as_rows(name: str, groups: int) -> None:
    shape, window = WINDOWS[name]
    x = rng().standard_normal(shape)
    share = shape[3] // groups
    seen = by_loops(x, window)
    columns = spatial.im2col(x, window, groups)
    assert columns.shape == (groups, seen[..., 0, 0, 0].size, window.kernel[0] * window.kernel[1] * share)
    for k in range(groups):
        expected = seen[..., k * share : (k + 1) * share].reshape(columns.shape[1:])
        np.testing.assert_array_equal(columns[k], expected, err_msg=f"group {k}")


def test_columns_keep_the_dtype() -> None:
    shape, window = WINDOWS["padding"]
    for dtype in (np.float32, np.int8):
        assert spatial.im2col(np.ones(shape, dtype), window, 1).dtype == dtype


@pytest.mark.parametrize("name", WINDOWS)
def test_pixels_get_the_sum_of_all_windows_that_contain_them(name: str) -> None:
    shape, window = WINDOWS[name]
    rows = by_loops(np.ones(shape), window)[..., 0, 0, 0].size
    columns = np.ones((1, rows, window.kernel[0] * window.kernel[1] * shape[3]), np.float32)
    counts = spatial.col2im(columns, shape, window)
    assert counts.shape == shape
    assert counts.dtype == np.float32
    expected = np.zeros((shape[1] + 2 * window.padding[0], shape[2] + 2 * window.padding[1]))
    for i, j in np.ndindex(window.positions):
        for u, v in np.ndindex(window.kernel):
            expected[i * window.stride[0] + u * window.dilation[0], j * window.stride[1] + v * window.dilation[1]] += 1
    (ph, pw), (_, height, width, _) = window.padding, shape
    np.testing.assert_array_equal(counts[0, :, :, 0], expected[ph : ph + height, pw : pw + width])


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("name", ["side by side", "stride", "padding", "all, uneven"])
def test_col2im_is_the_adjoint_of_im2col(name: str, groups: int) -> None:
    shape, window = WINDOWS[name]
    x = rng().standard_normal(shape)
    columns = spatial.im2col(x, window, groups)
    other = np.random.default_rng(1).standard_normal(columns.shape)
    back = spatial.col2im(other, shape, window)
    np.testing.assert_allclose((x * back).sum(), (columns * other).sum(), rtol=1e-10)


# Convolution --------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.integers(1, 2), pairs, pairs, pairs, pairs,
       st.tuples(st.integers(0, 4), st.integers(0, 4)))  # fmt: skip
def test_any_convolution_equals_the_loop(
    n: int,
    groups: int,
    share_c: int,
    share_k: int,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    spare: Pair,
) -> None:
    # `spare` is how much larger the image is than the smallest possible one
    padding = (padding[0] - 1, padding[1] - 1)
    height, width = (max(1, dilation[i] * (kernel[i] - 1) + 1 + spare[i] - 2 * padding[i]) for i in (0, 1))
    x = rng().standard_normal((n, groups * share_c, height, width))
    w = rng().standard_normal((groups * share_k, share_c, *kernel))
    b = rng().standard_normal(len(w))
    expected = naive_conv2d(x, w, b, stride, padding, dilation, groups)
    actual = conv2d(Tensor(x), Tensor(w), Tensor(b), stride, padding, dilation, groups)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual.data, expected, atol=1e-12)


CASES: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {  # x, weight, settings
    "plain": ((2, 3, 5, 6), (4, 3, 3, 3), {}),
    "stride": ((2, 2, 7, 6), (3, 2, 3, 3), {"stride": 2}),
    "padding": ((2, 2, 4, 5), (3, 2, 3, 3), {"padding": 1}),
    "dilation": ((2, 2, 7, 7), (2, 2, 3, 3), {"dilation": 2}),
    "groups": ((2, 4, 5, 5), (6, 2, 3, 3), {"groups": 2}),
    "depthwise": ((2, 4, 5, 5), (4, 1, 3, 3), {"groups": 4, "padding": 1}),
    "all, uneven": ((2, 4, 9, 8), (4, 2, 3, 2), {"stride": (2, 1), "padding": (1, 2), "dilation": (2, 1), "groups": 2}),
    "batch of 1": ((1, 2, 4, 4), (2, 2, 3, 3), {"padding": 1}),
    "kernel as large as the image": ((2, 2, 3, 5), (2, 2, 3, 5), {}),
    "even kernel": ((2, 2, 5, 5), (3, 2, 2, 2), {}),
    "1x1": ((2, 3, 4, 5), (4, 3, 1, 1), {}),
    "1x1, stride 2": ((2, 3, 5, 4), (4, 3, 1, 1), {"stride": 2}),
    "1x1, padding": ((2, 3, 3, 3), (4, 3, 1, 1), {"padding": 1}),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_of_conv2d_match_numerical_ones(name: str) -> None:
    x, w, settings_ = CASES[name]
    arrays = [rng().standard_normal(shape) for shape in (x, w, (w[0],))]
    check_grads(lambda x, w, b: conv2d(x, w, b, **settings_), *arrays)
    check_grads(lambda x, w: conv2d(x, w, **settings_), *arrays[:2])


@pytest.mark.beyond
@pytest.mark.parametrize("padding", [0, 1, 2, (1, 0)])
@pytest.mark.parametrize("size", [(4, 4), (8, 8), (3, 7), (5, 6)])
def test_winograd_equals_im2col_forward_and_backward(size: Pair, padding: PairLike) -> None:
    x, w, b = (rng().standard_normal(shape) for shape in ((9, *size, 17), (16, 17, 3, 3), (16,)))
    ph, pw = (padding, padding) if isinstance(padding, int) else padding
    window = Window((3, 3), (1, 1), (ph, pw), (1, 1), (size[0] + 2 * ph - 2, size[1] + 2 * pw - 2))
    if min(window.positions) < 1:
        pytest.skip("no window fits")
    kernels, matrix = convolution.weight_tiles(w), spatial.weight_columns(w, 1)
    y = convolution.winograd_forward(x, kernels, b, window)
    np.testing.assert_allclose(y, spatial.im2col_forward(x, matrix, b, window), atol=1e-11)
    g = rng().standard_normal(y.shape)
    dx, dkernels, db = convolution.winograd_backward(g, x, kernels, window, True)
    expected = spatial.im2col_backward(g, x, matrix, window, True)
    assert dx is not None
    assert expected[0] is not None
    np.testing.assert_allclose(dx, expected[0], atol=1e-10)
    np.testing.assert_allclose(
        convolution.weight_from_tiles(dkernels), spatial.weight_from_columns(expected[1], w.shape), atol=1e-10
    )
    np.testing.assert_allclose(db, expected[2], atol=1e-10)


@pytest.mark.beyond
def test_wide_3x3_layers_of_stride_1_use_winograd() -> None:
    def path(layer: Conv2d) -> str:
        return layer(Tensor(rng().standard_normal((2, layer.weight.shape[1] * layer.groups, 6, 6)))).node.op.name

    assert path(Conv2d(16, 16, 3, padding=1)) == "conv2d (Winograd)"
    assert path(Conv2d(16, 16, 1)) == "conv2d (pointwise)"
    for other in (Conv2d(3, 16, 3), Conv2d(16, 16, 3, stride=2), Conv2d(16, 16, 3, dilation=2), Conv2d(16, 16, 5),
                  Conv2d(32, 32, 3, groups=2)):  # fmt: skip
        assert path(other) == "conv2d (im2col)"


@pytest.mark.parametrize("padding", [0, 1])
def test_wide_3x3_convolution_equals_the_loop(padding: int) -> None:
    x, w, b = rng().standard_normal((1, 16, 4, 5)), rng().standard_normal((16, 16, 3, 3)), rng().standard_normal(16)
    y = conv2d(Tensor(x), Tensor(w), Tensor(b), padding=padding)
    expected = naive_conv2d(x, w, b, (1, 1), (padding, padding), (1, 1), 1)
    np.testing.assert_allclose(y.data, expected, atol=1e-11)


@pytest.mark.parametrize("padding", [0, 1])
def test_gradients_of_a_wide_3x3_convolution_match_numerical_ones(padding: int) -> None:
    x, w, b = rng().standard_normal((1, 16, 4, 5)), rng().standard_normal((16, 16, 3, 3)), rng().standard_normal(16)
    check_grads(lambda x: conv2d(x, Tensor(w), Tensor(b), padding=padding), x)
    check_grads(lambda b: conv2d(Tensor(x), Tensor(w), b, padding=padding), b)


@pytest.mark.parametrize(
    ("channels", "size", "settings_"),
    [((64, 128), 8, {"padding": 1}), ((32, 64), 16, {"padding": 1}), ((16, 16), 15, {}), ((3, 32), 32, {"padding": 1}),
     ((16, 32), 16, {"stride": 2, "padding": 1})],
)  # fmt: skip
def test_float32_is_within_1e_4_of_float64_forward_and_backward(
    channels: Pair, size: int, settings_: dict[str, Any]
) -> None:
    x, w, b = (rng().standard_normal(s) for s in ((8, channels[0], size, size), (channels[1], channels[0], 3, 3),
                                                  (channels[1],)))  # fmt: skip
    results = []
    for dtype in (np.float32, np.float64):
        inputs = [Tensor(a.astype(dtype), requires_grad=True) for a in (x, w, b)]
        y = conv2d(inputs[0], inputs[1], inputs[2], **settings_)
        y.backward(rng().standard_normal(y.shape).astype(dtype))
        assert y.dtype == dtype
        gradients = [t.grad.data for t in inputs if t.grad is not None]
        assert len(gradients) == 3
        results.append([y.data, *gradients])
    for single, double in zip(*results, strict=True):
        assert np.abs(single - double).max() <= 1e-4 * np.abs(double).max()


@pytest.mark.parametrize("groups", [1, 2])
def test_gradients_in_blocks_equal_those_of_the_whole_batch(groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shape, window = WINDOWS["padding"]
    x, matrix = rng().standard_normal(shape), rng().standard_normal((groups, 9 * 2 // groups, 3))
    g = rng().standard_normal((shape[0], *window.positions, 3 * groups))
    dx, dmatrix, dbias = spatial.im2col_backward(g, x, matrix, window, True)
    assert dx is not None
    assert (dx.shape, dmatrix.shape) == (x.shape, matrix.shape)
    np.testing.assert_allclose(dbias, g.sum((0, 1, 2)), rtol=1e-10)
    monkeypatch.setattr(spatial, "COLUMN_BYTES", 1)
    for one, other in zip(spatial.im2col_backward(g, x, matrix, window, True), (dx, dmatrix, dbias), strict=True):
        assert one is not None
        np.testing.assert_allclose(one, other, rtol=1e-10)
    assert spatial.im2col_backward(g, x, matrix, window, False)[0] is None


def test_input_without_requires_grad_gets_no_gradient() -> None:
    layer, x = Conv2d(2, 3, 3), Tensor(rng().standard_normal((2, 2, 5, 5)).astype(np.float32))
    layer(x).sum().backward()
    assert x.grad is None
    assert layer.weight.grad is not None
    assert layer.weight.grad.shape == (3, 2, 3, 3)
    assert layer.bias is not None
    assert layer.bias.grad is not None
    np.testing.assert_allclose(layer.bias.grad.data, 2 * 9)


@pytest.mark.beyond
def test_channels_last_layout_is_kept_from_layer_to_layer() -> None:
    net = Sequential(Conv2d(3, 4, 3, padding=1), BatchNorm2d(4), MaxPool2d(2), AvgPool2d(2))
    y = net(Tensor(rng().standard_normal((2, 3, 8, 8)).astype(np.float32)))
    assert y.shape == (2, 4, 2, 2)
    assert y.data.transpose(0, 2, 3, 1).flags.c_contiguous
    assert y.dtype == np.float32


def test_convolution_in_blocks_limits_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    # one sample at a time returns the same values as all at once
    x, w = rng().standard_normal((5, 2, 6, 6)), rng().standard_normal((3, 2, 3, 3))
    expected = conv2d(Tensor(x), Tensor(w)).data
    monkeypatch.setattr(spatial, "COLUMN_BYTES", 1)
    np.testing.assert_allclose(conv2d(Tensor(x), Tensor(w)).data, expected, atol=1e-13)


@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (lambda: Conv2d(3, 4, 5), (2, 3, 4, 4), r"5 x 5 is larger than the padded image of 4 x 4"),
        (lambda: Conv2d(3, 4, 3, dilation=3), (2, 3, 6, 6), r"7 x 7 is larger than the padded image of 6 x 6"),
        (lambda: Conv2d(3, 4, 3), (2, 2, 8, 8), r"input of shape \(2, 2, 8, 8\).*expected \(N, 3, H, W\)"),
        (lambda: Conv2d(4, 4, 3, groups=2), (2, 6, 8, 8), r"expected \(N, 4, H, W\)"),
        (lambda: Conv2d(3, 4, 3), (3, 8, 8), r"\(3, 8, 8\): expected \(N, C, H, W\)"),
        (lambda: MaxPool2d(4), (1, 1, 3, 8), r"4 x 4 is larger than the padded image of 3 x 8"),
        (lambda: AvgPool2d(2), (4, 4), r"expected \(N, C, H, W\)"),
        (lambda: AdaptiveAvgPool2d(2), (4, 4), r"expected \(N, C, H, W\)"),
        (lambda: BatchNorm2d(3), (2, 4, 5, 5), r"expected \(N, 3, H, W\)"),
        (lambda: BatchNorm2d(3), (1, 3, 1, 1), r"more than one value per channel"),
    ],
)
def test_mismatched_shapes_are_rejected_with_both_shapes(
    make: Callable[[], Module], shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        make()(Tensor(np.zeros(shape, np.float32)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Conv2d(3, 4, 3, groups=2),
        lambda: Conv2d(4, 3, 3, groups=2),
        lambda: Conv2d(0, 4, 3),
        lambda: Conv2d(3, 4, 0),
        lambda: Conv2d(3, 4, 3, stride=0),
        lambda: Conv2d(3, 4, 3, padding=-1),
        lambda: Conv2d(3, 4, (3, 3, 3)),  # type: ignore[arg-type]  # wrong on purpose, as the two below
        lambda: Conv2d(3, 4, 3.0),  # type: ignore[arg-type]
        lambda: Conv2d(3, 4, (3, 3.0)),  # type: ignore[arg-type]
        lambda: BatchNorm2d(0),
        lambda: max_pool2d(Tensor(np.zeros((1, 1, 4, 4))), 2, padding=2),
        lambda: adaptive_avg_pool2d(Tensor(np.zeros((1, 1, 4, 4))), 0),
    ],
)
def test_settings_out_of_range_are_rejected(make: Callable[[], object]) -> None:
    with pytest.raises(SettingError, match="expected"):
        make()


def test_numpy_integers_are_valid_settings() -> None:
    three: Any = np.int64(3)  # Any: to the type checker it is no int
    one: Any = np.int32(1)
    assert Conv2d(3, 4, three, padding=(one, 0)).padding == (1, 0)


@pytest.mark.parametrize(
    "make",
    [lambda: Conv2d(3, 4, 3), lambda: Conv2d(3, 4, 1), lambda: MaxPool2d(2), lambda: AvgPool2d(2),
     lambda: BatchNorm2d(3)],
)  # fmt: skip
def test_integer_images_are_rejected(make: Callable[[], Module]) -> None:
    with pytest.raises(SettingError, match="images of dtype uint8: expected floating point; convert them first"):
        make()(Tensor(np.zeros((2, 3, 4, 4), np.uint8)))


@pytest.mark.parametrize("kernel", [1, 3])
def test_convolution_of_an_empty_batch_is_empty(kernel: int) -> None:
    assert Conv2d(3, 4, kernel, padding=kernel // 2)(Tensor(np.zeros((0, 3, 5, 5), np.float32))).shape == (0, 4, 5, 5)


def test_bias_and_weight_shapes_are_checked() -> None:
    x, w = Tensor(np.zeros((1, 2, 4, 4))), Tensor(np.zeros((3, 2, 3, 3)))
    with pytest.raises(ShapeError, match=r"bias of shape \(2,\): expected \(3,\)"):
        conv2d(x, w, Tensor(np.zeros(2)))
    with pytest.raises(ShapeError, match="expected \\(K, C/groups, kh, kw\\)"):
        conv2d(x, Tensor(np.zeros((3, 2, 3))))


# Pooling ------------------------------------------------------------------------------------------------

pools = st.tuples(
    st.integers(1, 3), st.integers(1, 3), pairs, pairs, st.booleans(), st.integers(0, 4), st.integers(0, 4)
)


def pool_case(
    n: int, c: int, kernel: Pair, stride: Pair, padded: bool, more_h: int, more_w: int
) -> tuple[Array, tuple[Pair, Pair, Pair]]:
    padding = (kernel[0] // 2, kernel[1] // 2) if padded else (0, 0)
    return rng().standard_normal((n, c, kernel[0] + more_h, kernel[1] + more_w)), (kernel, stride, padding)


@settings(max_examples=60, deadline=None)
@given(pools)
def test_any_max_pooling_equals_the_loop(case: tuple[Any, ...]) -> None:
    x, settings_ = pool_case(*case)
    expected = naive_pool(x, *settings_, lambda seen: seen.max((2, 3)), -np.inf)
    np.testing.assert_array_equal(max_pool2d(Tensor(x), *settings_).data, expected)


@settings(max_examples=60, deadline=None)
@given(pools)
def test_any_mean_pooling_equals_the_loop(case: tuple[Any, ...]) -> None:
    x, settings_ = pool_case(*case)
    expected = naive_pool(x, *settings_, lambda seen: seen.mean((2, 3)), 0.0)
    np.testing.assert_allclose(avg_pool2d(Tensor(x), *settings_).data, expected, atol=1e-14)


def test_pooling_keeps_float32() -> None:
    x = Tensor(np.ones((1, 2, 4, 4), np.float32), requires_grad=True)
    for y in (max_pool2d(x, 2), max_pool2d(x, 3, 1, 1), avg_pool2d(x, 2), avg_pool2d(x, 3, 1, 1)):
        assert y.dtype == np.float32


POOL_SETTINGS: list[tuple[Any, ...]] = [(2,), (2, 1), (3, 2, 1), ((2, 3), (1, 2)), (3,)]
POOL_SHAPES = [(2, 2, 6, 6), (1, 2, 5, 7), (9, 1, 4, 4)]


@pytest.mark.parametrize("settings_", POOL_SETTINGS)
@pytest.mark.parametrize("shape", POOL_SHAPES)
def test_gradients_of_max_pooling_match_numerical_ones(shape: tuple[int, ...], settings_: tuple[Any, ...]) -> None:
    x = rng().permutation(np.prod(shape)).reshape(shape) / 10  # no ties, so that the maximum has a derivative
    check_grads(lambda x: max_pool2d(x, *settings_), x)


@pytest.mark.parametrize("settings_", POOL_SETTINGS)
@pytest.mark.parametrize("shape", POOL_SHAPES)
def test_gradients_of_mean_pooling_match_numerical_ones(shape: tuple[int, ...], settings_: tuple[Any, ...]) -> None:
    check_grads(lambda x: avg_pool2d(x, *settings_), rng().standard_normal(shape))


@pytest.mark.parametrize("settings_", [(2,), (2, 1)])
def test_exactly_one_of_equal_largest_values_gets_the_gradient(settings_: tuple[int, ...]) -> None:
    x = Tensor(np.ones((1, 1, 4, 4)), requires_grad=True)
    y = max_pool2d(x, *settings_)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.data.sum() == y.numel()


def test_pooling_without_recording_returns_the_same_values() -> None:
    x = rng().standard_normal((2, 3, 4, 4))
    recorded = max_pool2d(Tensor(x, requires_grad=True), 2).data
    with no_grad():
        np.testing.assert_array_equal(max_pool2d(Tensor(x), 2).data, recorded)


@pytest.mark.parametrize("size", [1, 2, 3, (2, 5), (4, 1), (7, 9)])
def test_adaptive_average_pooling_uses_pytorchs_windows(size: PairLike) -> None:
    x = rng().standard_normal((2, 3, 6, 7))
    oh, ow = (size, size) if isinstance(size, int) else size
    expected = np.empty((2, 3, oh, ow))
    for i, j in product(range(oh), range(ow)):
        rows = slice(i * 6 // oh, -(-(i + 1) * 6 // oh))
        columns = slice(j * 7 // ow, -(-(j + 1) * 7 // ow))
        expected[:, :, i, j] = x[:, :, rows, columns].mean((2, 3))
    np.testing.assert_allclose(AdaptiveAvgPool2d(size)(Tensor(x)).data, expected, atol=1e-14)
    check_grads(lambda x: adaptive_avg_pool2d(x, size), x[:1])


# Batch normalization ------------------------------------------------------------------------------------


def test_channel_statistics_are_mean_and_biased_variance() -> None:
    for shape in ((4, 5, 6, 3), (1, 1, 2, 4), (2, 3, 1, 1)):
        x = rng().normal(3, 2, shape)
        mean, var = spatial.channel_statistics(x)
        np.testing.assert_allclose(mean, x.mean((0, 1, 2)), rtol=1e-10)
        np.testing.assert_allclose(var, x.var((0, 1, 2)), rtol=1e-10)
        assert {value.dtype for value in spatial.channel_statistics(x.astype(np.float32))} == {np.dtype(np.float32)}


def test_channel_statistics_of_a_small_variance_around_a_large_mean() -> None:
    x = (rng().standard_normal((16, 8, 8, 2)) * 0.01 + 1000).astype(np.float32)
    mean, var = spatial.channel_statistics(x)
    np.testing.assert_allclose(mean, x.mean((0, 1, 2), dtype=np.float64), rtol=1e-7)
    np.testing.assert_allclose(var, x.var((0, 1, 2), dtype=np.float64), rtol=1e-2)


def test_gradients_of_normalized_values_follow_their_formula() -> None:
    g, x = rng().standard_normal((2, 3, 4, 5, 2))
    weight, mean, inv_std = np.array([0.5, -2.0]), x.mean((0, 1, 2)), 1 / x.std((0, 1, 2))
    dx, dweight, dbias = spatial.normalized_gradients(g, x, weight, mean, inv_std)
    z = (x - mean) * inv_std
    np.testing.assert_allclose(dbias, g.sum((0, 1, 2)), rtol=1e-10)
    np.testing.assert_allclose(dweight, (g * z).sum((0, 1, 2)), rtol=1e-10)
    expected = weight * inv_std * (g - g.mean((0, 1, 2)) - z * (g * z).mean((0, 1, 2)))
    np.testing.assert_allclose(dx, expected, rtol=1e-8, atol=1e-12)


def formula(x: Array, weight: Array, bias: Array, mean: Array, var: Array, eps: float) -> Array:
    by_channel = (None, slice(None), None, None)
    z = (x - mean[by_channel]) / np.sqrt(var[by_channel] + eps)
    return z * weight[by_channel] + bias[by_channel]


@pytest.mark.parametrize("shape", [(4, 3, 5, 6), (9, 2, 4, 4), (2, 5, 1, 1), (1, 1, 3, 1)])
def test_batch_norm_uses_batch_statistics_in_training_and_running_statistics_afterward(shape: tuple[int, ...]) -> None:
    c = shape[1]
    layer, x = BatchNorm2d(c, eps=1e-3, momentum=0.2), rng().normal(3, 2, shape)
    layer.weight.data, layer.bias.data = rng().standard_normal((2, c))
    y = layer(Tensor(x))
    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
    expected = formula(x, layer.weight.data, layer.bias.data, mean, var, 1e-3)
    np.testing.assert_allclose(y.data, expected, atol=1e-10)
    n = x.size // c
    np.testing.assert_allclose(layer.running_mean.data, 0.2 * mean, rtol=1e-6)
    np.testing.assert_allclose(layer.running_var.data, 0.8 + 0.2 * var * n / (n - 1), rtol=1e-6)
    assert layer.num_batches_tracked.item() == 1
    layer.eval()
    running = layer.running_mean.data, layer.running_var.data
    expected = formula(x, layer.weight.data, layer.bias.data, *running, 1e-3)
    np.testing.assert_allclose(layer(Tensor(x)).data, expected, atol=1e-6)
    assert layer.num_batches_tracked.item() == 1


@pytest.mark.parametrize("training", [True, False])
def test_gradients_of_batch_norm_match_numerical_ones(training: bool) -> None:
    layer = BatchNorm2d(2)
    layer.running_var.data = np.array([0.5, 2.0])
    layer.train(training)

    def f(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        layer.weight, layer.bias = weight, bias  # type: ignore[assignment]  # plain tensors that check_grads varies
        return layer(x)

    check_grads(f, rng().standard_normal((3, 2, 3, 4)), np.array([0.5, 1.5]), np.array([0.1, -0.2]), tolerance=1e-5)


def test_batch_norm_is_accurate_for_a_small_variance_around_a_large_mean() -> None:
    x = (rng().standard_normal((16, 2, 8, 8)) * 0.01 + 1000).astype(np.float32)
    y = BatchNorm2d(2, eps=1e-12)(Tensor(x)).data
    assert np.abs(y.mean((0, 2, 3))).max() < 0.1
    np.testing.assert_allclose(y.std((0, 2, 3)), 1, atol=1e-2)


def test_state_dict_has_pytorchs_names_and_shapes() -> None:
    net = Sequential(Conv2d(3, 4, (3, 1), groups=1), BatchNorm2d(4))
    shapes = {name: value.shape for name, value in net.state_dict().items()}
    assert shapes == {
        "0.weight": (4, 3, 3, 1), "0.bias": (4,), "1.weight": (4,), "1.bias": (4,),
        "1.running_mean": (4,), "1.running_var": (4,), "1.num_batches_tracked": (),
    }  # fmt: skip
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert net.state_dict()["1.num_batches_tracked"].dtype == np.int64


def test_saved_network_has_the_same_outputs_when_loaded(tmp_path: Path) -> None:
    net, other = (Sequential(Conv2d(3, 4, 3), BatchNorm2d(4)) for _ in range(2))
    x = Tensor(rng().standard_normal((2, 3, 6, 6)).astype(np.float32))
    net(x)
    other.load(net.save(tmp_path / "net.safetensors"))
    np.testing.assert_array_equal(net.eval()(x).data, other.eval()(x).data)


def test_initial_weights_are_uniform_within_pytorchs_bound() -> None:
    manual_seed(0)
    layer = Conv2d(8, 64, 3, groups=2)
    bound = 1 / np.sqrt(8 // 2 * 9)
    assert layer.bias is not None
    for values in (layer.weight.data, layer.bias.data):
        assert np.abs(values).max() <= bound
        assert np.abs(values).max() > 0.9 * bound
    assert Conv2d(3, 4, 3, bias=False).bias is None


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("settings_", [(4, 4), (4, 6), (4, 4, 2), (3, 5, 2)], ids=str)
def test_residual_block_adds_the_output_of_its_layers_to_the_shortcut(
    settings_: tuple[int, ...], training: bool
) -> None:
    block = BasicBlock(*settings_)
    x = Tensor(rng().standard_normal((3, settings_[0], 6, 5)).astype(np.float32))
    block(x)  # updates the running statistics
    block.train(training)
    inner = Sequential(block.conv1, block.bn1, lambda x: Tensor(np.maximum(x.data, 0)), block.conv2, block.bn2)
    beside = x if settings_ == (4, 4) else block.shortcut(x)
    y = block(x)
    assert y.shape == beside.shape
    np.testing.assert_array_equal(y.data, np.maximum(inner(x).data + beside.data, 0))


def test_names_and_identity_shortcut_of_a_residual_block() -> None:
    names = list(BasicBlock(16, 32, 2).state_dict())
    norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    parts = {"conv1": ["weight", "bias"], "bn1": norm, "conv2": ["weight", "bias"], "bn2": norm}
    plain = [f"{part}.{name}" for part in parts for name in parts[part]]
    assert names == [*plain, "shortcut.weight", "shortcut.bias"]
    assert list(BasicBlock(16, 16).state_dict()) == plain
    shortcut = BasicBlock(16, 16).shortcut
    assert isinstance(shortcut, Sequential)
    assert len(shortcut) == 0


def test_gradients_reach_every_parameter_of_a_residual_block() -> None:
    block = BasicBlock(2, 3, stride=2)
    block(Tensor(rng().standard_normal((2, 2, 4, 4)))).sum().backward()
    assert all(parameter.grad is not None for parameter in block.parameters())
