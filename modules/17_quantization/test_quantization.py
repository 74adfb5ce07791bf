"""Module 17: quantization of whole models: calibration, chaining, folding, and training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.base.errors import SettingError
from tinytorch.checks import verify_quantized
from tinytorch.layers import Dropout, Flatten, Linear, Module, Sequential
from tinytorch.quantization import FakeQuantized, quantize
from tinytorch.quantized import convert, prepare_qat, quantize_static
from tinytorch.quantized.layers import QuantizedLayer
from tinytorch.spatial import AdaptiveAvgPool2d, BasicBlock, BatchNorm2d, Conv2d, MaxPool2d
from tinytorch.tensor import Array, Tensor
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


@pytest.mark.parametrize("bits", [8, 3])
@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet"])
def test_converted_model_matches_the_trained_one(name: str, bits: int) -> None:
    make, x = MODELS[name]
    prepared = trained(make(), x, bits)
    reference = outputs(prepared, x)
    quantized = convert(prepared)
    assert verify_quantized(quantized, x) == []
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
