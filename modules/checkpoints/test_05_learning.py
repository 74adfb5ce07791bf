"""Checkpoint 05: can I compute gradients? Each gradient of a network is compared with small changes of its weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinytorch.activations import gelu, relu, sigmoid, softmax
from tinytorch.autograd import no_grad
from tinytorch.layers import Module
from tinytorch.losses import cross_entropy, mse_loss
from tinytorch.tensor import Tensor, cat


def assert_gradients(loss: Callable[..., Tensor], *values: np.ndarray, eps: float = 1e-6) -> None:
    """Compare the gradient of each input with central differences of the loss, in float64."""
    inputs = [Tensor(value.copy(), requires_grad=True) for value in values]
    loss(*inputs).backward()
    for i, tensor in enumerate(inputs):
        assert tensor.grad is not None, f"input {i} got no gradient"
        expected = np.empty_like(values[i])
        for place in np.ndindex(values[i].shape):
            ends = []
            for step in (eps, -eps):
                changed = [value.copy() for value in values]
                changed[i][place] += step
                ends.append(loss(*map(Tensor, changed)).item())
            expected[place] = (ends[0] - ends[1]) / (2 * eps)
        np.testing.assert_allclose(tensor.grad.numpy(), expected, rtol=1e-4, atol=1e-6, err_msg=f"input {i}")


def draw(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(8)
    return [rng.standard_normal(shape) for shape in shapes]


def test_gradients_of_a_classifier() -> None:
    x, labels = draw((5, 3))[0], np.array([0, 1, 2, 1, 0])

    def loss(w1: Tensor, b1: Tensor, w2: Tensor) -> Tensor:
        return cross_entropy(relu(Tensor(x) @ w1 + b1) @ w2, labels)

    assert_gradients(loss, *draw((3, 4), (4,), (4, 3)))


def test_gradients_through_shapes_broadcasting_and_reuse() -> None:
    def loss(a: Tensor, b: Tensor) -> Tensor:
        mixed = cat([a.transpose(0, 1), a.T * b], dim=1) / (b * b + 1)  # (3, 4) / (3, 1)
        return (mixed.reshape(2, 6)[:, 1:] * sigmoid(mixed.sum())).mean() + (a**2).max()

    assert_gradients(loss, *draw((2, 3), (3, 1)))


def test_gradients_of_a_small_attention() -> None:
    def loss(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return mse_loss(gelu(softmax(q @ k.T) @ v), np.ones((3, 2)))

    assert_gradients(loss, *draw((3, 2), (4, 2), (4, 2)))


def test_gradients_add_up_until_they_are_cleared() -> None:
    x = Tensor(np.array([2.0, 3.0]), requires_grad=True)
    for times in (1, 2):
        (x * x).sum().backward()
        assert x.grad is not None
        np.testing.assert_allclose(x.grad.numpy(), times * 2 * x.numpy())


def test_a_long_chain_needs_no_deep_recursion() -> None:
    x = y = Tensor(np.array(1.0), requires_grad=True)
    for _ in range(5000):
        y = y + 0.001
    y.backward()
    assert x.grad is not None
    assert x.grad.item() == 1


def test_nothing_is_recorded_where_no_gradient_is_needed() -> None:
    x = Tensor(np.array(1.0), requires_grad=True)
    with no_grad():
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad
    assert Module().parameters() == []
