"""A convolution, ReLU, and max pooling in a Sequential are computed together, as if they were computed one by one."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch import nn
from tinytorch.arrays import parallel
from tinytorch.base.errors import TinyTorchError
from tinytorch.fast import sequences
from tinytorch.native import backend, chains, library
from tinytorch.native import images as kernels
from tinytorch.spatial import Conv2d, MaxPool2d
from tinytorch.surgery.parts import watched
from tinytorch.tensor import Array, Tensor

pytestmark = pytest.mark.skipif(bool(library.why_not()), reason=library.why_not() or "available")
POOLED, PLAIN = "conv2d, ReLU, max_pool2d (oneDNN)", "conv2d, ReLU (oneDNN)"


@pytest.fixture(params=itertools.product(["one thread", "all threads"], ["one block", "many blocks"]), ids="-".join)
def ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Split a batch between threads or not, and each part into blocks or not."""
    threads, blocks = request.param
    monkeypatch.setattr(parallel, "SMALLEST", 2**62 if threads == "one thread" else 1)
    monkeypatch.setattr(chains, "BLOCK", 2**62 if blocks == "one block" else 1000)


def numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def one_by_one(model: tt.Sequential) -> Callable[[Tensor], Tensor]:
    def run(x: Tensor) -> Tensor:
        for layer in model.layers:
            x = layer(x)
        return x

    return run


def ops(y: Tensor) -> list[str]:
    """Return the names of the operations from y back to the input."""
    names = []
    while y.node is not None:
        names.append(y.node.op.name)
        y = y.node.inputs[0]
    return names[::-1]


def results(model: tt.Sequential, f: Callable[[Tensor], Tensor], x: Array) -> list[Array]:
    """Return f(x) and the gradients of x and of the parameters of the model."""
    image = Tensor(x, requires_grad=True)
    for p in model.parameters():
        p.grad = None
    y = f(image)
    y.backward(numbers(*y.shape, seed=9))
    return [y.data, *(t.grad.data for t in (image, *model.parameters()) if t.grad is not None)]


def small(**settings: Any) -> tt.Sequential:
    tt.manual_seed(0)
    return tt.Sequential(Conv2d(3, 8, 3, **{"padding": 1, **settings}), tt.ReLU(), MaxPool2d(2))


MODELS: dict[str, tuple[Callable[[], tt.Sequential], list[str]]] = {
    "pooled": (small, [POOLED]),
    "without a bias": (lambda: small(bias=False), [POOLED]),
    "stride": (lambda: small(stride=2), [POOLED]),
    "not pooled": (lambda: tt.Sequential(Conv2d(3, 8, 3), tt.ReLU()), [PLAIN]),
    "overlapping windows": (lambda: tt.Sequential(Conv2d(3, 8, 3), nn.ReLU(), MaxPool2d(3, 2, 1)), [POOLED]),
    "groups": (lambda: tt.Sequential(Conv2d(3, 8, 1), Conv2d(8, 4, 3, groups=2), tt.ReLU()),
               ["conv2d (oneDNN)", PLAIN]),
    "three": (lambda: tt.Sequential(*small().layers, Conv2d(8, 6, 3), tt.ReLU(), Conv2d(6, 4, 3)),
              [POOLED, PLAIN, "conv2d (oneDNN)"]),
    "torch's": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2)), [POOLED]),
}  # fmt: skip


@pytest.mark.usefixtures("ways")
@pytest.mark.parametrize("name", MODELS)
def test_joined_layers_have_the_values_and_gradients_of_the_layers_one_by_one(name: str) -> None:
    make, expected_ops = MODELS[name]
    model, x = make(), numbers(7, 3, 12, 11)
    assert ops(model(Tensor(x, requires_grad=True))) == expected_ops
    found, expected = results(model, model, x), results(model, one_by_one(model), x)
    assert len(found) == len(expected) == 2 + len(list(model.parameters()))
    np.testing.assert_array_equal(found[0], expected[0])
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * max(1, np.abs(other).max()))


@pytest.mark.usefixtures("ways")
def test_every_run_computes_the_same_bits() -> None:
    model, x = small(), numbers(7, 3, 12, 11)
    first = [array.tobytes() for array in results(model, model, x)]
    assert [array.tobytes() for array in results(model, model, x.copy())] == first


def test_windows_without_a_positive_value_pass_no_gradient() -> None:
    model = small()
    model[0].bias.data[...] = -100  # type: ignore[attr-defined]
    y, *gradients = results(model, model, numbers(2, 3, 8, 8))
    assert not y.any()
    assert not any(array.any() for array in gradients)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_reaches_the_result_as_one_by_one(value: float) -> None:
    model, x = small(), numbers(3, 3, 8, 8)
    x[1, 2, 3, 3] = value
    with np.errstate(invalid="ignore"):
        found, expected = results(model, model, x), results(model, one_by_one(model), x)
    assert not np.isfinite(expected[0]).all() or value < 0
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(np.isfinite(one), np.isfinite(other))
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_infinite_gradient_of_a_zero_is_dropped() -> None:
    model, g = small(), np.full((2, 8, 4, 4), np.inf, np.float32)
    model[0].bias.data[...] = -100  # type: ignore[attr-defined]
    x = Tensor(numbers(2, 3, 8, 8), requires_grad=True)
    model(x).backward(g)
    assert x.grad is not None
    assert not x.grad.data.any()


def test_hooks_and_watchers_see_each_layer() -> None:
    model, x = small(), Tensor(numbers(2, 3, 8, 8))
    shapes = []
    handle = model[0].register_forward_hook(lambda layer, inputs, y: shapes.append(y.shape))  # type: ignore[attr-defined]
    model(x)
    handle.remove()
    seen: list[str] = []
    with watched([("convolution", model.layers[0])], lambda name, *_: seen.append(name)):  # type: ignore[list-item]
        model(x)
    assert shapes == [(2, 8, 8, 8)]
    assert seen == ["convolution"]


class _Own(Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1


class _Sign(tt.ReLU):
    def __call__(self, x: Tensor) -> Tensor:
        return -x


def test_layers_of_ones_own_are_called() -> None:
    x = Tensor(numbers(2, 3, 8, 8), requires_grad=True)
    assert "add" in ops(tt.Sequential(_Own(3, 4, 3), tt.ReLU())(x))
    assert ops(tt.Sequential(Conv2d(3, 4, 3), _Sign())(x)) == ["conv2d (oneDNN)", "neg"]


def test_mixed_precision_runs_each_layer() -> None:
    with tt.autocast():
        y = small()(Tensor(numbers(2, 3, 8, 8), requires_grad=True))
    assert y.dtype.name == "bfloat16"
    assert len(ops(y)) >= 3


def test_other_dtypes_and_the_numpy_backend_run_each_layer() -> None:
    model, x = small(), numbers(2, 3, 8, 8)
    assert len(ops(model(Tensor(x.astype(np.float64), requires_grad=True)))) == 3
    backend.use_backend("numpy")
    assert len(ops(model(Tensor(x, requires_grad=True)))) == 3


def test_layers_without_a_kernel_run_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = small(), numbers(2, 3, 8, 8)
    monkeypatch.setattr(kernels, "has_max_pool", lambda *_: False)
    assert len(ops(model(Tensor(x, requires_grad=True)))) == 3


@pytest.mark.parametrize("shape", [(2, 4, 8, 8), (3, 8, 8), (2, 3, 0, 8), (2, 3, 1, 1)])
def test_errors_are_those_of_the_layers(shape: tuple[int, ...]) -> None:
    model, messages = small(), []
    for f in (model, one_by_one(model)):
        with pytest.raises(TinyTorchError) as caught:
            f(Tensor(np.zeros(shape, np.float32)))
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_without_recording_the_values_are_the_same() -> None:
    model, x = small(), Tensor(numbers(2, 3, 8, 8))
    y = model(x)
    with tt.no_grad():
        quiet = model(x)
    np.testing.assert_array_equal(quiet.data, y.data)
    assert quiet.node is None


def test_the_input_gets_no_gradient_that_it_does_not_need() -> None:
    model, x = small(), Tensor(numbers(2, 3, 8, 8))
    model(x).sum().backward()
    assert x.grad is None
    assert model[0].weight.grad is not None  # type: ignore[attr-defined]


def test_weights_changed_before_the_backward_pass_are_noticed() -> None:
    model = small()
    y = model(Tensor(numbers(2, 3, 8, 8), requires_grad=True)).sum()
    optimizer = tt.SGD(model.parameters(), lr=0.1)
    for p in model.parameters():
        p.grad = Tensor(np.ones_like(p.data))
    optimizer.step()
    with pytest.raises(tt.GradientError, match="changed in place"):
        y.backward()


def test_both_ops_have_their_own_names() -> None:
    assert {sequences.chain_.name, sequences.pooled_chain_.name} == {PLAIN, POOLED}


@pytest.mark.parametrize(
    ("channels", "kernel", "padding", "shape"),
    [((32, 16), (7, 3), (6, 3), (8, 32, 128, 64)), ((3, 3), (11, 3), (0, 6), (10, 3, 150, 600))],
)
def test_layers_run_one_by_one_where_a_few_images_have_no_kernel(
    channels: tuple[int, int], kernel: Any, padding: Any, shape: tuple[int, ...]
) -> None:
    """There may be kernels for a whole batch, but not for one of the blocks in which it is computed together."""
    tt.manual_seed(0)
    model = tt.Sequential(Conv2d(*channels, kernel, padding=padding), tt.ReLU())
    for found, expected in zip(
        results(model, model, numbers(*shape)), results(model, one_by_one(model), numbers(*shape)), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_every_number_of_images_in_a_block_must_have_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[set[int]] = []

    def refusing(*given: Any) -> bool:
        asked.append(set(given[-1]))
        return False

    monkeypatch.setattr(chains, "has_convolution", refusing)
    monkeypatch.setattr(chains, "BLOCK", 3 * 8 * 8 * 8)
    monkeypatch.setattr(parallel, "SMALLEST", 2**62)
    assert ops(small()(Tensor(numbers(7, 3, 8, 8)))) != [POOLED]
    assert asked == [{2, 3}]
