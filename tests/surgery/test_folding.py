"""Folding of batch normalization keeps the dtypes of the weights and the outputs of the model."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import tinytorch as tt
from tinytorch.layers import Flatten, Linear, Module, Sequential
from tinytorch.quantized import quantize_static
from tinytorch.spatial import AdaptiveAvgPool2d, BasicBlock, BatchNorm2d, Conv2d, MaxPool2d
from tinytorch.surgery.folding import fold_batch_norm
from tinytorch.tensor import Array, Tensor

pytestmark = pytest.mark.usefixtures("backend")
random = np.random.default_rng(0)
IMAGES = random.standard_normal((40, 3, 8, 8)).astype(np.float32)


def network(dtype: type) -> Sequential:
    random = np.random.default_rng(3)
    model = Sequential(
        Conv2d(2, 3, 3, bias=False), BatchNorm2d(3), BasicBlock(3, 4, 2), Flatten(), Linear(16, 2)
    ).eval()
    for part in model.modules():
        if isinstance(part, BatchNorm2d):
            for tensor in (part.weight, part.bias, part.running_mean, part.running_var):
                tensor.data = random.uniform(0.5, 1.5, tensor.shape)
    for name, tensor in model.named_tensors():
        if "num_batches" not in name:
            tensor.data = tensor.data.astype(dtype)
    return model


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
def test_every_weight_keeps_its_dtype(dtype: type) -> None:
    folded = fold_batch_norm(network(dtype))
    assert {part.dtype for part in folded.parameters()} == {np.dtype(dtype)}
    assert not any(isinstance(part, BatchNorm2d) for part in [folded[1], folded[1].bn1])  # type: ignore[attr-defined]


def test_float64_model_is_folded_with_float64_precision() -> None:
    model = network(np.float64)
    x = Tensor(np.random.default_rng(0).standard_normal((2, 2, 6, 6)))
    np.testing.assert_allclose(fold_batch_norm(model)(x).data, model(x).data, rtol=1e-12, atol=1e-12)


def cnn(*, gain: float = 1.0) -> Sequential:
    """Build convolution, pooling, norm, and ReLU as in the suite; `gain` is the norm's first scale."""
    tt.manual_seed(0)
    norm = with_statistics(BatchNorm2d(8))
    norm.weight.data[0] = gain
    first = [Conv2d(3, 8, 3, padding=1, bias=False), MaxPool2d(2), norm, tt.ReLU()]
    second = [Conv2d(8, 6, 3), with_statistics(BatchNorm2d(6)), tt.ReLU(), MaxPool2d(2, 1), Flatten(), Linear(6, 5)]
    return Sequential(*first, *second)  # type: ignore[arg-type]


def resnet() -> Sequential:
    tt.manual_seed(0)
    stem = [Conv2d(3, 8, 3, 1, 1), with_statistics(BatchNorm2d(8)), tt.ReLU()]
    blocks = [BasicBlock(8, 8), BasicBlock(8, 16, 2)]
    for block in blocks:
        with_statistics(block.bn1)
        with_statistics(block.bn2)
    return Sequential(*stem, *blocks, AdaptiveAvgPool2d(1), Flatten(), Linear(16, 5))  # type: ignore[arg-type]


def with_statistics(norm: BatchNorm2d) -> BatchNorm2d:
    """Give the norm random weights and running statistics, and return it."""
    n = norm.num_features
    norm.weight.data = random.uniform(0.5, 1.5, n).astype(np.float32)
    norm.bias.data = random.standard_normal(n).astype(np.float32)
    norm.running_mean.data = random.standard_normal(n).astype(np.float32)
    norm.running_var.data = random.uniform(0.5, 2, n).astype(np.float32)
    return norm


def outputs(model: Module, x: Array) -> Array:
    with tt.no_grad():
        return model.eval()(Tensor(x)).data


def error(model: Module, reference: Array, x: Array) -> float:
    """Return the largest error, relative to the largest output."""
    return float(np.abs(outputs(model, x) - reference).max() / np.abs(reference).max())


@pytest.mark.parametrize(("gain", "remaining"), [(1.0, 0), (0.0, 0), (-1.0, 1)])
def test_folding_keeps_the_outputs(gain: float, remaining: int) -> None:
    model = cnn(gain=gain)
    folded = fold_batch_norm(model)
    assert sum(isinstance(part, BatchNorm2d) for part in folded.modules()) == remaining
    np.testing.assert_allclose(outputs(folded, IMAGES), outputs(model, IMAGES), atol=1e-5)
    assert error(quantize_static(model, [IMAGES]), outputs(model, IMAGES), IMAGES) < 0.05


def test_folding_works_inside_blocks_and_only_where_it_is_correct() -> None:
    model = resnet()
    folded = fold_batch_norm(model)
    assert not any(isinstance(part, BatchNorm2d) for part in folded.modules())
    np.testing.assert_allclose(outputs(folded, IMAGES), outputs(model, IMAGES), atol=1e-5)
    shared = Conv2d(3, 3, 1)
    for layers in (
        [shared, with_statistics(BatchNorm2d(3)), shared],
        [Conv2d(3, 3, 1), tt.ReLU(), with_statistics(BatchNorm2d(3))],
    ):
        kept = fold_batch_norm(Sequential(*layers))
        assert any(isinstance(part, BatchNorm2d) for part in kept.modules())
