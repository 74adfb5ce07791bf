"""Module 17: whole models become INT8 ones: calibrated, chained, folded, trained, checked."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch import kernels, onednn
from tinytorch.errors import SettingError
from tinytorch.layers import Dropout, Flatten, Linear, Module, Sequential
from tinytorch.quantization import (
    FakeQuantized,
    convert,
    fold_batch_norm,
    prepare_qat,
    quantize_dynamic,
    quantize_static,
    verify_quantized,
)
from tinytorch.quantized import (
    QuantizedConv2d,
    QuantizedEmbedding,
    QuantizedLayer,
    QuantizedLinear,
    QuantizedPositions,
)
from tinytorch.quantizers import quantize
from tinytorch.spatial import AdaptiveAvgPool2d, BasicBlock, BatchNorm2d, Conv2d, MaxPool2d
from tinytorch.tensor import Array, Tensor
from tinytorch.transformers import GPT

BACKENDS = ["numpy", pytest.param("onednn", marks=pytest.mark.skipif(bool(onednn.why_not()), reason=onednn.why_not()))]
random = np.random.default_rng(0)
IMAGES = random.standard_normal((40, 3, 8, 8)).astype(np.float32)
DIGITS = random.random((64, 4, 6)).astype(np.float32)
TOKENS = random.integers(0, 30, (4, 8))


@pytest.fixture(autouse=True, params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    before = kernels.backend()
    kernels.use_backend(request.param)
    yield request.param
    kernels.use_backend(before)


def mlp() -> Sequential:
    tt.manual_seed(0)
    layers = [Flatten(), Linear(24, 32), tt.ReLU(), Dropout(0.1), Linear(32, 16), tt.relu, Linear(16, 5)]
    return Sequential(*layers)  # type: ignore[arg-type]


def cnn(*, gain: float = 1.0) -> Sequential:
    """Convolution, pooling, norm, ReLU, as the suite's; `gain` is the norm's first scale."""
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
    """A norm that has seen something."""
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
each_model = pytest.mark.parametrize("name", MODELS)


def outputs(model: Module, x: Array) -> Array:
    with tt.no_grad():
        return model.eval()(Tensor(x)).data


def error(model: Module, reference: Array, x: Array) -> float:
    """The largest difference, as a share of the largest output."""
    return float(np.abs(outputs(model, x) - reference).max() / np.abs(reference).max())


def layers_of(model: Module) -> list[QuantizedLayer]:
    return [part for part in model.modules() if isinstance(part, QuantizedLayer)]


# Whole models -----------------------------------------------------------------------------------------


@each_model
@pytest.mark.parametrize("method", ["minmax", "percentile", "mse", "dynamic"])
def test_a_quantized_model_says_nearly_the_same(name: str, method: Any) -> None:
    make, x = MODELS[name]
    model = make().eval()
    reference = outputs(model, x)
    before = {key: value.data.copy() for key, value in model.state_dict().items()}
    quantized = quantize_dynamic(model) if method == "dynamic" else quantize_static(model, [x[:32], x[32:]], method)
    assert 1e-6 < error(quantized, reference, x) < 0.05
    assert verify_quantized(quantized, x) == []
    for key, value in model.state_dict().items():  # the given model is as it was
        np.testing.assert_array_equal(value.data, before[key])
    assert {value.dtype for value in quantized.state_dict().values() if value.ndim > 1} == {np.dtype(np.int8)}


def test_fewer_bits_lose_more() -> None:
    model, reference = mlp(), outputs(mlp(), DIGITS)
    losses = [error(quantize_static(model, [DIGITS], bits=bits), reference, DIGITS) for bits in (8, 6, 4, 2)]
    assert losses == sorted(losses)
    low = quantize_static(model, [DIGITS], bits=3)
    assert all(np.abs(layer.weight.data).max() == 3 for layer in layers_of(low))
    assert verify_quantized(low, DIGITS) == []


def test_chains_pass_integers_and_what_does_nothing_is_gone() -> None:
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


def test_max_pooling_and_flatten_pass_integers_on() -> None:
    quantized = quantize_static(cnn(), [IMAGES])
    assert isinstance(quantized, Sequential)
    x, dtypes = Tensor(IMAGES), []
    for layer in quantized.layers:
        x = layer(x)
        dtypes.append(x.dtype.name)
    assert dtypes == ["uint8"] * (len(quantized) - 1) + ["float32"]


def test_signed_inputs_are_int8_and_blocks_link_their_convolutions() -> None:
    quantized: Any = quantize_static(resnet(), [IMAGES])
    assert quantized[0].input_dtype == "int8"
    block = quantized[1]
    assert block.conv1.relu
    assert block.conv1.output_dtype == block.conv2.input_dtype == "uint8"
    assert block.conv2.output_dtype is None
    assert isinstance(quantized[2].shortcut, QuantizedConv2d)


def test_a_layer_in_two_places_stays_one_and_is_not_chained() -> None:
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
def test_the_backends_agree(name: str) -> None:
    make, x = MODELS[name]
    quantized = quantize_static(make(), [x])
    kernels.use_backend("numpy")
    reference = outputs(copy.deepcopy(quantized), x)
    if not onednn.why_not():
        kernels.use_backend("onednn")
        assert error(copy.deepcopy(quantized), reference, x) < 0.02  # a rounding may fall the other way


def test_a_gpts_table_and_last_product_are_one_int8_weight() -> None:
    model = gpt()
    quantized: Any = quantize_dynamic(model)
    table, places = quantized.transformer.wte, quantized.transformer.wpe
    assert isinstance(table, QuantizedEmbedding)
    assert isinstance(places, QuantizedPositions)
    x = random.standard_normal((2, 16)).astype(np.float32)
    q, row_scale = table.rows.integers(x)
    exact = q.astype(np.int64) @ table.rows.weight.data.astype(np.int64).T
    np.testing.assert_allclose(
        quantized.head(Tensor(x)).data, exact * row_scale * table.rows.weight_scale.data, rtol=1e-5
    )
    vectors = table(TOKENS).data
    wanted = model.transformer.wte(TOKENS).data
    assert np.abs(vectors - wanted).max() <= table.rows.weight_scale.data.max() / 2 * 1.001
    np.testing.assert_allclose(
        places.weight.data, model.transformer.wpe.weight.data, atol=places.weight_scale.data.max()
    )


def test_a_quantized_gpt_writes_and_sees_no_later_token() -> None:
    model: Any = quantize_dynamic(gpt())
    assert model.generate([1, 2, 3], 12, seed=0).shape == (15,)
    other = TOKENS.copy()
    other[:, 5:] = (other[:, 5:] + 1) % 30
    np.testing.assert_array_equal(outputs(model, TOKENS)[:, :5], outputs(model, other)[:, :5])


def test_a_state_dict_fills_another_quantized_model() -> None:
    first, second = quantize_static(mlp(), [DIGITS]), quantize_static(mlp(), [DIGITS * 2])
    assert error(second, outputs(first, DIGITS), DIGITS) > 1e-4
    second.load_state_dict(first.state_dict())
    np.testing.assert_array_equal(outputs(second, DIGITS), outputs(first, DIGITS))


# Batch normalisation ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gain", "left"), [(1.0, 0), (0.0, 0), (-1.0, 1)])
def test_folding_changes_nothing_but_the_layers(gain: float, left: int) -> None:
    model = cnn(gain=gain)
    folded = fold_batch_norm(model)
    assert sum(isinstance(part, BatchNorm2d) for part in folded.modules()) == left
    np.testing.assert_allclose(outputs(folded, IMAGES), outputs(model, IMAGES), atol=1e-5)
    assert error(quantize_static(model, [IMAGES]), outputs(model, IMAGES), IMAGES) < 0.05


def test_folding_inside_blocks_and_not_where_it_would_be_wrong() -> None:
    model = resnet()
    folded = fold_batch_norm(model)
    assert not any(isinstance(part, BatchNorm2d) for part in folded.modules())
    np.testing.assert_allclose(outputs(folded, IMAGES), outputs(model, IMAGES), atol=1e-5)
    shared = Conv2d(3, 3, 1)
    for layers in ([shared, lived(BatchNorm2d(3)), shared], [Conv2d(3, 3, 1), tt.ReLU(), lived(BatchNorm2d(3))]):
        kept = fold_batch_norm(Sequential(*layers))
        assert any(isinstance(part, BatchNorm2d) for part in kept.modules())


# Quantization-aware training ----------------------------------------------------------------------------


def trained(model: Module, x: Array, bits: int = 8, steps: int = 20) -> Module:
    """A few steps of learning by quantization-aware training."""
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
def test_the_converted_model_is_the_one_that_was_trained(name: str, bits: int) -> None:
    make, x = MODELS[name]
    prepared = trained(make(), x, bits)
    reference = outputs(prepared, x)
    quantized = convert(prepared)
    assert verify_quantized(quantized, x) == []
    assert all(layer.input_scale is not None for layer in layers_of(quantized))
    # a sum that lies on a rounding's edge may fall to either side: one step of one number, a small share of an output
    assert error(quantized, reference, x) < 0.02
    assert np.abs(outputs(quantized, x) - reference).mean() < 1e-3 * np.abs(reference).max()


def test_one_converted_layer_gives_the_very_numbers() -> None:
    tt.manual_seed(0)
    prepared: Any = prepare_qat(Linear(24, 7))
    x = random.standard_normal((64, 24)).astype(np.float32)
    prepared(Tensor(x))
    prepared.eval()
    np.testing.assert_allclose(outputs(convert(prepared), 2 * x), outputs(prepared, 2 * x), rtol=1e-5, atol=1e-5)


def test_training_with_few_bits_learns_what_rounding_afterwards_loses() -> None:
    x = random.standard_normal((64, 24)).astype(np.float32)
    targets = np.arange(64) % 5
    tt.manual_seed(0)
    model = Sequential(Linear(24, 32), tt.ReLU(), Linear(32, 5))

    def loss(m: Module) -> float:
        return tt.CrossEntropyLoss()(m.eval()(Tensor(x)), targets).item()

    aware = convert(trained(model, x, bits=2, steps=120))
    assert loss(aware) < loss(quantize_static(model, [x], bits=2)) - 0.2


def test_the_gradient_passes_straight_through_where_nothing_saturates() -> None:
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


def test_ranges_follow_in_training_only_and_are_needed() -> None:
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
