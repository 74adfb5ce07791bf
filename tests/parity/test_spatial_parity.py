"""Module 09 against PyTorch: the same values and gradients, and weights that load unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    import torch
else:
    torch = pytest.importorskip("torch")

from safetensors.torch import save_model

import tinytorch as tt
import tinytorch.nn.functional as functional
from tinytorch.spatial import AdaptiveAvgPool2d, AvgPool2d, BatchNorm2d, Conv2d, MaxPool2d
from tinytorch.tensor import Array, Tensor

random = np.random.default_rng(0)


def normal(*shape: int) -> Array:
    return random.standard_normal(shape).astype(np.float32)


def same(ours: Array, theirs: torch.Tensor) -> None:
    """Assert equality up to rounding, relative to the largest value."""
    expected = theirs.detach().numpy()
    assert ours.shape == expected.shape
    np.testing.assert_allclose(ours, expected, atol=2e-5 * max(1.0, float(abs(expected).max())))


def compare(layer: tt.Module, theirs: Any, array: Array) -> None:
    """Run the same weights and input through both layers, forward and backward."""
    layer.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    x, z = Tensor(array.copy(), requires_grad=True), torch.tensor(array, requires_grad=True)
    y, w = layer(x), theirs(z)
    same(y.data, w)
    g = normal(*y.shape)
    y.backward(g)
    w.backward(torch.from_numpy(g))
    assert x.grad is not None
    same(x.grad.data, z.grad)
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None
        same(parameter.grad.data, gradients[name])
    for name, value in theirs.state_dict().items():
        same(layer.state_dict()[name].data, value)


CONVOLUTIONS: list[tuple[tuple[int, int, int], dict[str, Any]]] = [
    ((3, 8, 3), {}),
    ((3, 8, 5), {"stride": 2, "padding": 2}),
    ((4, 6, 3), {"dilation": 2, "bias": False}),
    ((4, 6, 3), {"groups": 2, "padding": 1}),
    ((4, 4, 3), {"groups": 4, "padding": 1}),
    ((16, 32, 3), {"padding": 1}),
    ((24, 16, 3), {"padding": 0}),
    ((16, 16, 3), {"padding": 2, "bias": False}),
    ((8, 4, 1), {}),
    ((8, 4, 1), {"stride": 2}),
]


@pytest.mark.parametrize("size", [(1, 12, 12), (3, 13, 10), (10, 8, 8)])
@pytest.mark.parametrize(("sizes", "settings"), CONVOLUTIONS)
def test_conv2d(sizes: tuple[int, int, int], settings: dict[str, Any], size: tuple[int, int, int]) -> None:
    n, height, width = size
    compare(Conv2d(*sizes, **settings), torch.nn.Conv2d(*sizes, **settings), normal(n, sizes[0], height, width))


def test_rectangular_kernel() -> None:
    settings: dict[str, Any] = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)}
    compare(Conv2d(4, 6, (3, 2), **settings), torch.nn.Conv2d(4, 6, (3, 2), **settings), normal(2, 4, 9, 8))


@pytest.mark.parametrize("settings", [(2,), (3, 2), (3, 1, 1), ((2, 3), (1, 2)), (4,)])
@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (9, 2, 7, 11), (1, 1, 4, 4)])
def test_pooling(shape: tuple[int, ...], settings: tuple[Any, ...]) -> None:
    array = normal(*shape)
    compare(MaxPool2d(*settings), torch.nn.MaxPool2d(*settings), array)
    compare(AvgPool2d(*settings), torch.nn.AvgPool2d(*settings), array)


@pytest.mark.parametrize("size", [1, 2, 3, (2, 5)])
def test_adaptive_average_pooling(size: Any) -> None:
    compare(AdaptiveAvgPool2d(size), torch.nn.AdaptiveAvgPool2d(size), normal(2, 3, 7, 9))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(4, 3, 5, 6), (16, 8, 4, 4), (2, 5, 1, 1)])
def test_batch_norm(shape: tuple[int, ...], training: bool) -> None:
    layer, theirs = BatchNorm2d(shape[1], eps=1e-4, momentum=0.3), torch.nn.BatchNorm2d(shape[1], 1e-4, 0.3)
    with torch.no_grad():
        theirs.weight.copy_(torch.from_numpy(normal(shape[1])))
        theirs.running_mean.copy_(torch.from_numpy(normal(shape[1])))
    layer.train(training)
    theirs.train(training)
    compare(layer, theirs, 2 * normal(*shape) + 1)


def test_network_saved_by_pytorch_loads_and_has_the_same_output(tmp_path: Path) -> None:
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3, padding=1), torch.nn.BatchNorm2d(16), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(16, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(16 * 64, 10),
    )  # fmt: skip
    x = normal(5, 3, 16, 16)
    theirs(torch.from_numpy(x))  # updates the running statistics
    theirs.eval()
    save_model(theirs, str(tmp_path / "model.safetensors"))
    ours = tt.Sequential(
        Conv2d(3, 16, 3, padding=1), BatchNorm2d(16), tt.ReLU(), MaxPool2d(2),
        Conv2d(16, 16, 3, padding=1), tt.ReLU(), tt.Flatten(), tt.Linear(16 * 64, 10),
    )  # fmt: skip
    ours.load(tmp_path / "model.safetensors")
    same(ours.eval()(Tensor(x)).data, theirs(torch.from_numpy(x)))


def test_pools_with_all_settings_agree() -> None:
    rng = np.random.default_rng(0)
    compared = 0
    for _ in range(150):
        (h, w), k, s = rng.integers(3, 12, 2), int(rng.integers(1, 4)), int(rng.integers(1, 4))
        shared = {"padding": int(rng.integers(0, k // 2 + 1)), "ceil_mode": bool(rng.integers(2))}
        largest = shared | {"dilation": int(rng.integers(1, 3))}
        mean = shared | {"count_include_pad": bool(rng.integers(2)), "divisor_override": [None, 3][rng.integers(2)]}
        array = rng.standard_normal((2, 3, h, w))
        for name, settings in (("max_pool2d", largest), ("avg_pool2d", mean)):
            x, z = Tensor(array.copy(), requires_grad=True), torch.tensor(array, requires_grad=True)
            try:
                theirs = getattr(torch.nn.functional, name)(z, k, s, **settings)
            except RuntimeError:
                with pytest.raises(tt.TinyTorchError):
                    getattr(functional, name)(x, k, s, **settings)
                continue
            ours = getattr(functional, name)(x, k, s, **settings)
            same(ours.data, theirs)
            g = rng.standard_normal(ours.shape)
            ours.backward(g)
            theirs.backward(torch.from_numpy(g))
            assert x.grad is not None
            same(x.grad.data, z.grad)
            compared += 1
    assert compared > 200
