"""Module 15: each 16-bit operation equals float32's operation on rounded inputs, with NumPy and with oneDNN."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import tinytorch as tt
from tinytorch.arrays import parallel
from tinytorch.arrays.windows import channels_first, channels_last
from tinytorch.base import dtypes
from tinytorch.base.errors import ShapeError
from tinytorch.half import by_float32
from tinytorch.mixed_precision import autocast
from tinytorch.native import backend, bf16, images, kept, library, primitives
from tinytorch.spatial import BatchNorm2d, avg_pool2d, conv2d, max_pool2d
from tinytorch.tensor import Op, apply

BFLOAT16 = dtypes.bfloat16()
ROUNDING = {"bfloat16": 2.0**-8, "float16": 2.0**-11}  # the largest relative error of rounding to nearest
NATIVE = library.why_not() == "" and "bfloat16" in library.native_dtypes()
WAYS = [
    ("numpy", "bfloat16"),
    ("numpy", "float16"),
    *(
        pytest.param(("onednn", "bfloat16", *more), marks=pytest.mark.skipif(not NATIVE, reason="no native kernels"))
        for more in ([], ["shared"])
    ),
]


@pytest.fixture(params=WAYS, ids=lambda way: "-".join(way))
def dtype(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the name of a 16-bit dtype, for each backend that supports it.

    With oneDNN, also test small batches split between threads.
    """
    before = backend.backend()
    name, half_dtype, *shared = request.param
    backend.use_backend(name)
    if shared:
        monkeypatch.setattr(parallel, "SMALLEST", 1)
    yield half_dtype
    backend.use_backend(before)


@pytest.fixture
def oneDNN() -> Iterator[None]:  # noqa: N802 (its name)
    if not NATIVE:
        pytest.skip("no native bfloat16 kernels here")
    before = backend.backend()
    backend.use_backend("onednn")
    yield
    backend.use_backend(before)


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def rounded(x: np.ndarray, dtype: str) -> np.ndarray:
    return x.astype(BFLOAT16 if dtype == "bfloat16" else dtype).astype(np.float32)


def assert_near(actual: np.ndarray, expected: np.ndarray, dtype: str, steps: float = 1.0) -> None:
    """Assert equality within `steps` roundings of each value, or of a typical value where a sum cancels."""
    actual, expected = actual.astype(np.float32), expected.astype(np.float32)
    scale = np.sqrt(np.mean(expected**2)) if expected.size else 0.0
    np.testing.assert_allclose(actual, expected, rtol=steps * ROUNDING[dtype], atol=steps * ROUNDING[dtype] * scale)


def compare(f: Callable[..., tt.Tensor], dtype: str, x: np.ndarray, *weights: np.ndarray, steps: float = 1.0) -> None:
    """Compare f and its gradients, on a 16-bit x and float32 weights, with float32 on the same rounded values."""
    half_dtype = BFLOAT16 if dtype == "bfloat16" else np.dtype(dtype)
    image = tt.Tensor(x.astype(half_dtype), requires_grad=True)
    masters = [tt.Tensor(w, requires_grad=True) for w in weights]
    with autocast(dtype):
        y = f(image, *masters)
    assert y.dtype == half_dtype
    g = rounded(numbers(*y.shape, seed=9), dtype)
    y.backward(g)

    exact = [tt.Tensor(rounded(a, dtype), requires_grad=True) for a in (x, *weights)]
    expected = f(*exact)
    expected.backward(g)
    assert_near(y.data, expected.data, dtype, steps)
    assert image.grad is not None
    assert exact[0].grad is not None
    assert image.grad.dtype == half_dtype
    assert_near(image.grad.data, exact[0].grad.data, dtype, steps)
    for master, other in zip(masters, exact[1:], strict=True):
        assert master.grad is not None
        assert other.grad is not None
        assert master.grad.dtype == np.float32
        size = np.abs(other.grad.data).max()
        np.testing.assert_allclose(master.grad.data, other.grad.data, rtol=1e-4, atol=2e-5 * size)  # never rounded


# input, weight, bias?, settings
CONVOLUTIONS: list[tuple[tuple[int, ...], tuple[int, ...], bool, dict[str, Any]]] = [
    ((2, 3, 8, 8), (16, 3, 3, 3), True, {"padding": 1}),
    ((2, 16, 9, 7), (32, 16, 3, 3), False, {"padding": 1}),  # Winograd in float32
    ((1, 16, 5, 5), (17, 16, 3, 3), True, {}),
    ((1, 1, 1, 1), (1, 1, 1, 1), True, {}),
    ((3, 5, 11, 13), (7, 5, 5, 2), True, {"stride": (2, 3), "padding": (2, 1)}),
    ((2, 4, 12, 9), (6, 4, 3, 3), False, {"dilation": 2, "stride": 2}),
    ((2, 6, 7, 7), (9, 2, 3, 3), True, {"groups": 3, "padding": 1}),
    ((2, 8, 6, 6), (8, 1, 3, 3), False, {"groups": 8, "padding": 1, "stride": 2}),
    ((2, 16, 6, 5), (32, 16, 1, 1), True, {}),  # pointwise in float32
    ((2, 16, 7, 5), (8, 16, 1, 1), False, {"stride": 2}),
]


@pytest.mark.parametrize(("x", "w", "biased", "settings"), CONVOLUTIONS)
def test_convolution(
    dtype: str, x: tuple[int, ...], w: tuple[int, ...], biased: bool, settings: dict[str, Any]
) -> None:
    bias = [numbers(w[0], seed=2)] if biased else []

    def f(x: tt.Tensor, w: tt.Tensor, b: tt.Tensor | None = None) -> tt.Tensor:
        return conv2d(x, w, b, **settings)

    compare(f, dtype, numbers(*x), numbers(*w, seed=1), *bias)


PAIRS = st.tuples(st.integers(1, 4), st.integers(1, 4))


@given(
    n=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=PAIRS,
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
)
@example(1, (6, 3), (16, 2), (5, 2), (1, 3), (0, 1), (2, 1))  # narrower than the stride: oneDNN 3.2's gradient is wrong
@example(2, (16, 8), (4, 1), (2, 2), (1, 2), (0, 1), (1, 1))
@settings(max_examples=60, deadline=None)
def test_any_convolution_on_the_backend_in_use(
    n: int,
    channels: tuple[int, int],
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> None:
    assume(all(i + 2 * p >= d * (k - 1) + 1 for i, p, d, k in zip(size, padding, dilation, kernel, strict=True)))
    x, w = numbers(n, channels[0], *size), numbers(channels[1], channels[0], *kernel, seed=1)
    compare(lambda x, w: conv2d(x, w, None, stride, padding, dilation), "bfloat16", x, w)


def test_convolution_of_contiguous_images_and_of_an_empty_batch(dtype: str) -> None:
    """Inputs may have any memory layout; an empty batch returns an empty batch."""
    x, w = numbers(2, 3, 6, 6), tt.Tensor(numbers(4, 3, 3, 3))
    with autocast(dtype):
        plain = conv2d(tt.Tensor(x), w).data
        last = conv2d(tt.Tensor(channels_first(channels_last(x))), w).data
        assert conv2d(tt.Tensor(x[:0]), w).shape == (0, 4, 4, 4)
    np.testing.assert_array_equal(plain, last)


def distinct(*shape: int) -> np.ndarray:
    """Return values that stay distinct in 16 bits, so each window has one maximum: 0.5 to 1.5 times powers of 2."""
    n = int(np.prod(shape))
    values = np.random.default_rng(3).permutation(n)
    return ((1 + values % 128 / 128) * 2.0 ** (values // 128) * (-1.0) ** values).reshape(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("size", "window"),
    [((2, 3, 8, 6), (2,)), ((1, 5, 9, 7), (2,)), ((2, 4, 7, 7), (3, 2, 1)), ((1, 1, 5, 5), ((2, 3), (1, 2)))],
)
def test_max_pool(dtype: str, size: tuple[int, ...], window: tuple[Any, ...]) -> None:
    x = distinct(*size) if dtype == "bfloat16" else numbers(*size)
    compare(lambda x: max_pool2d(x, *window), dtype, x, steps=2)


def test_max_pool_without_recording(dtype: str) -> None:
    x = tt.Tensor(numbers(2, 3, 8, 8).astype(BFLOAT16 if dtype == "bfloat16" else dtype))
    with autocast(dtype):
        recorded = max_pool2d(x, 2)
        with tt.no_grad():
            np.testing.assert_array_equal(max_pool2d(x, 2).data, recorded.data)


@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (7, 5), (3,), (1, 4, 1, 1)])
@pytest.mark.parametrize(
    "f",
    [tt.relu, tt.gelu, tt.tanh, tt.sigmoid, lambda x: x * 2.5 + 1, lambda x: x + x, lambda x: -x / 3, tt.Tensor.abs],
)
def test_16_bit_inputs_have_16_bit_outputs(dtype: str, f: Callable[..., tt.Tensor], shape: tuple) -> None:
    compare(f, dtype, numbers(*shape), steps=4)


def test_average_pool(dtype: str) -> None:
    compare(lambda x: avg_pool2d(x, 3, 2, 1), dtype, numbers(2, 3, 7, 8), steps=2)


@pytest.mark.parametrize("shape", [(4, 3, 5, 4), (1, 17, 3, 3), (16, 8, 1, 1)])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm(dtype: str, shape: tuple[int, ...], training: bool) -> None:
    def f(x: tt.Tensor, weight: tt.Tensor, bias: tt.Tensor) -> tt.Tensor:
        layer = BatchNorm2d(shape[1])
        layer.train(training)
        vars(layer).update(weight=weight, bias=bias)
        return layer(x)

    channels = shape[1]
    weight, bias = (rounded(numbers(channels, seed=i), dtype) for i in (1, 2))  # batch norm does not round them
    compare(f, dtype, numbers(*shape) * 3 + 1, weight, bias, steps=4)


def test_batch_norm_computes_statistics_in_float32(dtype: str) -> None:
    """In bfloat16, the sum of 4,096 numbers around 50 would stop at 12,800: 256 + 1 is 256."""
    x = rounded(numbers(16, 2, 16, 16) + 50, dtype)
    layer = BatchNorm2d(2, momentum=1.0)
    with autocast(dtype):
        layer(tt.Tensor(x.astype(BFLOAT16 if dtype == "bfloat16" else dtype)))
    assert layer.running_mean.dtype == layer.running_var.dtype == np.float32
    np.testing.assert_allclose(layer.running_mean.data, x.mean((0, 2, 3), np.float64), rtol=1e-5)
    np.testing.assert_allclose(layer.running_var.data, x.astype(np.float64).var((0, 2, 3), ddof=1), rtol=1e-3)


@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 7), (7,), (1, 7), (0, 7)])
@pytest.mark.parametrize("biased", [True, False])
def test_linear(dtype: str, shape: tuple[int, ...], biased: bool) -> None:
    def f(x: tt.Tensor, w: tt.Tensor, *b: tt.Tensor) -> tt.Tensor:
        layer = tt.Linear(7, 3, bias=biased)
        vars(layer).update(weight=w, bias=b[0] if b else None)
        return layer(x)

    compare(f, dtype, numbers(*shape), numbers(3, 7, seed=1), *([numbers(3, seed=2)] if biased else []))


@pytest.mark.parametrize(
    ("a", "b"),
    [((4, 5), (5, 3)), ((2, 3, 4, 5), (2, 3, 5, 6)), ((2, 1, 4, 5), (3, 5, 6)), ((5,), (5, 2)), ((4, 5), (5,))],
)
def test_matmul(dtype: str, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    other = rounded(numbers(*b, seed=1), dtype)
    compare(lambda x: x @ tt.Tensor(other), dtype, numbers(*a))


def test_matmul_of_transposed_and_sliced_matrices(dtype: str) -> None:
    x = rounded(numbers(2, 6, 10), dtype)
    compare(lambda x: x.transpose(1, 2)[:, ::2] @ x[:, :, 1:4], dtype, x, steps=2)


def test_attention(dtype: str) -> None:
    layer = tt.MultiHeadAttention(8, 2, causal=True)
    layer.c_attn.weight.data = rounded(layer.c_attn.weight.data, dtype)
    x = numbers(2, 5, 8)
    expected = layer(tt.Tensor(rounded(x, dtype))).data
    with autocast(dtype):
        y = layer(tt.Tensor(x))
    assert y.dtype.itemsize == 2
    assert np.abs(y.data.astype(np.float32) - expected).max() <= 4 * ROUNDING[dtype] * np.abs(expected).max()


# NaN, infinity, and cases without a oneDNN kernel -------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf])
def test_nan_and_infinity_propagate(dtype: str, value: float) -> None:
    """A training run that fails must show it; oneDNN's own maximum turns NaN into a number."""
    array = numbers(1, 2, 4, 4)
    array[0, 1, 1, 2] = value
    x = tt.Tensor(array.astype(BFLOAT16 if dtype == "bfloat16" else dtype))
    with autocast(dtype):
        results = tt.relu(x), max_pool2d(x, 2), conv2d(x, tt.Tensor(np.ones((3, 2, 3, 3), np.float32)), padding=1)
    for y in results:
        assert np.isnan(y.data.astype(np.float32)).any() == np.isnan(value)
        assert not np.isfinite(y.data.astype(np.float32)).all()


def test_infinite_gradients_do_not_spread(dtype: str) -> None:
    half_dtype = BFLOAT16 if dtype == "bfloat16" else np.dtype(dtype)
    x = tt.Tensor(np.abs(numbers(2, 3, 4, 4)).astype(half_dtype), requires_grad=True)
    with autocast(dtype):
        y = tt.relu(x)
    g = np.ones(y.shape, half_dtype)
    g[0, 0, 0, 0] = np.inf
    y.backward(g)
    assert x.grad is not None
    finite = np.isfinite(x.grad.data.astype(np.float32))
    assert not finite[0, 0, 0, 0]
    assert finite.sum() == finite.size - 1


def test_float16_overflows_to_infinity_without_a_warning() -> None:
    w = tt.Tensor(np.full((1, 4), 300, np.float32), requires_grad=True)
    with autocast("float16"):
        y = apply(tt.layers.linear, tt.Tensor(np.full((1, 4), 300, np.float32)), w)
    assert y.data[0, 0] == np.inf
    assert by_float32.narrow(np.array([1e-9], np.float32), np.dtype(np.float16))[0] == 0


def test_without_a_onednn_kernel_the_values_are_the_same(oneDNN: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise library.UnsupportedError("not here")

    x, w = tt.Tensor(numbers(2, 16, 8, 8).astype(BFLOAT16), requires_grad=True), tt.Tensor(numbers(16, 16, 3, 3))
    layer = BatchNorm2d(16)

    def forward() -> np.ndarray:
        with autocast():
            y = tt.relu(layer(max_pool2d(conv2d(x, w, padding=1), 2)))
        y.backward(np.ones(y.shape))
        return y.data.astype(np.float32)

    fast = forward()
    fast_gradient, x.grad = x.grad, None
    for name in ("convolution_forward", "convolution_backward", "max_pool_forward", "normalize", "channel_statistics",
                 "relu"):  # fmt: skip
        monkeypatch.setattr(bf16 if name == "relu" else images, name, refuse)
    assert_near(forward(), fast, "bfloat16", steps=4)
    assert x.grad is not None
    assert fast_gradient is not None
    assert_near(x.grad.data, fast_gradient.data, "bfloat16", steps=8)


def test_reference_loops_do_not_count_as_a_kernel(oneDNN: None) -> None:
    """If input and output layouts differ, oneDNN 3.2 has only reference loops."""
    x, w = primitives.Descriptor((1, 64, 8, 8), BFLOAT16), primitives.Descriptor((64, 64, 3, 3), BFLOAT16)
    y = primitives.Descriptor((1, 64, 8, 8), BFLOAT16, "channels_last")
    operation = primitives.FORWARD_TRAINING, primitives.CONVOLUTION_DIRECT
    settings = (*operation, x, w, None, y, (1, 1), (0, 0), (1, 1), (1, 1), None)
    arrays = {primitives.SRC: x, primitives.WEIGHTS: w, primitives.DST: y}
    primitives.Primitive("convolution_forward", settings, arrays)
    with pytest.raises(library.UnsupportedError, match="only plain loops"):
        kept.Kernel("convolution_forward", settings, arrays)


def test_missing_backward_kernel_alone_is_handled(oneDNN: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise library.UnsupportedError("not here")

    monkeypatch.setattr(images, "convolution_backward", refuse)
    compare(lambda x, w: conv2d(x, w, padding=1), "bfloat16", numbers(2, 3, 5, 5), numbers(4, 3, 3, 3, seed=1))


def test_mismatched_shapes_raise_the_usual_errors(dtype: str) -> None:
    x = tt.Tensor(numbers(2, 3).astype(BFLOAT16 if dtype == "bfloat16" else dtype))
    with autocast(dtype):
        with pytest.raises(ShapeError, match="linear: input of shape"):
            tt.Linear(4, 2)(x)
        with pytest.raises(ShapeError, match="matmul: shapes"):
            x @ x
        with pytest.raises(ShapeError, match="conv2d: input of shape"):
            conv2d(x.reshape(1, 2, 3, 1), tt.Tensor(numbers(1, 1, 1, 1)))


def test_batch_norm_kernel_uses_unrounded_weights(oneDNN: None) -> None:
    """The weights are not rounded: 1.001 stays 1.001, which bfloat16 cannot represent."""
    x = np.zeros((1, 1, 2, 2), np.float32)
    x[0, 0, 0, 0] = 1
    scale = np.array([1.001], np.float32)
    mean, var = np.zeros(1, np.float32), np.ones(1, np.float32)
    y = images.normalize(channels_last(x).astype(BFLOAT16), scale, np.array([-1], np.float32), mean, var)
    assert 0 < y[0, 0, 0, 0] < 0.0011


def test_mixed_dtypes_promote_to_the_wider(dtype: str) -> None:
    small, wide = tt.Tensor(numbers(3).astype(BFLOAT16 if dtype == "bfloat16" else dtype)), tt.Tensor(numbers(3))
    with autocast(dtype):
        assert (small + wide).dtype == (wide * small).dtype == np.float32
        assert tt.where(np.array([True, False, True]), small, 0.0).dtype == small.dtype
        assert tt.cat([small, wide]).dtype == np.float32
        assert (tt.Tensor(np.arange(6).reshape(2, 3)) @ tt.Tensor(np.arange(3))).data.tolist() == [5, 14]


def test_unlisted_operation_receives_float32(dtype: str) -> None:
    dtypes_seen = []

    def watched(x: np.ndarray) -> np.ndarray:
        dtypes_seen.append(x.dtype)
        return x

    watch = Op("watch", watched)
    x = tt.Tensor(numbers(3).astype(BFLOAT16 if dtype == "bfloat16" else dtype))
    with autocast(dtype):
        apply(watch, x)
        for f in (tt.softmax, tt.log_softmax, tt.Tensor.exp, tt.Tensor.sum, tt.Tensor.mean, lambda x: x**2):
            assert f(x).dtype == np.float32
    assert dtypes_seen == [np.float32]
