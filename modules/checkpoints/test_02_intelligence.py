"""Checkpoint 02: can I add nonlinearity? Two matrices fold into one; with an activation between them they solve XOR."""

from __future__ import annotations

import numpy as np

from tinytorch.activations import gelu, log_softmax, relu, sigmoid, softmax, tanh
from tinytorch.tensor import Tensor

POINTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
HIDDEN, SHIFT = np.array([[1, 1], [1, 1]], np.float32), np.array([0, -1], np.float32)
OUT = np.array([[1], [-2]], np.float32)


def test_without_an_activation_two_layers_are_one() -> None:
    x = Tensor(POINTS)
    two = (x @ Tensor(HIDDEN) + SHIFT) @ Tensor(OUT)
    one = x @ Tensor(HIDDEN @ OUT) + SHIFT @ OUT
    np.testing.assert_allclose(two.numpy(), one.numpy())


def test_relu_between_two_layers_solves_xor() -> None:
    y = relu(Tensor(POINTS) @ Tensor(HIDDEN) + SHIFT) @ Tensor(OUT)
    np.testing.assert_array_equal(y.numpy()[:, 0], [0, 1, 1, 0])


def test_large_inputs_do_not_overflow() -> None:
    x = Tensor(np.array([-1000.0, -1.0, 0.0, 1.0, 1000.0]))
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        np.testing.assert_allclose(sigmoid(x).numpy(), [0, 0.26894142, 0.5, 0.73105858, 1], atol=1e-8)
        np.testing.assert_allclose(softmax(x).numpy().sum(), 1)
        np.testing.assert_allclose(log_softmax(x).numpy(), [-2000, -1001, -1000, -999, 0])


def test_smooth_activations_follow_their_formulas() -> None:
    x = np.linspace(-3, 3, 25)
    np.testing.assert_allclose(2 * sigmoid(Tensor(2 * x)).numpy() - 1, tanh(Tensor(x)).numpy(), atol=1e-12)
    bend = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    np.testing.assert_allclose(gelu(Tensor(x)).numpy(), 0.5 * x * (1 + np.tanh(bend)), atol=1e-6)


def test_scores_become_probabilities_along_any_dimension() -> None:
    scores = Tensor(np.random.default_rng(3).standard_normal((4, 5)))
    np.testing.assert_allclose(softmax(scores, dim=0).numpy().sum(axis=0), np.ones(5))
    np.testing.assert_allclose(np.exp(log_softmax(scores).numpy()), softmax(scores).numpy())
    assert (softmax(scores).numpy().argmax(axis=1) == scores.numpy().argmax(axis=1)).all()
