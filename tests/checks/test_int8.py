"""verify_quantized detects hidden float arithmetic and leaves the model unchanged, even if a check fails."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tests.models import DIGITS, IMAGES, QUANTIZED, cnn, mlp, outputs, static_mlp
from tinytorch.activations import ReLU, Softmax, gelu
from tinytorch.base.errors import ShapeError
from tinytorch.checks import verify_quantized
from tinytorch.layers import Linear, Module, Parameter, Sequential
from tinytorch.quantized import quantize_dynamic, quantize_static
from tinytorch.quantized.layers import QuantizedConv2d, QuantizedLayer, QuantizedLinear
from tinytorch.quantized.models import prepare_qat, quantized_layer
from tinytorch.quantized.tables import QuantizedEmbedding
from tinytorch.tensor import Array, Tensor

pytestmark = pytest.mark.usefixtures("backend")

X = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
W = np.random.default_rng(1).standard_normal((5, 6)).astype(np.float32)


class Hidden(Module):
    """A layer that is quantized in name only: it computes with a float weight, wherever that is stored."""

    def __init__(self, kept: Any) -> None:
        self.q, self.kept = quantized_layer(Linear(6, 5), 8), kept

    def forward(self, x: Tensor) -> Tensor:
        held = self.kept["w"] if isinstance(self.kept, dict) else self.kept
        w = held() if callable(held) else held.data if isinstance(held, Tensor) else held[0]
        return self.q(x) * 0.0 + Tensor(x.data @ np.asarray(w).reshape(5, 6).T)


HIDDEN: dict[str, Any] = {
    "a list": [W],
    "a dictionary": {"w": [W]},
    "a vector": Tensor(W.reshape(-1)),
    "a closure": lambda: W,
    "numbers": [W.tolist()],
}


@pytest.mark.parametrize("place", HIDDEN)
def test_custom_class_is_rejected_wherever_its_weights_are(place: str) -> None:
    model = Sequential(Hidden(HIDDEN[place]), ReLU())
    np.testing.assert_allclose(model(Tensor(X)).data, np.maximum(X @ W.T, 0), rtol=1e-5)  # float arithmetic
    problems = verify_quantized(model, X)
    assert any("0: Hidden is not a layer of tinytorch" in problem for problem in problems)


def test_matrices_in_lists_and_dictionaries_are_found() -> None:
    for place in ("a list", "a dictionary"):
        assert any("kept of float32, shape (5, 6)" in line for line in verify_quantized(Hidden(HIDDEN[place]), X))


ODD: dict[str, tuple[Callable[[Any], Any], str]] = {
    "an attribute": (lambda m: setattr(m[0], "vector", W[0]), "0: vector, which a QuantizedLinear does not have"),
    "on a container": (lambda m: setattr(m, "forward", lambda x: x), "Sequential: forward replaced on the layer"),
    "a list in a list": (lambda m: m.layers.append([W]), "layers of float32, shape (5, 6)"),
    "training for INT8": (lambda m: m.layers.append(prepare_qat(Linear(5, 5))), "3.layer: weight of float32"),
}


@pytest.mark.parametrize("name", ODD)
def test_known_layer_with_unexpected_contents_is_detected(name: str) -> None:
    model = quantize_dynamic(Sequential(Linear(6, 5), gelu, Softmax()))
    assert verify_quantized(model, X) == []
    change, said = ODD[name]
    change(model)
    problems = verify_quantized(model, X)
    assert any(said in problem for problem in problems), problems


def test_failing_example_keeps_the_mode() -> None:
    model: Any = quantize_dynamic(Sequential(Linear(6, 5), Sequential())).train()
    model[1].training = False
    with pytest.raises(ShapeError):
        verify_quantized(model, X[:, :3])
    assert [part.training for part in model.modules()] == [True, True, False]
    assert not any("forward" in vars(part) for part in model.modules())


@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet", "gpt", "dynamic", "one"])
def test_quantized_models_pass_the_check(name: str) -> None:
    make, x = QUANTIZED[name]
    model = make()
    assert verify_quantized(model, x) == []
    assert "forward" not in {key for part in model.modules() for key in vars(part)}  # the check removes its hooks


class RoundedFloats(Linear):
    """A layer that is quantized in name only: it computes in float32 with rounded weights."""

    def __init__(self, layer: Linear) -> None:
        super().__init__(layer.in_features, layer.out_features)
        scale = np.abs(layer.weight.data).max(axis=1, keepdims=True) / 127
        self.weight = Parameter(np.rint(layer.weight.data / scale) * scale)


class Disguised(QuantizedLinear):
    """A layer that has INT8 weights but computes in float32."""

    def outputs(self, x: Array) -> Array:
        return x.astype(np.float32) @ (self.weight.data * self.weight_scale.data[:, None]).T.astype(np.float32)


def planted(change: Callable[[Any], None]) -> list[str]:
    model = static_mlp()
    change(model)
    return verify_quantized(model, DIGITS)


def disguise(model: Any) -> None:
    layer = Disguised(16, 5, input_dtype="uint8")
    layer.load_state_dict(model[-1].state_dict())
    model.layers[-1] = layer


def replace_kernel(model: Any, name: str, wrong: Callable[..., Any]) -> None:
    """Replace a method of the last layer's prepared kernel, while the layer's class stays correct."""
    outputs(model, DIGITS)
    setattr(model[-1].kernel(), name, wrong)


CHEATS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a float layer": (lambda m: m.layers.__setitem__(-1, Linear(16, 5)), "weight of float32"),
    "rounded floats": (lambda m: m.layers.__setitem__(-1, RoundedFloats(mlp()[-1])), "weight of float"),  # type: ignore[arg-type]
    "a subclass": (disguise, "Disguised is not a layer"),
    "float weights inside": (lambda m: setattr(m[-1].weight, "data", m[-1].weight.data.astype(np.float32)), "int8"),
    "a hidden matrix": (lambda m: setattr(m[-1], "secret", np.ones((5, 16), np.float32)), "secret of float32"),
    "a replaced method": (lambda m: setattr(m[-1], "outputs", lambda x: x[:, :5] * 1.0), "outputs replaced"),
    "a function": (lambda m: m.layers.append(lambda x: x @ np.eye(5, dtype=np.float32)), "neither a layer"),
    "other sums": (lambda m: replace_kernel(m, "accumulate", lambda q: np.ones((len(q), 5), np.int32)), "its sums"),
    "float sums": (
        lambda m: replace_kernel(m, "accumulate", lambda q: q @ m[-1].weight.data.T.astype(float)),
        "its sums",
    ),
    "other outputs": (
        lambda m: replace_kernel(m, "finished", lambda q, s: np.ones((len(q), 5), np.float32)),
        "its output",
    ),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_planted_cheat_is_detected(cheat: str) -> None:
    change, said = CHEATS[cheat]
    problems = planted(change)
    assert any(said in problem for problem in problems), problems


def test_stale_weights_and_unused_layers_are_detected() -> None:
    model = static_mlp()
    outputs(model, DIGITS)
    model[1].weight.data[:] = 1  # written in place: the prepared kernel still has the old weights
    assert any("its sums" in problem for problem in verify_quantized(model, DIGITS))

    words = Sequential(QuantizedEmbedding(9, 4), QuantizedLinear(4, 2))  # the embedding is never multiplied
    assert verify_quantized(words, np.arange(9)[None]) == ["0.rows: the example did not reach it"]


def test_unquantized_model_and_wrong_convolution_are_reported() -> None:
    assert verify_quantized(Sequential(tt.ReLU()), DIGITS) == ["no quantized layer: expected at least one"]
    model: Any = quantize_static(cnn(), [IMAGES])
    outputs(model, IMAGES)
    kernel = model[0].kernel()
    original = kernel.finished
    kernel.finished = lambda q, scale, window: original(q, scale, window) // 2
    assert isinstance(model[0], QuantizedConv2d)
    assert verify_quantized(model, IMAGES) == ["0: its output is not that of integer arithmetic on its int8 weights"]


def test_check_leaves_the_model_unchanged() -> None:
    model = static_mlp().train()
    before = copy.deepcopy(model.state_dict())
    verify_quantized(model, DIGITS)
    assert all(part.training for part in model.modules())
    assert all(np.array_equal(value.data, before[name].data) for name, value in model.state_dict().items())
    assert all(type(part) is not Disguised for part in model.modules() if isinstance(part, QuantizedLayer))
