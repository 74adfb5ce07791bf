"""Module 17: integer arithmetic is exact with every backend, and floats lose accuracy only by rounding."""

from __future__ import annotations

import copy
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes
from hypothesis.extra.numpy import arrays as hypothesis_arrays

from tinytorch.arrays.integers import LARGEST
from tinytorch.arrays.windows import pad, windows
from tinytorch.base.errors import GradientError, SettingError, ShapeError
from tinytorch.checks import verify_quantized
from tinytorch.layers import Linear, Sequential
from tinytorch.quantization import quantize, quantize_rows
from tinytorch.quantized import quantize_dynamic, quantize_static
from tinytorch.quantized.layers import MOST_PRODUCTS, QuantizedConv2d, QuantizedLinear, QuantizedMaxPool2d
from tinytorch.spatial import Conv2d, MaxPool2d
from tinytorch.tensor import Array, Tensor

pytestmark = pytest.mark.usefixtures("backend")
few = settings(deadline=None, max_examples=40)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def filled(layer: Any, rng: np.random.Generator, extreme: float = 0.2) -> Any:
    """Fill the layer with weights from the whole range, including its ends, and return it."""
    shape = layer.weight.shape
    weight = rng.integers(-127, 128, shape)
    layer.weight.data = np.where(rng.random(shape) < extreme, rng.choice([-127, 127], shape), weight).astype(np.int8)
    layer.weight_scale.data = rng.uniform(1e-3, 1e-2, shape[0]).astype(np.float32)
    if layer.bias is not None:
        layer.bias.data = rng.standard_normal(shape[0]).astype(np.float32)
    for scale, value in ((layer.input_scale, 0.02), (layer.output_scale, 0.05)):
        if scale is not None:
            scale.data = np.array(value, np.float32)
    return layer


def integers(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    low, high = (0, 255) if dtype == "uint8" else (-127, 127)
    ends = rng.choice([low, high], shape)
    return np.where(rng.random(shape) < 0.3, ends, rng.integers(low, high + 1, shape)).astype(dtype)


def exact_convolution(q: Array, layer: QuantizedConv2d) -> Array:
    """Convolve in int64, one group at a time: (N, K, OH, OW)."""
    window = layer.window(q.shape)
    patches = windows(pad(np.ascontiguousarray(q.transpose(0, 2, 3, 1)), window.padding), window).astype(np.int64)
    parts = zip(
        np.split(patches, layer.groups, axis=-1),
        np.split(layer.weight.data.astype(np.int64), layer.groups),
        strict=True,
    )
    sums = [np.einsum("nijuvc,kcuv->nkij", a, w) for a, w in parts]
    return np.concatenate(sums, axis=1)


def assert_within_a_step(a: Array, b: Array) -> None:
    assert a.dtype == b.dtype
    if a.dtype.kind == "f":
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max(initial=0))
    else:
        assert np.abs(a.astype(int) - b.astype(int)).max(initial=0) <= 1


ROWS = hypothesis_arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, max_side=40),
    elements=st.one_of(
        st.sampled_from([0.0, -0.0, 1.0, -127.0, 0.5, 1.5, 2.5, -63.5, 1e-45, -1e-38, 3e38]), st.floats(width=32)
    ),
)


@few
@given(ROWS)
def test_dynamic_layer_multiplies_the_integers_of_quantize_rows(x: Array) -> None:
    assert_integers_of_quantize_rows(x)


@pytest.mark.parametrize("shape", [(1, 5), (65, 112), (700, 448), (4000, 112), (20000, 20)])
def test_dynamic_layer_multiplies_the_integers_of_quantize_rows_in_blocks_and_threads(
    shape: tuple[int, int], rng: np.random.Generator
) -> None:
    x = rng.standard_normal(shape).astype(np.float32)
    x[:: shape[0] // 3 + 1, 0] = np.round(x[:: shape[0] // 3 + 1, 0])
    assert_integers_of_quantize_rows(x)


def assert_integers_of_quantize_rows(x: Array) -> None:
    """Assert that a dynamic layer with the identity as its weight returns exactly q scale."""
    depth = x.shape[1]
    layer = QuantizedLinear(depth, depth, bias=False)
    layer.weight.data = np.eye(depth, dtype=np.int8)
    q, scale = quantize_rows(x)
    with np.errstate(invalid="ignore", over="ignore"):
        y, expected = layer(Tensor(x)).data, q * scale
    finite = np.isfinite(x).all(axis=1)
    np.testing.assert_array_equal(y[finite], expected[finite])
    assert not np.isfinite(y[~finite][:, :1]).any()


def test_empty_input_returns_no_rows(rng: np.random.Generator) -> None:
    assert filled(QuantizedLinear(8, 4), rng)(Tensor(np.zeros((2, 0, 8), np.float32))).shape == (2, 0, 4)


def test_bound_kernel_runs_in_any_thread(backend: str, rng: np.random.Generator) -> None:
    if backend == "numpy":
        pytest.skip("the NumPy backend has no bound kernels")
    for rows in (1, 130):
        layer = filled(QuantizedLinear(100, 30, relu=True), rng)
        x = rng.standard_normal((rows, 100)).astype(np.float32)
        run, y = layer.kernel().bound(x)
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        np.testing.assert_array_equal(y, layer(Tensor(x)).data)


def test_nan_and_infinity_are_not_hidden_by_dynamic_scales(rng: np.random.Generator) -> None:
    layer = filled(QuantizedLinear(8, 4), rng)
    x = rng.standard_normal((3, 8)).astype(np.float32)
    x[0, 2], x[1, 5] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        y = layer(Tensor(x)).data
    assert not np.isfinite(y[:2]).any()
    assert np.isfinite(y[2]).all()


@pytest.mark.parametrize("dtype", LARGEST)
@few
@given(st.integers(0, 5), st.integers(1, 1100), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_linear_sums_are_exact(dtype: str, rows: int, depth: int, out: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layer = filled(QuantizedLinear(depth, out, input_dtype=dtype), rng, extreme=0.9)
    q = integers(rng, (rows, depth), dtype)
    sums = layer.accumulators(q)
    assert sums.dtype == np.int32
    np.testing.assert_array_equal(sums, q.astype(np.int64) @ layer.weight.data.astype(np.int64).T)


@pytest.mark.parametrize("dtype", LARGEST)
def test_largest_sums_are_exact(dtype: str) -> None:
    layer = QuantizedLinear(8000, 2, input_dtype=dtype)
    layer.weight.data = np.array([[127], [-127]], np.int8).repeat(8000, axis=1)
    sums = layer.accumulators(np.full((1, 8000), LARGEST[dtype], dtype))
    assert sums.tolist() == [[127 * LARGEST[dtype] * 8000, -127 * LARGEST[dtype] * 8000]]


def odd_sums(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Return a weight of `shape` and an input row with odd sums beyond 2^24, which float32 cannot represent."""
    weight = np.full(shape, 127, np.int8)
    weight[1::2] = -127
    weight[2:] = rng.integers(-127, 128, weight[2:].shape)
    row = np.full(shape[1:], 127, np.int8)
    row.flat[-1] = rng.choice([2, -2])
    weight.reshape(len(weight), -1)[:, -1] = 1  # all other terms are even
    return weight, row


@pytest.mark.parametrize("input_dtype", LARGEST)
@pytest.mark.parametrize("depth", [1025, 4097, 5001, 8001])
def test_odd_sums_beyond_float32_are_exact(depth: int, input_dtype: str, rng: np.random.Generator) -> None:
    layer = QuantizedLinear(depth, 6, input_dtype=input_dtype)
    layer.weight.data, row = odd_sums(rng, (6, depth))
    q = np.stack([row, -row, rng.integers(-127, 128, depth), np.where(row > 0, row - 1, row)]).astype(np.int8)
    q = q.view(input_dtype)
    expected = q.astype(np.int64) @ layer.weight.data.astype(np.int64).T
    if depth > 2000:
        assert (expected.astype(np.float32) != expected).any()
    np.testing.assert_array_equal(layer.accumulators(q), expected)


@pytest.mark.parametrize("input_dtype", LARGEST)
@pytest.mark.parametrize(("stride", "padding", "dilation", "groups"), [(1, 1, 1, 1), (2, 0, 1, 1), (1, 2, 2, 2)])
def test_odd_sums_of_a_deep_convolution_are_exact(
    stride: int, padding: int, dilation: int, groups: int, input_dtype: str, rng: np.random.Generator
) -> None:
    settings_ = (stride, stride), (padding, padding), (dilation, dilation), groups
    layer = QuantizedConv2d(256 * groups, 4 * groups, (3, 3), *settings_, input_dtype=input_dtype)
    layer.weight.data, window = odd_sums(rng, layer.weight.shape)
    image = np.full((256 * groups, 8, 8), 127, np.int8)
    image[:, :3, :3] = np.concatenate([window] * groups)
    q = np.stack([image, -image, rng.integers(-127, 128, image.shape)]).astype(np.int8).view(input_dtype)
    expected = exact_convolution(q, layer)
    assert (expected.astype(np.float32) != expected).any()
    np.testing.assert_array_equal(layer.accumulators(q), expected)


@pytest.mark.parametrize(
    ("layer", "shape"), [(Linear(2051, 3, bias=False), (2, 2051)), (Conv2d(256, 3, 3, bias=False), (1, 256, 5, 5))]
)
def test_layer_with_long_sums_passes_the_check(layer: Any, shape: tuple[int, ...]) -> None:
    layer.weight.data[:] = 1
    model, x = Sequential(layer).eval(), np.ones(shape, np.float32)
    x[(slice(None), 0) + (0,) * (len(shape) - 2)] = -1
    for quantized in (quantize_static(model, [x]), quantize_dynamic(model)):
        assert verify_quantized(quantized, x) == []


CONVOLUTIONS = st.tuples(
    st.sampled_from([1, 2, 3]),  # groups
    st.integers(1, 5),  # channels in a group
    st.integers(1, 5),  # kernels in a group
    st.tuples(st.integers(1, 4), st.integers(1, 4)),  # kernel
    st.tuples(st.integers(1, 3), st.integers(1, 3)),  # stride
    st.tuples(st.integers(0, 3), st.integers(0, 3)),  # padding
    st.tuples(st.integers(1, 2), st.integers(1, 2)),  # dilation
)


@pytest.mark.parametrize("dtype", LARGEST)
@few
@given(CONVOLUTIONS, st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_convolution_sums_are_exact(dtype: str, shape: Any, batch: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups, into, out, kernel, stride, padding, dilation = shape
    layer = QuantizedConv2d(groups * into, groups * out, kernel, stride, padding, dilation, groups, input_dtype=dtype)
    filled(layer, rng, extreme=0.9)
    q = integers(rng, (batch, groups * into, 7 + int(rng.integers(4)), 9), dtype)
    sums = layer.accumulators(q)
    assert sums.dtype == np.int32
    np.testing.assert_array_equal(sums, exact_convolution(q, layer))


OUTPUTS = [(input_dtype, output_dtype) for input_dtype in LARGEST for output_dtype in (None, *LARGEST)] + [(None, None)]


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("input_dtype", "output_dtype"), OUTPUTS)
@pytest.mark.parametrize("kind", ["linear", "convolution", "grouped"])
def test_outputs_match_the_formula(
    kind: str, input_dtype: str | None, output_dtype: str | None, bias: bool, relu: bool, rng: np.random.Generator
) -> None:
    dtypes: dict[str, Any] = {"input_dtype": input_dtype, "output_dtype": output_dtype, "relu": relu}
    if kind == "linear":
        layer: Any = QuantizedLinear(33, 17, bias, **dtypes)
        x = rng.standard_normal((2, 5, 33)).astype(np.float32)
    else:
        groups = 3 if kind == "grouped" else 1
        layer = QuantizedConv2d(6, 9, (3, 2), (2, 1), (1, 0), (1, 2), groups, bias, **dtypes)
        x = rng.standard_normal((3, 6, 11, 8)).astype(np.float32)
    filled(layer, rng)
    if input_dtype:
        q, scale = quantize(x, layer.input_scale.data, input_dtype), layer.input_scale.data
    elif kind == "linear":
        q, scale = quantize_rows(x.reshape(10, 33))
        q, scale = q.reshape(2, 5, 33), scale.reshape(2, 5, 1)
    else:
        q, scale = quantize_rows(x)
    channels = (slice(None),) if kind == "linear" else (slice(None), None, None)
    exact = (
        q.astype(np.int64) @ layer.weight.data.T.astype(np.int64) if kind == "linear" else exact_convolution(q, layer)
    )
    expected = exact * (scale * layer.weight_scale.data[channels].astype(np.float64))
    if bias:
        expected = expected + layer.bias.data[channels]
    if relu:
        expected = np.maximum(expected, 0)
    if output_dtype:
        expected = quantize(expected.astype(np.float32), layer.output_scale.data, output_dtype)
    assert_within_a_step(layer(Tensor(x)).data, expected.astype(output_dtype or np.float32))
    if input_dtype:  # inputs that are already integers give the same outputs
        np.testing.assert_array_equal(layer(Tensor(q)).data, layer(Tensor(x)).data)


def test_inputs_of_any_layout_are_accepted(rng: np.random.Generator) -> None:
    layer = filled(QuantizedLinear(12, 7, input_dtype="uint8"), rng)
    q = integers(rng, (5, 12), "uint8")
    for same in (np.asfortranarray(q), q[::-1][::-1], np.repeat(q, 2, axis=1)[:, ::2], q[:, None][:, 0]):
        np.testing.assert_array_equal(layer(Tensor(same)).data, layer(Tensor(q)).data)
    conv = filled(QuantizedConv2d(3, 4, (3, 3), input_dtype="int8"), rng)
    images = integers(rng, (2, 3, 6, 5), "int8")
    last = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(conv(Tensor(last)).data, conv(Tensor(images)).data)


def test_single_row_equals_the_same_row_in_a_batch(rng: np.random.Generator) -> None:
    for dtype in (None, "int8"):
        layer = filled(QuantizedLinear(20, 6, input_dtype=dtype), rng)
        x = rng.standard_normal((40, 20)).astype(np.float32)
        together = layer(Tensor(x)).data
        for i in range(40):
            assert_within_a_step(layer(Tensor(x[i : i + 1])).data[0], together[i])


def test_new_weights_are_used(rng: np.random.Generator) -> None:
    layer = filled(QuantizedLinear(6, 3, input_dtype="int8"), rng)
    x = Tensor(rng.standard_normal((2, 6)).astype(np.float32))
    before = layer(x).data
    layer.load_state_dict({name: -value.data if name in ("weight", "bias") else value.data
                           for name, value in layer.state_dict().items()})  # fmt: skip
    np.testing.assert_allclose(layer(x).data, -before, atol=1e-6)
    np.testing.assert_array_equal(copy.deepcopy(layer)(x).data, layer(x).data)


def test_mismatched_arguments_are_reported(rng: np.random.Generator) -> None:
    layer = filled(QuantizedLinear(6, 3, input_dtype="int8"), rng)
    with pytest.raises(ShapeError, match="expected"):
        layer(Tensor(np.zeros((2, 5), np.float32)))
    with pytest.raises(SettingError, match="uint8: expected floating point or int8"):
        layer(Tensor(np.zeros((2, 6), np.uint8)))
    with pytest.raises(SettingError, match="expected floating point"):
        QuantizedLinear(6, 3)(Tensor(np.zeros((2, 6), np.int8)))
    conv = QuantizedConv2d(3, 4, (3, 3))
    for shape in ((1, 2, 8, 8), (3, 8, 8), (1, 3, 2, 8)):
        with pytest.raises(ShapeError):
            conv(Tensor(np.zeros(shape, np.float32)))
    with pytest.raises(SettingError, match="groups"):
        QuantizedConv2d(3, 4, (3, 3), groups=2)
    with pytest.raises(SettingError, match="int32"):
        QuantizedLinear(MOST_PRODUCTS + 1, 1)
    for dtypes in ({"input_dtype": "int4"}, {"output_dtype": "int8"}):
        with pytest.raises(SettingError, match="dynamic"):
            QuantizedLinear(2, 2, **dtypes)  # type: ignore[arg-type]


def test_backward_through_a_quantized_layer_is_rejected(rng: np.random.Generator) -> None:
    x = Tensor(np.ones((1, 6), np.float32), requires_grad=True)
    with pytest.raises(GradientError, match="QuantizedLinear"):
        filled(QuantizedLinear(6, 3), rng)(x).sum().backward()


@pytest.mark.parametrize("dtype", ["float32", "uint8", "int8"])
@pytest.mark.parametrize("settings_", [(2,), (2, 2, 1), (3, 1, 1), (3, 2), ((2, 3), (1, 2))])
def test_max_pooling_of_integers_matches_floats(settings_: Any, dtype: str, rng: np.random.Generator) -> None:
    x = integers(rng, (2, 3, 7, 9), "uint8" if dtype == "uint8" else "int8")
    y = QuantizedMaxPool2d(*settings_)(Tensor(x.astype(dtype))).data
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, MaxPool2d(*settings_)(Tensor(x.astype(np.float32))).data)
