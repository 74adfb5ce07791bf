"""Structured pruning: the smaller model matches the larger one with the removed channels held constant or at zero."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tests.models import perceptron
from tinytorch.base.errors import SettingError
from tinytorch.compression import (
    Channels,
    apply_masks,
    magnitude_masks,
    prunable_channels,
    prune_channels,
    sparsity_of,
)
from tinytorch.layers import Linear
from tinytorch.quantized import prepare_qat, quantize_dynamic, quantize_static
from tinytorch.quantized.layers import QuantizedLayer
from tinytorch.spatial import AdaptiveAvgPool2d, AvgPool2d, BasicBlock, BatchNorm2d, Conv2d, MaxPool2d
from tinytorch.tensor import Array, Tensor

random = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def seeded() -> None:
    tt.manual_seed(0)
    random.bit_generator.state = np.random.default_rng(0).bit_generator.state  # for any test order


def resnet() -> tt.Module:
    return tt.Sequential(
        *(Conv2d(3, 6, 3, 1, 1), BatchNorm2d(6), tt.ReLU()),
        *(BasicBlock(6, 6), BasicBlock(6, 10, 2)),
        *(AdaptiveAvgPool2d(1), tt.Flatten(), Linear(10, 4)),
    )


# the model, the shape of its inputs, and the numbers of hidden channels in its layers
NETWORKS: dict[str, tuple[Callable[[], tt.Module], tuple[int, ...], list[int]]] = {
    "mlp": (lambda: tt.Sequential(tt.Flatten(), perceptron(6, 9, 5, 4)), (2, 3), [9, 5]),
    "functions": (
        lambda: tt.Sequential(Linear(6, 8, bias=False), tt.gelu, tt.Dropout(), Linear(8, 7), tt.tanh, Linear(7, 4)),
        (6,),
        [8, 7],
    ),
    "cnn": (
        lambda: tt.Sequential(
            *(Conv2d(3, 8, 3, padding=1, bias=False), MaxPool2d(2), BatchNorm2d(8), tt.ReLU()),
            *(Conv2d(8, 12, 3), tt.ReLU(), BatchNorm2d(12), AvgPool2d(2)),
            *(tt.Flatten(), Linear(12 * 3 * 3, 4)),
        ),
        (3, 16, 16),
        [8, 12],
    ),
    "nested": (
        lambda: tt.Sequential(tt.Sequential(Conv2d(3, 8, (3, 1), 2), tt.relu), tt.Sequential(Conv2d(8, 5, 1))),
        (3, 9, 9),
        [8],
    ),
    "resnet": (resnet, (3, 8, 8), [6, 10]),
}


def made(name: str) -> tuple[tt.Module, Tensor, list[int]]:
    """Return the network with random norms and running statistics, in inference mode, and inputs for it."""
    build, shape, widths = NETWORKS[name]
    model = build()
    for part in model.modules():
        if isinstance(part, BatchNorm2d):
            for tensor in (part.weight, part.bias, part.running_mean, part.running_var):
                tensor.data = random.uniform(0.5, 1.5, tensor.shape).astype(np.float32)
    return model.eval(), tt.randn(3, *shape), widths


def silence(channels: Channels, removed: Array) -> None:
    """Set everything that contributes to these channels' values to zero."""
    for tensor in channels.tensors()[:-1]:
        tensor.data = tensor.data.copy()
        tensor.data[removed] = 0


def hold(channels: Channels, removed: Array) -> None:
    """Set everything that makes these channels vary to zero, so that they send a constant."""
    weight = channels.norms[-1].weight if channels.norms else channels.writer.weight
    weight.data = weight.data.copy()
    weight.data[removed] = 0


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("name", NETWORKS)
def test_smaller_model_matches_the_model_with_these_channels_held_or_silenced(name: str, share: float) -> None:
    model, x, widths = made(name)
    before = model(x).data
    smaller = prune_channels(model, share)
    found = prunable_channels(smaller)
    assert [len(channels) for channels in prunable_channels(model)] == widths
    assert [len(channels) for channels in found] == [width - min(round(share * width), width - 1) for width in widths]
    np.testing.assert_array_equal(model(x).data, before)  # the model itself is unchanged

    cut = copy.deepcopy(model)
    for i, channels in enumerate(prunable_channels(cut)):  # layer by layer, as in `prune_channels`
        whole = copy.deepcopy(cut)
        removed = min(round(share * len(channels)), len(channels) - 1)
        order = np.argsort(channels.importance(), kind="stable")
        (hold if channels.arrives_everywhere() else silence)(prunable_channels(whole)[i], order[:removed])
        channels.keep(np.sort(order[removed:]))
        np.testing.assert_allclose(cut(x).data, whole(x).data, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(smaller(x).data, cut(x).data)
    if share == 0:
        np.testing.assert_array_equal(smaller(x).data, before)


CONSTANT: dict[str, tuple[Callable[[], tt.Module], tuple[int, ...]]] = {
    "linear": (lambda: perceptron(6, 4, 3), (6,)),
    "reader without a bias": (lambda: tt.Sequential(Linear(6, 4), tt.GELU(), Linear(4, 3, bias=False)), (6,)),
    "convolutions": (
        lambda: tt.Sequential(Conv2d(2, 4, 3), tt.Tanh(), MaxPool2d(2, padding=1), Conv2d(4, 3, 2)),
        (2, 9, 9),
    ),
    "after a norm": (
        lambda: tt.Sequential(Conv2d(2, 4, 3, padding=1), BatchNorm2d(4), tt.ReLU(), AvgPool2d(3), tt.Flatten(),
                              Linear(36, 3)),
        (2, 9, 9),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONSTANT)
def test_constant_channel_is_pruned_first_and_its_constant_is_kept(name: str) -> None:
    build, shape = CONSTANT[name]
    model = build().eval()
    (channels,) = prunable_channels(model)
    hold(channels, np.array([2]))
    last = channels.norms[-1] if channels.norms else channels.writer
    assert last.bias is not None
    last.bias.data[2] = 5
    x = tt.randn(4, *shape)
    smaller: Any = prune_channels(model, 0.25)
    assert len(prunable_channels(smaller)[0]) == 3
    np.testing.assert_allclose(smaller(x).data, model(x).data, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("padded", ["reader", "pool"])
def test_constant_channel_before_padding_counts_and_is_not_folded_into_a_bias(padded: str) -> None:
    between = [AvgPool2d(2, padding=1)] if padded == "pool" else []
    reader = Conv2d(4, 3, 3, padding=int(padded == "reader"))
    model = tt.Sequential(Conv2d(2, 4, 3), tt.ReLU(), *between, reader).eval()
    (channels,) = prunable_channels(model)
    hold(channels, np.array([2]))
    assert channels.writer.bias is not None
    assert reader.bias is not None
    before = channels.importance()
    assert before[2] == np.maximum(channels.writer.bias.data[2], 0) * np.abs(reader.weight.data[:, 2]).sum()
    channels.writer.bias.data[2] = 50
    assert channels.importance().argmax() == 2
    smaller: Any = prune_channels(model, 0.25)
    np.testing.assert_array_equal(smaller[-1].bias.data, reader.bias.data)


@pytest.mark.parametrize("name", NETWORKS)
def test_pruned_channels_shrink_the_arrays(name: str) -> None:
    model, x, _ = made(name)
    smaller = prune_channels(model, 0.5)
    assert sum(p.numel() for p in smaller.parameters()) < 0.8 * sum(p.numel() for p in model.parameters())
    for part in smaller.modules():
        if isinstance(part, Linear):
            assert part.weight.shape == (part.out_features, part.in_features)
        if isinstance(part, BatchNorm2d):
            assert {part.num_features} == {len(t.data) for t in (part.weight, part.bias, part.running_var)}
    smaller.train()
    smaller(x).sum().backward()  # the smaller model can still be trained
    for parameter in smaller.parameters():
        assert parameter.grad is not None
        assert parameter.grad.shape == parameter.shape


def test_pruned_mlp_equals_one_built_with_its_sizes() -> None:
    small = perceptron(6, 5, 2, 4)
    small.load_state_dict(prune_channels(perceptron(6, 10, 4, 4), 0.5).state_dict())


@pytest.mark.parametrize("name", NETWORKS)
def test_silent_channels_are_pruned_first_without_any_change(name: str) -> None:
    model, x, widths = made(name)
    for channels in prunable_channels(model):
        silence(channels, random.permutation(len(channels))[: len(channels) // 2])
    smaller = prune_channels(model, min(width // 2 / width for width in widths))
    np.testing.assert_allclose(smaller(x).data, model(x).data, rtol=1e-4, atol=1e-5)


def test_importance_depends_on_the_function_not_on_its_scaling() -> None:
    model = perceptron(6, 8, 3)
    (channels,) = prunable_channels(model)
    before = channels.importance()
    scale = random.uniform(0.1, 10, (8, 1)).astype(np.float32)
    channels.writer.weight.data *= scale
    channels.reader.weight.data /= scale.T
    np.testing.assert_allclose(channels.importance(), before, rtol=1e-5)
    block = BasicBlock(3, 5)
    (channels,) = prunable_channels(block)
    before = channels.importance()
    block.conv1.weight.data *= random.uniform(0.1, 10, (5, 1, 1, 1)).astype(np.float32)
    np.testing.assert_array_equal(channels.importance(), before)


def test_gradients_of_the_original_are_not_copied() -> None:
    model = perceptron(4, 6, 2)
    model(tt.randn(3, 4)).sum().backward()
    assert all(p.grad is None for p in prune_channels(model, 0.5).parameters())
    assert all(p.grad is not None for p in model.parameters())


def shared_layer() -> tt.Module:
    layer = Linear(4, 4)
    return tt.Sequential(layer, tt.ReLU(), layer)


UNSAFE: dict[str, Callable[[], tt.Module]] = {
    "one layer": lambda: perceptron(3, 2),
    "sigmoid of 0 is not 0": lambda: tt.Sequential(Linear(3, 4), tt.Sigmoid(), Linear(4, 2)),
    "unknown function in between": lambda: tt.Sequential(Linear(3, 4), lambda x: x + 1, Linear(4, 2)),
    "layer used twice": shared_layer,
    "positions flattened": lambda: tt.Sequential(Linear(3, 4), tt.Flatten(), Linear(20, 2)),
    "groups": lambda: tt.Sequential(Conv2d(4, 4, 3, groups=2), tt.ReLU(), Conv2d(4, 4, 3, groups=4)),
    "grouped reader": lambda: tt.Sequential(Conv2d(3, 4, 3), tt.ReLU(), Conv2d(4, 4, 3, groups=2)),
    "linear over the width": lambda: tt.Sequential(Conv2d(3, 4, 3), tt.ReLU(), Linear(4, 2)),
    "shortcut": lambda: tt.Sequential(Conv2d(3, 4, 3), tt.ReLU(), AdaptiveAvgPool2d(1)),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_channels_are_kept_if_removal_would_change_more(name: str) -> None:
    with pytest.raises(SettingError, match="has no channels that can be removed"):
        prune_channels(UNSAFE[name](), 0.5)


def test_sparsity_counts_integer_weights() -> None:
    model = perceptron(40, 30, 10)
    dense = sparsity_of(quantize_dynamic(model))
    apply_masks(model, magnitude_masks(model, 0.75))
    for quantized in (quantize_dynamic(model), quantize_static(model, [np.ones((2, 40), np.float32)])):
        zeros = sum(
            int((part.weight.data == 0).sum()) for part in quantized.modules() if isinstance(part, QuantizedLayer)
        )
        assert sparsity_of(quantized) == pytest.approx(zeros / 1500)
        assert sparsity_of(quantized) >= 0.75 > 0.1 > dense
    assert sparsity_of(prepare_qat(model)) == pytest.approx(0.75)
    assert sparsity_of(tt.Sequential(tt.ReLU())) == 0
    language_model = quantize_dynamic(tt.GPT(7, 6, 1, 1, 4))
    language_model.transformer.wte.rows.weight.data[...] = 0
    assert sparsity_of(language_model) < 0.5  # an embedding table does not count


def test_share_above_one_is_rejected() -> None:
    with pytest.raises(SettingError, match=r"share 1.5: expected 0 to 1"):
        prune_channels(perceptron(2, 2, 2), 1.5)
