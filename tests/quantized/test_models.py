"""Conversion of whole models to INT8: calibration, chaining, folding, and quantization-aware training."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tests.models import DIGITS, IMAGES, TOKENS, error, gpt, normed_cnn, outputs, resnet, with_statistics
from tinytorch.checks import verify_quantized
from tinytorch.layers import Dropout, Flatten, Linear, Module, Sequential
from tinytorch.native import backend as kernel_backend
from tinytorch.native import library
from tinytorch.quantized import quantize_dynamic, quantize_static
from tinytorch.quantized.layers import QuantizedConv2d, QuantizedLayer, QuantizedLinear
from tinytorch.quantized.tables import QuantizedEmbedding, QuantizedPositions
from tinytorch.tensor import Array, Tensor
from tinytorch.transformers import GPT

pytestmark = pytest.mark.usefixtures("backend")


def mlp() -> Sequential:
    tt.manual_seed(0)
    return Sequential(Flatten(), Linear(24, 32), tt.ReLU(), Dropout(0.1), Linear(32, 16), tt.relu, Linear(16, 5))


def trained_gpt() -> GPT:
    """Build a GPT with larger weights, as if it had been trained."""
    model = gpt()
    for parameter in model.parameters():
        parameter.data = parameter.data * 3
    return model


MODELS: dict[str, tuple[Callable[[], Module], Array]] = {
    "mlp": (mlp, DIGITS),
    "cnn": (normed_cnn, IMAGES),
    "resnet": (lambda: with_statistics(resnet()), IMAGES),
    "gpt": (trained_gpt, TOKENS),
}
each_model = pytest.mark.parametrize("name", MODELS)


def layers_of(model: Module) -> list[QuantizedLayer]:
    return [part for part in model.modules() if isinstance(part, QuantizedLayer)]


@each_model
@pytest.mark.parametrize("method", ["minmax", "percentile", "mse", "dynamic"])
def test_quantized_model_has_nearly_the_same_outputs(name: str, method: Any) -> None:
    make, x = MODELS[name]
    model = make().eval()
    reference = outputs(model, x)
    before = {key: value.data.copy() for key, value in model.state_dict().items()}
    quantized = quantize_dynamic(model) if method == "dynamic" else quantize_static(model, [x[:32], x[32:]], method)
    assert 1e-6 < error(quantized, reference, x) < 0.05
    assert verify_quantized(quantized, x) == []
    for key, value in model.state_dict().items():  # the given model is unchanged
        np.testing.assert_array_equal(value.data, before[key])
    assert {value.dtype for value in quantized.state_dict().values() if value.ndim > 1} == {np.dtype(np.int8)}


def test_fewer_bits_have_larger_errors() -> None:
    model, reference = mlp(), outputs(mlp(), DIGITS)
    losses = [error(quantize_static(model, [DIGITS], bits=bits), reference, DIGITS) for bits in (8, 6, 4, 2)]
    assert losses == sorted(losses)
    low = quantize_static(model, [DIGITS], bits=3)
    assert all(np.abs(layer.weight.data).max() == 3 for layer in layers_of(low))
    assert verify_quantized(low, DIGITS) == []


def test_chains_pass_integers_and_dropout_is_removed() -> None:
    quantized = quantize_static(mlp(), [DIGITS])
    assert isinstance(quantized, Sequential)
    assert [type(layer) for layer in quantized.layers] == [Flatten, *[QuantizedLinear] * 3]
    first, second, last = layers_of(quantized)
    assert (first.relu, second.relu, last.relu) == (True, True, False)
    assert [layer.input_dtype for layer in (first, second, last)] == ["uint8"] * 3
    assert last.output_scale is None
    for layer, following in pairwise((first, second, last)):
        assert layer.output_scale is not None
        assert following.input_scale is not None
        assert layer.output_scale.data == following.input_scale.data
    assert quantized.layers[1](quantized.layers[0](Tensor(DIGITS))).dtype == np.uint8


def test_max_pooling_and_flatten_pass_integers_through() -> None:
    quantized = quantize_static(normed_cnn(), [IMAGES])
    assert isinstance(quantized, Sequential)
    x, dtypes = Tensor(IMAGES), []
    for layer in quantized.layers:
        x = layer(x)
        dtypes.append(x.dtype.name)
    assert dtypes == ["uint8"] * (len(quantized) - 1) + ["float32"]


def test_signed_inputs_are_int8_and_blocks_link_their_convolutions() -> None:
    quantized: Any = quantize_static(with_statistics(resnet()), [IMAGES])
    assert quantized[0].input_dtype == "int8"
    block = quantized[1]
    assert block.conv1.relu
    assert block.conv1.output_dtype == block.conv2.input_dtype == "uint8"
    assert block.conv2.output_dtype is None
    assert isinstance(quantized[2].shortcut, QuantizedConv2d)


def test_layer_used_twice_stays_shared_and_is_not_chained() -> None:
    tt.manual_seed(0)
    shared = Linear(24, 24)
    model = Sequential(shared, tt.ReLU(), shared, Linear(24, 3))
    x = DIGITS.reshape(64, 24)
    quantized: Any = quantize_static(model, [x])
    assert quantized[0] is quantized[2]
    assert quantized[0].output_scale is None
    assert not quantized[0].relu
    assert error(quantized, outputs(model, x), x) < 0.05


@each_model
def test_backends_agree(name: str) -> None:
    make, x = MODELS[name]
    quantized = quantize_static(make(), [x])
    kernel_backend.use_backend("numpy")
    reference = outputs(copy.deepcopy(quantized), x)
    if not library.why_not():
        kernel_backend.use_backend("onednn")
        assert error(copy.deepcopy(quantized), reference, x) < 0.02  # a value may round in the other direction


def test_embedding_and_output_projection_of_a_gpt_share_one_int8_weight() -> None:
    model = trained_gpt()
    quantized: Any = quantize_dynamic(model)
    table, positions = quantized.transformer.wte, quantized.transformer.wpe
    assert isinstance(table, QuantizedEmbedding)
    assert isinstance(positions, QuantizedPositions)
    x = np.random.default_rng(0).standard_normal((2, 16)).astype(np.float32)
    q, row_scale = table.rows.integers(x)
    exact = q.astype(np.int64) @ table.rows.weight.data.astype(np.int64).T
    np.testing.assert_allclose(
        quantized.head(Tensor(x)).data, exact * row_scale * table.rows.weight_scale.data, rtol=1e-5
    )
    vectors = table(TOKENS).data
    expected = model.transformer.wte(TOKENS).data
    assert np.abs(vectors - expected).max() <= table.rows.weight_scale.data.max() / 2 * 1.001
    np.testing.assert_allclose(
        positions.weight.data, model.transformer.wpe.weight.data, atol=positions.weight_scale.data.max()
    )


def test_quantized_gpt_generates_and_is_causal() -> None:
    model: Any = quantize_dynamic(trained_gpt())
    assert model.generate([1, 2, 3], 12, seed=0).shape == (15,)
    other = TOKENS.copy()
    other[:, 5:] = (other[:, 5:] + 1) % 30
    np.testing.assert_array_equal(outputs(model, TOKENS)[:, :5], outputs(model, other)[:, :5])


def test_state_dict_loads_into_another_quantized_model() -> None:
    first, second = quantize_static(mlp(), [DIGITS]), quantize_static(mlp(), [DIGITS * 2])
    assert error(second, outputs(first, DIGITS), DIGITS) > 1e-4
    second.load_state_dict(first.state_dict())
    np.testing.assert_array_equal(outputs(second, DIGITS), outputs(first, DIGITS))
