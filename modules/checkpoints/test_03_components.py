"""Checkpoint 03: can I build network layers? A network of layers counts, saves, and switches its parts."""

from __future__ import annotations

import numpy as np

from tinytorch.activations import relu
from tinytorch.base.random import manual_seed
from tinytorch.layers import Dropout, Linear, Module, Sequential
from tinytorch.tensor import Tensor


class Residual(Module):
    """A block inside a network, with layers of its own."""

    def __init__(self, width: int) -> None:
        self.inner = Sequential(Linear(width, width), relu, Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


def network(seed: int) -> Sequential:
    manual_seed(seed)
    return Sequential(Linear(5, 8), relu, Residual(8), Linear(8, 3))


def samples() -> np.ndarray:
    return np.random.default_rng(4).standard_normal((7, 5)).astype(np.float32)  # (N, 5)


def test_a_network_names_and_counts_its_parameters() -> None:
    sizes = {name: parameter.numel() for name, parameter in network(0).named_parameters()}
    assert sizes == {
        "0.weight": 40,
        "0.bias": 8,
        "2.inner.0.weight": 64,
        "2.inner.0.bias": 8,
        "3.weight": 24,
        "3.bias": 3,
    }


def test_a_network_computes_what_its_matrices_say() -> None:
    model = network(0).eval()
    values = {name: parameter.numpy().astype(np.float64) for name, parameter in model.named_parameters()}
    h = np.maximum(samples() @ values["0.weight"].T + values["0.bias"], 0)
    h = h + np.maximum(h @ values["2.inner.0.weight"].T + values["2.inner.0.bias"], 0)
    expected = h @ values["3.weight"].T + values["3.bias"]
    np.testing.assert_allclose(model(Tensor(samples())).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_weights_begin_small_and_different() -> None:
    manual_seed(1)
    weight = Linear(100, 50).weight.numpy()
    assert np.abs(weight).max() <= 1 / 10, "PyTorch's Linear begins within 1 / sqrt(in_features)"
    assert np.unique(weight).size > 4000
    assert abs(weight.std() - 0.1 / np.sqrt(3)) < 0.003


def test_dropout_works_only_in_training() -> None:
    model = network(0)
    x = Tensor(samples())
    assert not np.array_equal(model.train()(x).numpy(), model(x).numpy())
    np.testing.assert_array_equal(model.eval()(x).numpy(), model(x).numpy())
    manual_seed(2)
    dropped = Dropout(0.25)(Tensor(np.ones(10_000, np.float32))).numpy()
    np.testing.assert_allclose(np.unique(dropped), [0, 4 / 3], rtol=1e-6)
    assert abs(dropped.mean() - 1) < 0.03, "what is kept is scaled, so that the mean stays"


def test_a_network_continues_from_the_weights_of_another() -> None:
    one, other, x = network(0).eval(), network(9).eval(), Tensor(samples())
    assert not np.array_equal(one(x).numpy(), other(x).numpy())
    other.load_state_dict(one.state_dict())
    np.testing.assert_array_equal(one(x).numpy(), other(x).numpy())
