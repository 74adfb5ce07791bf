"""Folding of batch normalization keeps the dtypes of the weights and the outputs of the model."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import tinytorch as tt
from tests.models import IMAGES, error, normed_cnn, outputs, resnet, with_statistics
from tinytorch.layers import Flatten, Linear, Sequential
from tinytorch.quantized import quantize_static
from tinytorch.quantized.folding import fold_batch_norm
from tinytorch.spatial import BasicBlock, BatchNorm2d, Conv2d
from tinytorch.tensor import Tensor

pytestmark = pytest.mark.usefixtures("backend")


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
    folded: Any = fold_batch_norm(network(dtype))
    assert {part.dtype for part in folded.parameters()} == {np.dtype(dtype)}
    assert not any(isinstance(part, BatchNorm2d) for part in [folded[1], folded[1].bn1])


def test_float64_model_is_folded_with_float64_precision() -> None:
    model = network(np.float64)
    x = Tensor(np.random.default_rng(0).standard_normal((2, 2, 6, 6)))
    np.testing.assert_allclose(fold_batch_norm(model)(x).data, model(x).data, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("gain", "remaining"), [(1.0, 0), (0.0, 0), (-1.0, 1)])
def test_folding_keeps_the_outputs(gain: float, remaining: int) -> None:
    model = normed_cnn(gain=gain)
    folded = fold_batch_norm(model)
    assert sum(isinstance(part, BatchNorm2d) for part in folded.modules()) == remaining
    np.testing.assert_allclose(outputs(folded, IMAGES), outputs(model, IMAGES), atol=1e-5)
    assert error(quantize_static(model, [IMAGES]), outputs(model, IMAGES), IMAGES) < 0.05


def test_folding_works_inside_blocks_and_only_where_it_is_correct() -> None:
    model = with_statistics(resnet())
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
