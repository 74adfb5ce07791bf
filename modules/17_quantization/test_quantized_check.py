"""What is float inside cannot hide from verify_quantized, and a check that fails leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinytorch.activations import ReLU, Softmax, gelu
from tinytorch.errors import ShapeError
from tinytorch.layers import Linear, Module, Sequential
from tinytorch.quantization import prepare_qat, quantize_dynamic, quantized_layer, verify_quantized
from tinytorch.tensor import Tensor

X = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
W = np.random.default_rng(1).standard_normal((5, 6)).astype(np.float32)


class Hidden(Module):
    """A quantized layer for show; what counts is `w`, wherever it is kept."""

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
def test_a_class_of_ones_own_is_refused_wherever_its_weights_are(place: str) -> None:
    model = Sequential(Hidden(HIDDEN[place]), ReLU())
    np.testing.assert_allclose(model(Tensor(X)).data, np.maximum(X @ W.T, 0), rtol=1e-5)  # float in all but name
    problems = verify_quantized(model, X)
    assert any("0: Hidden is not a layer of tinytorch" in problem for problem in problems)


def test_matrices_in_lists_and_dictionaries_are_found() -> None:
    for place in ("a list", "a dictionary"):
        assert any("kept of float32, shape (5, 6)" in line for line in verify_quantized(Hidden(HIDDEN[place]), X))


ODD: dict[str, tuple[Callable[[Any], Any], str]] = {
    "an attribute": (lambda m: setattr(m[0], "vector", W[0]), "0: vector, which a QuantizedLinear has not"),
    "on a container": (lambda m: setattr(m, "forward", lambda x: x), "Sequential: forward replaced on the layer"),
    "a list in a list": (lambda m: m.layers.append([W]), "layers of float32, shape (5, 6)"),
    "training for INT8": (lambda m: m.layers.append(prepare_qat(Linear(5, 5))), "3.layer: weight of float32"),
}


@pytest.mark.parametrize("name", ODD)
def test_a_known_layer_holds_what_its_type_holds(name: str) -> None:
    model = quantize_dynamic(Sequential(Linear(6, 5), gelu, Softmax()))
    assert verify_quantized(model, X) == []
    change, said = ODD[name]
    change(model)
    problems = verify_quantized(model, X)
    assert any(said in problem for problem in problems), problems


def test_an_example_that_fails_leaves_the_mode_as_it_was() -> None:
    model = quantize_dynamic(Sequential(Linear(6, 5), Sequential())).train()
    model[1].training = False  # type: ignore[attr-defined]
    with pytest.raises(ShapeError):
        verify_quantized(model, X[:, :3])
    assert [part.training for part in model.modules()] == [True, True, False]
    assert not any("forward" in vars(part) for part in model.modules())
