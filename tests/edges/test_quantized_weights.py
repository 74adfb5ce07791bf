"""A quantized layer's weight in the operations of a model that was written for the float layer."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.acceleration import trace
from tinytorch.layers import linear
from tinytorch.quantized.layers import IntegerWeight, QuantizedConv2d, QuantizedLinear
from tinytorch.quantized.models import convert, prepare_qat, quantize_dynamic, quantize_static
from tinytorch.tensor import Tensor, apply

X = np.random.default_rng(0).standard_normal((6, 8)).astype(np.float32)


class Reads(tt.Module):
    """A module that reads the weight of its layer in one expression, and calls the layer as well."""

    def __init__(self, read: Callable[[Tensor, Any], Tensor]) -> None:
        tt.manual_seed(1)
        self.fc, self.read = tt.Linear(8, 8), read

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) + self.read(x, self.fc)


READS: dict[str, Callable[[Tensor, Any], Tensor]] = {
    "x @ weight.T": lambda x, fc: x @ fc.weight.T,
    "weight @ x.T": lambda x, fc: (fc.weight @ x.T).T,
    "with the bias": lambda x, fc: x @ fc.weight.T + fc.bias,
    "sum": lambda x, fc: x * fc.weight.sum(),
    "number times weight": lambda x, fc: (x @ (2 * fc.weight)) / 3,
    "weight minus": lambda x, fc: x @ (1 - fc.weight),
    "negative": lambda x, fc: x @ -fc.weight,
    "norm": lambda x, fc: x * ((fc.weight**2).sum() + 1).sqrt(),
    "rows": lambda x, fc: x * fc.weight[0] + x * fc.weight[:, 1],
    "transpose": lambda x, fc: x @ fc.weight.transpose(0, 1),
    "reshape": lambda x, fc: x * fc.weight.reshape(64)[:8],
    "cat": lambda x, fc: x @ tt.cat([fc.weight, fc.weight])[:8],
    "where": lambda x, fc: x @ tt.where(fc.weight > 0, fc.weight, 0.0),
    "linear": lambda x, fc: apply(linear, x, fc.weight),
    "detach": lambda x, fc: x @ fc.weight.detach().T,
    "to": lambda x, fc: x @ fc.weight.to(np.float32).T,
    "abs, max, mean": lambda x, fc: x * fc.weight.abs().max() * fc.weight.mean() * fc.weight.min(),
    "loop": lambda x, fc: x * sum(row.sum() for row in fc.weight),
    "softmax": lambda x, fc: x @ tt.softmax(fc.weight),
}

Convert = Callable[[tt.Module], tt.Module]


def qat(model: tt.Module) -> tt.Module:
    prepared = prepare_qat(model)
    prepared(Tensor(X))
    return convert(prepared)


CONVERSIONS: dict[str, Convert] = {
    "dynamic": quantize_dynamic,
    "static": lambda m: quantize_static(m, [X]),
    "prepared": prepare_qat,
    "qat": qat,
}


@pytest.mark.parametrize("conversion", CONVERSIONS)
@pytest.mark.parametrize("read", READS)
def test_model_that_reads_a_weight_is_as_exact_as_its_quantized_layer(read: str, conversion: str) -> None:
    model = Reads(READS[read])
    expected = model(Tensor(X)).data
    actual = CONVERSIONS[conversion](model)(Tensor(X))
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual.data, expected, atol=0.03 * np.abs(expected).max())


@pytest.mark.parametrize("mixed", ["float16", "bfloat16"])
def test_weight_is_read_in_mixed_precision(mixed: str) -> None:
    model = Reads(READS["x @ weight.T"])
    expected = model(Tensor(X)).data
    with tt.autocast(mixed), tt.no_grad():
        actual = quantize_dynamic(model)(Tensor(X)).data.astype(np.float32)
    np.testing.assert_allclose(actual, expected, atol=0.05 * np.abs(expected).max())


def test_trace_of_a_model_that_reads_a_weight_computes_the_same() -> None:
    model = quantize_dynamic(tt.Sequential(Reads(lambda x, fc: x @ fc.weight.T)))
    model[0].fc.forward = lambda x: x  # type: ignore[index]
    np.testing.assert_allclose(trace(model)(X), model(Tensor(X)).data, rtol=1e-5)


def test_convolutions_weight_is_read_as_floats() -> None:
    conv = tt.Conv2d(2, 3, 3)
    quantized: Any = quantize_dynamic(tt.Sequential(conv))
    assert type(quantized[0]) is QuantizedConv2d
    images = Tensor(np.random.default_rng(0).standard_normal((1, 2, 5, 5)).astype(np.float32))
    expected = tt.conv2d(images, conv.weight, conv.bias).data
    np.testing.assert_allclose(tt.conv2d(images, quantized[0].weight, quantized[0].bias).data, expected, atol=0.02)


def test_embeddings_and_positions_are_read_as_floats() -> None:
    model = tt.GPT(vocab_size=11, block_size=8, n_layer=1, n_head=2, n_embd=16)
    quantized: Any = quantize_dynamic(model)
    for name in ("wte", "wpe"):
        weight = getattr(quantized.transformer, name).weight
        assert weight.dtype == np.float32
        np.testing.assert_allclose(weight.data, getattr(model.transformer, name).weight.data, atol=1e-3)


def layer() -> QuantizedLinear:
    quantized: Any = quantize_dynamic(tt.Sequential(tt.Linear(8, 4)))
    return quantized[0]


def test_comparisons_use_the_floats() -> None:
    fc = layer()
    floats = fc.weight.data * fc.weight_scale.data[:, None]
    np.testing.assert_array_equal((fc.weight > 0.1).data, floats > 0.1)
    np.testing.assert_array_equal((Tensor(0.1) >= fc.weight).data, floats <= 0.1)
    np.testing.assert_array_equal(fc.weight.argmax().data, floats.argmax())


def test_stored_integers_stay_visible() -> None:
    fc = layer()
    assert type(fc.weight) is IntegerWeight
    assert fc.weight.dtype == fc.state_dict()["weight"].dtype == np.int8
    assert np.abs(fc.weight.numpy()).max() == 127
    assert fc.weight is vars(fc)["weight"]


def test_operations_follow_replaced_integers_and_scales(tmp_path: Path) -> None:
    first, second = layer(), layer()
    second.load_state_dict(first.state_dict())
    np.testing.assert_array_equal((second.weight * 1).data, (first.weight * 1).data)
    second.weight_scale = Tensor(first.weight_scale.data * 2)
    np.testing.assert_array_equal((second.weight * 1).data, (first.weight * 2).data)
    second.load(first.save(tmp_path / "layer.safetensors"))
    np.testing.assert_array_equal((second.weight * 1).data, (first.weight * 1).data)
    second.weight.data = np.zeros_like(second.weight.data)
    assert not (second.weight * 1).data.any()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
def test_copy_has_its_own_scale(copied: Any) -> None:
    fc = layer()
    other = copied(fc)
    assert other.weight.scale is other.weight_scale is not fc.weight_scale
    np.testing.assert_array_equal((other.weight * 1).data, (fc.weight * 1).data)


def test_loaded_model_reads_floats(tmp_path: Path) -> None:
    model = tt.Sequential(layer())
    loaded: Any = tt.load_model(tt.save_model(model, tmp_path / "model"))
    np.testing.assert_array_equal((loaded[0].weight * 1).data, (model[0].weight * 1).data)  # type: ignore[attr-defined]
