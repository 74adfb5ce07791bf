"""tinytorch.onnx.export: any model of known layers, run by ONNX Runtime, returns what the model returns."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinytorch as tt
from tests.models import (
    DIGITS,
    IMAGES,
    TOKENS,
    cnn,
    gpt,
    lively,
    mlp,
    normed_cnn,
    outputs,
    resnet,
    text,
    with_statistics,
)
from tests.onnx.sample import error, loaded
from tinytorch.layers import Dropout, Flatten, Linear, Module, Sequential
from tinytorch.onnx.export import OPSETS, exported
from tinytorch.onnx.session import session
from tinytorch.quantized import prepare_qat, quantize_dynamic, quantize_static
from tinytorch.spatial import AdaptiveAvgPool2d, AvgPool2d, BasicBlock, BatchNorm2d, Conv2d, MaxPool2d
from tinytorch.tensor import Array, Tensor

FLOAT: dict[str, tuple[Callable[[], Module], Array, dict[str, Any]]] = {
    "mlp": (mlp, DIGITS, {"input_shape": (4, 6)}),
    "cnn": (cnn, IMAGES, {}),
    "normed cnn": (normed_cnn, IMAGES, {}),
    "resnet": (lambda: with_statistics(resnet()), IMAGES, {}),
    "gpt": (gpt, TOKENS, {}),
    "gpt with biases": (lambda: lively(bias=True), text(3), {}),
}


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("name", FLOAT)
def test_float_model_returns_the_same_in_every_opset(name: str, opset: int) -> None:
    make, x, given = FLOAT[name]
    assert error(make(), x, opset=opset, **given) < 1e-5


@pytest.mark.parametrize("name", FLOAT)
def test_batches_of_any_size_go_through_one_file(name: str) -> None:
    make, x, given = FLOAT[name]
    model = make()
    run = session(model, threads=1, **given)
    counts = (1, 3, len(x)) if name == "resnet" else (1, 3, len(x), 0)  # ONNX Runtime 1.20 fails for no image there
    for count in counts:
        np.testing.assert_allclose(run(x[:count]), outputs(model, x[:count]), rtol=1e-4, atol=1e-5)


def test_texts_of_any_length_up_to_the_block_go_through_one_file() -> None:
    model = lively()
    run, last = session(model, threads=1), session(model, threads=1, next_token=True)
    for length in range(1, model.block_size + 1):
        tokens = text(2, length)
        np.testing.assert_allclose(run(tokens), outputs(model, tokens), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(last(tokens), model.next_logits(tokens), rtol=1e-4, atol=1e-4)


def test_images_of_any_size_go_through_one_file_unless_their_size_is_given() -> None:
    model = resnet()
    run, images = session(model, threads=1), np.random.default_rng(0).random((2, 3, 20, 12), np.float32)
    np.testing.assert_allclose(run(images), outputs(model, images), rtol=1e-4, atol=1e-5)
    fixed = session(model, threads=1, input_shape=(3, 8, 8))
    with pytest.raises(tt.ShapeError, match=r"of shape \(2, 3, 20, 12\): expected \(batch, 3, 8, 8\)$"):
        fixed(images)


# Random models ----------------------------------------------------------------------------------------

Draw = Callable[[st.SearchStrategy[Any]], Any]
ACTIVATIONS: list[Any] = [tt.ReLU, tt.GELU, tt.Tanh, tt.Sigmoid, lambda: tt.relu, lambda: tt.softmax, tt.LogSoftmax]


@st.composite
def dense(draw: Draw) -> tuple[Sequential, tuple[int, ...]]:
    """Build linear layers for inputs of one or two dimensions."""
    sizes = draw(st.lists(st.integers(1, 9), min_size=2, max_size=4))
    layers: list[Any] = []
    for into, out in pairwise(sizes):
        layers += [Linear(into, out, draw(st.booleans())), draw(st.sampled_from(ACTIVATIONS))()]
        layers += [Dropout(0.5)] * draw(st.booleans())
    return Sequential(*layers), (*draw(st.sampled_from([(), (3,)])), sizes[0])


@st.composite
def vision(draw: Draw) -> tuple[Sequential, tuple[int, ...]]:
    """Build convolutions, pools, norms, and blocks, and possibly a head, for images of 6 to 9 pixels."""
    given = (2 * draw(st.integers(1, 2)), draw(st.integers(6, 9)), draw(st.integers(6, 9)))
    layers: list[Any] = []
    shape: tuple[int, ...] = given
    for _ in range(draw(st.integers(1, 4))):
        layers += [draw(one_layer(shape[0])), *draw(st.sampled_from([[], [tt.ReLU()], [tt.GELU()]]))]
        shape = outputs(Sequential(*layers), np.zeros((1, *given), np.float32)).shape[1:]
    if draw(st.booleans()):
        layers += [Flatten(), Linear(int(np.prod(shape)), 3)]
    return Sequential(*layers), given


@st.composite
def one_layer(draw: Draw, channels: int) -> Any:
    """Build one layer for images with this even number of channels."""
    out, stride = 2 * draw(st.integers(1, 3)), draw(st.sampled_from([1, 2]))
    return draw(
        st.sampled_from(
            [
                Conv2d(channels, out, (3, 2), stride, (1, 2), (1, 2)),
                Conv2d(channels, out, 2, stride, 1, groups=2),
                with_statistics(BatchNorm2d(channels)),
                MaxPool2d(2, draw(st.sampled_from([None, 1])), 1),
                AvgPool2d((2, 3), draw(st.sampled_from([None, 1])), 1),
                AdaptiveAvgPool2d(draw(st.sampled_from([1, 2, (3, 2)]))),
                with_statistics(BasicBlock(channels, out, stride)),
                Sequential(Conv2d(channels, out, 1, bias=False), Sequential(tt.relu)),
            ]
        )
    )


@settings(max_examples=60, deadline=None)
@given(
    made=st.one_of(dense(), vision()), opset=st.sampled_from(OPSETS), kind=st.sampled_from(["", "dynamic", "static"])
)
def test_random_models_return_what_they_return_here(
    made: tuple[Sequential, tuple[int, ...]], opset: int, kind: str
) -> None:
    model, shape = made
    x = np.random.default_rng(0).standard_normal((5, *shape), np.float32)
    if kind:
        model = quantize_dynamic(model) if kind == "dynamic" else quantize_static(model, [x])  # type: ignore[assignment]
    # INT8: rounding turns a difference in the last bit into a neighboring integer, 1 of 127, in each layer
    assert error(model.eval(), x, input_shape=shape, opset=opset) < (0.05 if kind else 1e-4)


# The file ---------------------------------------------------------------------------------------------


def test_file_has_names_metadata_and_the_weights_of_the_state_dict(tmp_path: Path) -> None:
    model = gpt()
    path = tt.onnx.export(model, tmp_path / "new" / "gpt.onnx", metadata={"license": "MIT"})
    assert path == tmp_path / "new" / "gpt.onnx"
    import onnx

    file = onnx.load(path)
    (given,), (result,) = file.graph.input, file.graph.output
    sizes = [dim.dim_param for dim in given.type.tensor_type.shape.dim]
    assert (given.name, result.name, sizes) == ("tokens", "logits", ["batch", "sequence"])
    assert (file.producer_name, file.producer_version) == ("tinytorch", tt.__version__)
    found = {entry.key: entry.value for entry in file.metadata_props}
    assert found == {"tinytorch.model": "GPT, float32, 6832 numbers", "license": "MIT"}
    stored = {array.name: onnx.numpy_helper.to_array(array) for array in file.graph.initializer}
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(stored[name], tensor.data)


def test_names_can_be_chosen_but_not_taken() -> None:
    file = loaded(Linear(2, 3), input_name="features", output_name="score")
    assert [file.graph.input[0].name, file.graph.output[0].name] == ["features", "score"]
    for name in ("weight", "Gemm_0", ""):
        with pytest.raises(tt.SettingError, match=f"the name '{name}' for an input or output"):
            exported(Linear(2, 3), output_name=name or "", input_name=name or None)


def test_model_is_not_changed() -> None:
    model = with_statistics(resnet()).train()
    state = {name: tensor.data.copy() for name, tensor in model.state_dict().items()}
    exported(model)
    assert all(part.training for part in model.modules())
    assert all(np.array_equal(state[name], tensor.data) for name, tensor in model.state_dict().items())


def test_shared_layers_are_stored_once() -> None:
    layer = Linear(4, 4)
    model = Sequential(layer, tt.ReLU(), layer)
    x = np.random.default_rng(0).standard_normal((3, 4), np.float32)
    assert error(model, x) < 1e-6
    assert len(loaded(model).graph.initializer) == 2


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_weights_of_16_bits_stay_16_bits(dtype: str) -> None:
    from tinytorch.base.dtypes import numpy_dtype

    model = mlp()
    for parameter in model.parameters():
        parameter.data = parameter.data.astype(numpy_dtype(dtype))
    size, whole = len(exported(model, input_shape=(4, 6))), len(exported(mlp(), input_shape=(4, 6)))
    assert size < 0.75 * whole
    assert error(model, DIGITS, input_shape=(4, 6)) < 1e-5


# Refusals ---------------------------------------------------------------------------------------------


class Own(Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


def with_attribute() -> Module:
    layer = Linear(2, 2)
    layer.forward = lambda x: x  # type: ignore[method-assign]
    return layer


REFUSED: dict[str, tuple[Callable[[], Any], dict[str, Any], str]] = {
    "own module": (lambda: Sequential(Linear(2, 2), Own()), {}, r"model.layers\[1\]: Own is not one of the layers"),
    "own function": (lambda: Sequential(Linear(2, 2), tt.exp), {}, r"model.layers\[1\]: exp is not one of"),
    "longer class": (lambda: Sequential(Linear(2, 2), tt.nn.Mish()), {}, r"\[1\]: tinytorch.nn.Mish is not one of"),
    "simulated rounding": (lambda: prepare_qat(Linear(2, 2)), {}, "FakeQuantized .* call quantized.convert first"),
    "attribute": (with_attribute, {}, "this Linear has the attribute forward, unlike others"),
    "not a module": (lambda: tt.relu, {}, "function: expected a Module"),
    "old opset": (lambda: Linear(2, 2), {"opset": 16}, "opset 16: expected 17 to 21"),
    "new opset": (lambda: Linear(2, 2), {"opset": 22}, "opset 22: expected 17 to 21"),
    "no shape": (mlp, {}, "the first layer, Flatten, does not say the shape of an input: pass input_shape"),
    "empty": (Sequential, {}, "model: it has no layer"),
    "negative shape": (mlp, {"input_shape": (4, -6)}, r"input_shape \(4, -6\): expected positive integers"),
    "other shape": (
        mlp,
        {"input_shape": (5, 5)},
        r"layers\[1\]: an input of shape \(batch, 25\): expected \(..., 24\)",
    ),
    "other channels": (cnn, {"input_shape": (4, 8, 8)}, r"images of shape \(batch, 4, 8, 8\): expected 3 channels"),
    "small images": (cnn, {"input_shape": (3, 2, 2)}, "expected larger images"),
    "long text": (gpt, {"input_shape": (9,)}, "expected at most 8 positions"),
    "next token": (mlp, {"next_token": True}, "next_token with a Sequential: expected a GPT"),
    "open sections": (lambda: Sequential(Conv2d(3, 4, 1), AdaptiveAvgPool2d(2)), {}, "pass input_shape"),
    "float64": (
        lambda: as_dtype(Linear(2, 2), np.float64),
        {},
        "^ONNX export: model: weights of dtype float64: expected f",
    ),
    "int64": (lambda: as_dtype(Linear(2, 2), np.int64), {}, "^ONNX export: model: weights of dtype int64: expected"),
    "only dropout": (lambda: Sequential(Dropout(0.5)), {}, "it has no layer that computes anything"),
    "longer setting": (
        lambda: Sequential(tt.nn.Conv2d(3, 3, 3, padding_mode="reflect")),
        {},
        "tinytorch.nn.Conv2d is not one of .*: it has a setting that the course's Conv2d lacks",
    ),
    "itself": (lambda: containing_itself(), {}, "the model contains itself, or its parts are nested too deep"),
    "no weight": (
        lambda: changed(weight=None),
        {},
        r"layers\[1\]: weight is None: expected a Tensor of shape \(2, 2\)",
    ),
    "no first weight": (lambda: changed(weight=None).layers[1], {}, "model: weight is None: expected a Tensor"),
    "large weight": (
        lambda: changed(weight=tt.Tensor(np.ones((2, 2, 1), np.float32))),
        {},
        r"weight has shape \(2, 2, 1\): expected \(2, 2\)",
    ),
    "long bias": (
        lambda: changed(bias=tt.Tensor(np.ones(3, np.float32))),
        {},
        r"bias has shape \(3,\): expected \(2,\)",
    ),
    "array as bias": (lambda: changed(bias=np.ones(2)), {}, "bias is an array: expected a Tensor"),
    "no eps": (lambda: without_eps(), {}, r"model: a setting or part of this layer does not fit \("),
    "other sum": (lambda: other_sum(), {}, r"a sum of shapes \(batch, 4, height"),
}


def as_dtype(layer: Linear, dtype: Any) -> Linear:
    layer.weight.data = layer.weight.data.astype(dtype)
    return layer


def changed(**attributes: Any) -> Any:
    layer = Linear(2, 2)
    for name, value in attributes.items():
        object.__setattr__(layer, name, value)
    return Sequential(Linear(2, 2), layer)


def containing_itself() -> Sequential:
    model = Sequential(Linear(2, 2))
    model.layers.append(model)
    return model


def without_eps() -> BatchNorm2d:
    layer: Any = BatchNorm2d(3)
    layer.eps = None
    return layer


def other_sum() -> Sequential:
    block: Any = BasicBlock(4, 4)
    block.shortcut = Conv2d(4, 6, 1)
    return Sequential(Conv2d(3, 4, 1), block)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_exported_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    make, given, problem = REFUSED[name]
    with pytest.raises(tt.SettingError, match=problem) as caught:
        tt.onnx.export(make(), tmp_path / "model.onnx", **given)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
