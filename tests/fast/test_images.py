"""Convolution, pooling, and batch normalization by oneDNN: the same values and gradients as NumPy's, bit for bit the
same from run to run, and not used where the backend is NumPy or oneDNN has no kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch import spatial
from tinytorch.arrays import parallel
from tinytorch.native import backend, library
from tinytorch.native import images as kernels
from tinytorch.tensor import Array, Tensor

pytestmark = pytest.mark.skipif(bool(library.why_not()), reason=library.why_not() or "available")


@pytest.fixture(params=["one thread", "all threads"])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute a batch as one part, or as one part for each thread."""
    monkeypatch.setattr(parallel, "SMALLEST", 2**62 if request.param == "one thread" else 1)


def numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def derived(f: Callable[..., Tensor], *arrays: Array) -> list[Array]:
    """Return the result of f and the gradients of its inputs."""
    inputs = [Tensor(array, requires_grad=True) for array in arrays]
    y = f(*inputs)
    y.backward(numbers(*y.shape, seed=9).astype(y.dtype))
    return [y.data, *(x.grad.data for x in inputs if x.grad is not None)]


def assert_near(actual: list[Array], expected: list[Array], tolerance: float = 1e-5) -> None:
    """Assert that each array is within `tolerance` of its largest value."""
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * max(1, np.abs(other).max(initial=0)))


CONVOLUTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "3x3": ((4, 16, 9, 7), (24, 16, 3, 3), {"padding": 1}),
    "of an image": ((5, 3, 8, 8), (16, 3, 3, 3), {"padding": 1}),
    "odd channels": ((3, 5, 6, 6), (7, 5, 3, 3), {}),
    "stride": ((4, 16, 9, 9), (32, 16, 3, 3), {"stride": 2, "padding": 1}),
    "pointwise": ((3, 16, 5, 4), (8, 16, 1, 1), {}),
    "pointwise with a stride": ((3, 16, 5, 4), (8, 16, 1, 1), {"stride": 2}),
    "dilation": ((2, 4, 9, 9), (8, 4, 3, 3), {"dilation": 2, "padding": 2}),
    "groups": ((2, 8, 6, 6), (8, 4, 3, 3), {"groups": 2, "padding": 1}),
    "depthwise": ((2, 16, 6, 6), (16, 1, 3, 3), {"groups": 16, "padding": 1}),
    "rectangular": ((2, 3, 7, 9), (4, 3, 5, 3), {"stride": (1, 2), "padding": (2, 0)}),
}


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution_and_its_gradients_are_those_of_im2col(name: str, biased: bool) -> None:
    shape, weight, settings = CONVOLUTIONS[name]
    arrays = [numbers(*shape), numbers(*weight, seed=1), *([numbers(weight[0], seed=2)] if biased else [])]
    ops = []

    def convolve(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        y = tt.conv2d(x, w, b, **settings)
        ops.append(y.node.op.name if y.node else "")
        return y

    found = derived(convolve, *arrays)
    assert_near(found, derived(convolve, *(array.astype(np.float64) for array in arrays)))
    assert ops[0] == "conv2d (oneDNN)"
    assert ops[1] != ops[0]  # float64 is NumPy's
    assert all(array.dtype == np.float32 for array in found)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bit_convolution_is_computed_in_float32(dtype: str) -> None:
    x, w = (Tensor(array).to(dtype) for array in (numbers(2, 4, 6, 6), numbers(8, 4, 3, 3, seed=1)))
    y = tt.conv2d(x, w)
    assert y.dtype == x.dtype
    exact = tt.conv2d(x.to("float64"), w.to("float64")).data
    np.testing.assert_allclose(y.data.astype(np.float64), exact, rtol=2**-8, atol=0.02)


def test_input_without_requires_grad_gets_no_gradient() -> None:
    x, w = Tensor(numbers(2, 3, 5, 5)), Tensor(numbers(4, 3, 3, 3), requires_grad=True)
    tt.conv2d(x, w).sum().backward()
    assert x.grad is None
    assert w.grad is not None


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("settings", [(2,), (3, 2, 1), ((2, 3), (1, 2)), (5, 5), (2, 1, 1), (17, 3, 8)])
def test_max_pooling_is_numpys_bit_for_bit(settings: tuple[Any, ...]) -> None:
    x = numbers(3, 8, 18, 17)
    backend.use_backend("numpy")
    expected = derived(lambda x: tt.max_pool2d(x, *settings), x)
    backend.use_backend("onednn")
    found = derived(lambda x: tt.max_pool2d(x, *settings), x)
    np.testing.assert_array_equal(found[0], expected[0])
    assert_near(found[1:], expected[1:], 1e-6)  # a value may be the largest of several windows: sums of gradients


def test_exactly_one_of_equal_largest_values_gets_the_gradient() -> None:
    _, dx = derived(lambda x: tt.max_pool2d(x, 2), np.zeros((1, 4, 4, 4), np.float32))
    assert np.count_nonzero(dx) == 4 * 4


@pytest.mark.parametrize("place", [0, 7, 15])
def test_nan_is_not_hidden_by_max_pooling(place: int) -> None:
    x = numbers(1, 2, 4, 4)
    x.reshape(2, 16)[1, place] = np.nan
    y, dx = derived(lambda x: tt.max_pool2d(x, 2), x)
    assert np.isnan(y).sum() == 1
    assert dx.reshape(2, 16)[1, place] != 0


def test_max_pooling_without_recording_keeps_no_places() -> None:
    x = Tensor(numbers(2, 4, 6, 6), requires_grad=True)
    with tt.no_grad():
        quiet = tt.max_pool2d(x, 2)
    np.testing.assert_array_equal(quiet.data, tt.max_pool2d(x, 2).data)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_and_its_gradients_are_numpys(training: bool) -> None:
    x, weight, bias = 3 * numbers(6, 5, 4, 7) + 2, numbers(5, seed=1), numbers(5, seed=2)
    results = []
    for name in ("numpy", "onednn"):
        backend.use_backend(name)
        norm = spatial.BatchNorm2d(5)
        norm.weight.data[...], norm.bias.data[...] = weight, bias
        norm.running_mean.data[...], norm.running_var.data[...] = 1, 4
        norm.train(training)
        arrays = derived(norm, x)
        assert norm.weight.grad is not None
        assert norm.bias.grad is not None
        results.append([*arrays, norm.weight.grad.data, norm.bias.grad.data])
    assert_near(results[1], results[0])


def _step_values(offset: int) -> list[bytes]:
    """Return the bits of a small network's result and gradients, computed on memory that begins at another address."""
    tt.manual_seed(0)
    model = tt.Sequential(
        spatial.Conv2d(3, 16, 3, padding=1), spatial.BatchNorm2d(16), tt.ReLU(), spatial.MaxPool2d(2),
        spatial.Conv2d(16, 8, 3, stride=2, groups=2),
    )  # fmt: skip
    memory = np.empty(6 * 3 * 12 * 12 + offset, np.float32)[offset:].reshape(6, 3, 12, 12)
    memory[...] = numbers(6, 3, 12, 12)
    arrays = derived(model, memory)
    return [array.tobytes() for array in (*arrays, *(p.grad.data for p in model.parameters() if p.grad is not None))]


@pytest.mark.usefixtures("threads")
def test_every_run_computes_the_same_bits() -> None:
    first = _step_values(0)
    assert len(first) == 8
    assert all(_step_values(offset) == first for offset in (0, 1, 5, 16))


def _losses(name: str) -> tuple[list[float], list[Array]]:
    """Train a small CNN for a few steps; return the losses and the trained parameters."""
    backend.use_backend(name)
    tt.manual_seed(0)
    model = tt.Sequential(
        spatial.Conv2d(3, 16, 3, padding=1), tt.ReLU(), spatial.MaxPool2d(2),
        spatial.Conv2d(16, 32, 3, padding=1), spatial.BatchNorm2d(32), tt.ReLU(), spatial.MaxPool2d(2),
        spatial.BasicBlock(32, 32), tt.Flatten(), tt.Linear(32 * 16, 10),
    )  # fmt: skip
    optimizer, loss_of = tt.SGD(model.parameters(), lr=0.01, momentum=0.9), tt.CrossEntropyLoss()
    x, labels, losses = Tensor(numbers(32, 3, 16, 16)), np.arange(32) % 10, []
    for _ in range(5):
        optimizer.zero_grad()
        loss = loss_of(model(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, [p.data for p in model.parameters()]


def test_numpy_alone_trains_to_the_same_numbers() -> None:
    (by_numpy, weights), (by_onednn, others) = _losses("numpy"), _losses("onednn")
    assert by_numpy[-1] < by_numpy[0] - 0.5
    np.testing.assert_allclose(by_onednn, by_numpy, rtol=0, atol=1e-4)
    for one, other in zip(others, weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-4)
    assert any(one.tobytes() != other.tobytes() for one, other in zip(others, weights, strict=True))  # two ways


def _refuse(*_: Any, **__: Any) -> Any:
    raise library.UnsupportedError("not here")


def test_numpy_backend_uses_no_kernel_of_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    backend.use_backend("numpy")
    names = ("has_convolution", "convolution_forward", "max_pool_forward", "normalize", "normalized_gradients")
    for name in names:
        monkeypatch.setattr(kernels, name, _refuse)
    _losses("numpy")


def test_convolution_without_a_kernel_is_computed_by_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = numbers(2, 3, 5, 5), numbers(4, 3, 3, 3, seed=1)
    expected = derived(tt.conv2d, x, w)
    monkeypatch.setattr(kernels, "Kernel", _refuse)
    monkeypatch.setattr(kernels, "kernel", lambda make, *settings: make(*settings))  # none from an earlier call
    assert tt.conv2d(Tensor(x, requires_grad=True), Tensor(w)).node.op is spatial.im2col_  # type: ignore[union-attr]
    assert_near(derived(tt.conv2d, x, w), expected)
    for layer in (spatial.MaxPool2d(2), spatial.BatchNorm2d(3), spatial.BatchNorm2d(3).eval()):
        assert_near(derived(layer, x), derived(layer, x.astype(np.float64)))


def test_other_byte_orders_are_computed_by_numpy() -> None:
    x, w = numbers(2, 3, 5, 5), Tensor(numbers(4, 3, 3, 3))
    other = Tensor(x.astype(">f4"))
    np.testing.assert_allclose(tt.conv2d(other, w).data, tt.conv2d(Tensor(x), w).data, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(tt.max_pool2d(other, 2).data, tt.max_pool2d(Tensor(x), 2).data)


def test_empty_batch_is_computed_by_numpy() -> None:
    x, w = Tensor(np.zeros((0, 3, 5, 5), np.float32)), Tensor(numbers(4, 3, 3, 3))
    assert tt.conv2d(x, w).shape == (0, 4, 3, 3)
    assert tt.max_pool2d(x, 2).shape == (0, 3, 2, 2)


# Values that oneDNN computes differently ---------------------------------------------------------------


def test_a_window_of_negative_infinities_has_no_finite_maximum(threads: None) -> None:
    x = numbers(2, 16, 8, 8)
    x[:, :, 2:6, 2:6] = -np.inf
    for settings in ({}, {"stride": 2, "padding": 1}):
        kernel = 3 if settings else 2
        found = tt.max_pool2d(Tensor(x, requires_grad=True), kernel, **settings)
        backend.use_backend("numpy")
        expected = tt.max_pool2d(Tensor(x), kernel, **settings).data
        backend.use_backend("onednn")
        np.testing.assert_array_equal(found.data, expected)
    assert np.isneginf(expected).any()


@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_sums_of_many_equal_gradients_do_not_drift(threads: None, noise: float) -> None:
    """Added one by one in float32, a million numbers of 0.1 are wrong by 1%."""
    given = (0.1 + noise * numbers(64, 16, 64, 64, seed=9)).astype(np.float32)
    exact = given.astype(np.float64).sum(axis=(0, 2, 3))
    x = numbers(64, 16, 64, 64)
    norm: Any = spatial.BatchNorm2d(16)
    convolution: Any = spatial.Conv2d(16, 16, 1)
    image: Any = Tensor(x, requires_grad=True)
    norm(image).backward(given)
    convolution(Tensor(x)).backward(given)
    np.testing.assert_allclose(norm.bias.grad.data, exact, rtol=1e-5)
    np.testing.assert_allclose(convolution.bias.grad.data, exact, rtol=1e-5)
    sums = image.grad.data.astype(np.float64).sum(axis=(0, 2, 3))  # the gradients of x have mean 0 in each channel
    assert np.abs(sums).max() < 1e-4 * exact.max()
