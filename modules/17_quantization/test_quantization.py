"""Module 17: quantization of whole models: calibration, chaining, folding, and training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.base.errors import SettingError
from tinytorch.layers import Dropout, Flatten, Linear, Module, Sequential
from tinytorch.quantization import (
    FakeQuantized,
    _rounding,
    _rounding_weight,
    fake_quantize_,
    fold,
    quantize,
    quantize_weight,
)
from tinytorch.quantized import convert, prepare_qat, quantize_static
from tinytorch.quantized.layers import QuantizedLayer
from tinytorch.spatial import AdaptiveAvgPool2d, BasicBlock, BatchNorm2d, Conv2d, MaxPool2d
from tinytorch.tensor import Array, Tensor, apply
from tinytorch.transformers import GPT

pytestmark = pytest.mark.usefixtures("backend")
random = np.random.default_rng(0)
IMAGES = random.standard_normal((40, 3, 8, 8)).astype(np.float32)
DIGITS = random.random((64, 4, 6)).astype(np.float32)
TOKENS = random.integers(0, 30, (4, 8))


def mlp() -> Sequential:
    tt.manual_seed(0)
    layers = [Flatten(), Linear(24, 32), tt.ReLU(), Dropout(0.1), Linear(32, 16), tt.relu, Linear(16, 5)]
    return Sequential(*layers)  # type: ignore[arg-type]


def cnn(*, gain: float = 1.0) -> Sequential:
    """Build convolution, pooling, norm, and ReLU as in the suite; `gain` is the norm's first scale."""
    tt.manual_seed(0)
    norm = lived(BatchNorm2d(8))
    norm.weight.data[0] = gain
    first = [Conv2d(3, 8, 3, padding=1, bias=False), MaxPool2d(2), norm, tt.ReLU()]
    second = [Conv2d(8, 6, 3), lived(BatchNorm2d(6)), tt.ReLU(), MaxPool2d(2, 1), Flatten(), Linear(6, 5)]
    return Sequential(*first, *second)  # type: ignore[arg-type]


def resnet() -> Sequential:
    tt.manual_seed(0)
    stem = [Conv2d(3, 8, 3, 1, 1), lived(BatchNorm2d(8)), tt.ReLU()]
    blocks = [BasicBlock(8, 8), BasicBlock(8, 16, 2)]
    for block in blocks:
        lived(block.bn1)
        lived(block.bn2)
    return Sequential(*stem, *blocks, AdaptiveAvgPool2d(1), Flatten(), Linear(16, 5))  # type: ignore[arg-type]


def lived(norm: BatchNorm2d) -> BatchNorm2d:
    """Build a norm with running statistics."""
    n = norm.num_features
    norm.weight.data = random.uniform(0.5, 1.5, n).astype(np.float32)
    norm.bias.data = random.standard_normal(n).astype(np.float32)
    norm.running_mean.data = random.standard_normal(n).astype(np.float32)
    norm.running_var.data = random.uniform(0.5, 2, n).astype(np.float32)
    return norm


def gpt() -> GPT:
    tt.manual_seed(0)
    model = GPT(vocab_size=30, block_size=8, n_layer=2, n_head=2, n_embd=16)
    for parameter in model.parameters():
        parameter.data = parameter.data * 3
    return model


MODELS: dict[str, tuple[Callable[[], Module], Array]] = {
    "mlp": (mlp, DIGITS),
    "cnn": (cnn, IMAGES),
    "resnet": (resnet, IMAGES),
    "gpt": (gpt, TOKENS),
}


def outputs(model: Module, x: Array) -> Array:
    with tt.no_grad():
        return model.eval()(Tensor(x)).data


def error(model: Module, reference: Array, x: Array) -> float:
    """Return the largest error, relative to the largest output."""
    return float(np.abs(outputs(model, x) - reference).max() / np.abs(reference).max())


def layers_of(model: Module) -> list[QuantizedLayer]:
    return [part for part in model.modules() if isinstance(part, QuantizedLayer)]


def trained(model: Module, x: Array, bits: int = 8, steps: int = 20) -> Module:
    """Run a few steps of quantization-aware training."""
    prepared = prepare_qat(model, bits)
    optimizer = tt.AdamW(prepared.parameters(), lr=3e-3)
    targets = np.arange(len(x)) % 5
    for _ in range(steps):
        optimizer.zero_grad()
        tt.CrossEntropyLoss()(prepared(Tensor(x)), targets).backward()
        optimizer.step()
    return prepared.eval()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
def test_folded_convolution_computes_convolution_and_norm(bias: bool, groups: int) -> None:
    conv, norm = Conv2d(4, 6, 3, groups=groups, bias=bias), lived(BatchNorm2d(6))
    norm.eps = 0.1
    x = random.standard_normal((3, 4, 5, 5)).astype(np.float32)
    before = [part.data.copy() for part in (*conv.parameters(), *norm.parameters())]
    weight, shift = fold(conv, norm)
    assert weight.dtype == shift.dtype == np.float32
    assert weight.shape == conv.weight.shape
    assert shift.shape == (6,)
    expected = outputs(Sequential(conv, norm), x)
    folded = Conv2d(4, 6, 3, groups=groups)
    folded.weight.data, folded.bias.data = weight, shift  # type: ignore[union-attr]
    np.testing.assert_allclose(outputs(folded, x), expected, rtol=1e-4, atol=1e-5)
    for part, old in zip((*conv.parameters(), *norm.parameters()), before, strict=True):
        np.testing.assert_array_equal(part.data, old)


@pytest.mark.parametrize(("dtype", "ends"), [("int8", (-127, 127)), ("uint8", (0, 255))])
def test_rounded_values_are_those_of_the_integers(dtype: str, ends: tuple[int, int]) -> None:
    scale = np.float32(0.5)
    x = np.array([0.2, 0.3, -0.3, 70.0, -70.0, 200.0, ends[0] / 2, ends[1] / 2, ends[1] / 2 + 0.1], np.float32)
    rounded, inside = _rounding(x, np.asarray(scale), dtype)
    assert rounded.dtype == np.float32
    assert inside.dtype == bool
    np.testing.assert_array_equal(rounded, quantize(x, scale, dtype) * scale)
    np.testing.assert_array_equal(inside, (x >= ends[0] / 2) & (x <= ends[1] / 2))
    leaf, g = Tensor(x, requires_grad=True), random.standard_normal(x.shape).astype(np.float32)
    apply(fake_quantize_, leaf, scale=np.asarray(scale), dtype=dtype).backward(g)
    assert leaf.grad is not None
    np.testing.assert_array_equal(leaf.grad.data, g * inside)


@pytest.mark.parametrize("shape", [(3, 4), (3, 2, 2, 2)])
def test_rounded_weight_has_a_scale_for_each_output_channel(shape: tuple[int, ...]) -> None:
    weight = random.standard_normal(shape).astype(np.float32) * np.arange(1, 4).reshape(-1, *[1] * (len(shape) - 1))
    q, scale = quantize_weight(weight.astype(np.float32), 4)
    rounded = _rounding_weight(weight.astype(np.float32), 4)
    assert rounded.dtype == np.float32
    assert rounded.shape == shape
    for k in range(3):
        np.testing.assert_array_equal(rounded[k], q[k] * scale[k])


def test_range_is_a_moving_average() -> None:
    layer = FakeQuantized(Linear(2, 1))
    for low, high, expected in ((-1, 3, (-1, 3)), (-2, 1, (-1.05, 2.9)), (0, 0, (-0.9975, 2.755))):
        layer._follow(np.array([[low, high]], np.float32))
        found = layer.low.data, layer.high.data
        assert [value.dtype for value in found] == [np.float32, np.float32]
        assert [value.shape for value in found] == [(), ()]
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("bits", [8, 3])
@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet"])
def test_converted_model_matches_the_trained_one(name: str, bits: int) -> None:
    make, x = MODELS[name]
    prepared = trained(make(), x, bits)
    reference = outputs(prepared, x)
    quantized = convert(prepared)
    assert all(layer.input_scale is not None for layer in layers_of(quantized))
    # a sum halfway between two integers may round either way: one step of one value, a small share of an output
    assert error(quantized, reference, x) < 0.02
    assert np.abs(outputs(quantized, x) - reference).mean() < 1e-3 * np.abs(reference).max()


def test_one_converted_layer_returns_identical_values() -> None:
    tt.manual_seed(0)
    prepared: Any = prepare_qat(Linear(24, 7))
    x = random.standard_normal((64, 24)).astype(np.float32)
    prepared(Tensor(x))
    prepared.eval()
    np.testing.assert_allclose(outputs(convert(prepared), 2 * x), outputs(prepared, 2 * x), rtol=1e-5, atol=1e-5)


def test_quantization_aware_training_recovers_what_rounding_loses() -> None:
    x = random.standard_normal((64, 24)).astype(np.float32)
    targets = np.arange(64) % 5
    tt.manual_seed(0)
    model = Sequential(Linear(24, 32), tt.ReLU(), Linear(32, 5))

    def loss(m: Module) -> float:
        return tt.CrossEntropyLoss()(m.eval()(Tensor(x)), targets).item()

    aware = convert(trained(model, x, bits=2, steps=120))
    assert loss(aware) < loss(quantize_static(model, [x], bits=2)) - 0.2


def test_gradient_passes_straight_through_where_nothing_saturates() -> None:
    prepared = FakeQuantized(Linear(3, 1, bias=False))
    prepared.low, prepared.high = Tensor(np.float32(-1)), Tensor(np.float32(1))
    x = Tensor(np.array([[0.3, -0.7, 5.0]], np.float32), requires_grad=True)
    prepared.eval()(x).sum().backward()
    weight = quantize(prepared.layer.weight.data, np.float32(np.abs(prepared.layer.weight.data).max() / 127), "int8")
    scale = np.abs(prepared.layer.weight.data).max() / 127
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.data, weight * scale * [[1, 1, 0]], rtol=1e-5)
    assert prepared.layer.weight.grad is not None
    np.testing.assert_allclose(prepared.layer.weight.grad.data, [[38 / 127, -89 / 127, 1]], rtol=1e-5)


def test_ranges_are_updated_only_in_training_and_are_required() -> None:
    prepared = prepare_qat(Linear(24, 3))
    with pytest.raises(SettingError, match="train on at least one batch"):
        prepared.eval()(Tensor(DIGITS.reshape(64, 24)))
    with pytest.raises(SettingError, match="train on at least one batch"):
        convert(prepared)
    assert isinstance(prepared, FakeQuantized)
    prepared.train()(Tensor(np.full((1, 24), 2, np.float32)))
    prepared(Tensor(np.full((1, 24), -1, np.float32)))
    assert float(prepared.high.data) == pytest.approx(2 - 0.05 * 3)
    prepared.eval()(Tensor(np.full((1, 24), 90, np.float32)))
    assert float(prepared.high.data) == pytest.approx(2 - 0.05 * 3)
