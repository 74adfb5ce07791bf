"""The perceptron: one layer, one output, trained by Rosenblatt's rule or by gradient descent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import tinytorch as tt
from tinytorch import datasets, inference


class Data(NamedTuple):
    train_x: np.ndarray  # (N, features), float32
    train_y: np.ndarray  # (N,), 0 or 1
    test_x: np.ndarray
    test_y: np.ndarray


def load(parameters: dict[str, Any]) -> Data:
    """Load points that a line separates, or MNIST's zeros and ones."""
    if parameters["data"] == "points":
        return separable_points(parameters["samples"], parameters["margin"])
    mnist = datasets.mnist()
    train_x, train_y = zeros_and_ones(mnist.train_images, mnist.train_labels)
    return Data(train_x, train_y, *zeros_and_ones(mnist.test_images, mnist.test_labels))


def separable_points(samples: int, margin: float) -> Data:
    """Draw points in [-1, 1]^2, at least margin / 2 from the line x + 2y = 0.2 that separates the two classes."""
    rng = np.random.default_rng(1957)
    points = rng.uniform(-1, 1, (8 * samples, 2)).astype(np.float32)
    side = (points @ np.array([1, 2], np.float32) - 0.2) / np.sqrt(5)  # signed distance from the line
    far = np.abs(side) >= margin / 2
    x, y = points[far][: 2 * samples], (side[far][: 2 * samples] > 0).astype(np.int64)
    return Data(x[:samples], y[:samples], x[samples:], y[samples:])


def zeros_and_ones(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Select the images of 0 and 1, as rows with brightness from 0 to 1."""
    chosen = labels <= 1
    return images[chosen].reshape(-1, 28 * 28).astype(np.float32) / 255, labels[chosen]


def build(parameters: dict[str, Any], seed: int) -> tt.Module:
    """Build one linear unit."""
    tt.manual_seed(seed)
    return tt.Linear(2 if parameters["data"] == "points" else 28 * 28, 1)


def train(
    model: tt.Module, data: Data, parameters: dict[str, Any], seed: int, report: tt.training.Report
) -> list[dict[str, float]]:
    """Train with the rule that the parameters name."""
    assert isinstance(model, tt.Linear)
    rule = {"rosenblatt": rosenblatt, "gradient": gradient_descent}[parameters["rule"]]
    return rule(model, data, parameters, seed, report)


def rosenblatt(
    model: tt.Linear, data: Data, parameters: dict[str, Any], seed: int, report: tt.training.Report
) -> list[dict[str, float]]:
    """For each misclassified sample, add t x to the weights and t to the bias, with t = -1 or +1.

    Stops after an epoch without mistakes. Source: Rosenblatt 1958, https://doi.org/10.1037/h0042519.
    """
    rng = np.random.default_rng(seed)
    assert model.bias is not None
    weight, bias = model.weight.data[0], model.bias.data
    signs = (2 * data.train_y - 1).astype(np.float32)
    curve, updates = [], 0
    for epoch in range(1, parameters["epochs"] + 1):
        mistakes = 0
        for i in rng.permutation(len(signs)):
            if signs[i] * (data.train_x[i] @ weight + bias[0]) <= 0:
                weight += signs[i] * data.train_x[i]
                bias += signs[i]
                mistakes += 1
        updates += mistakes
        report(epoch, parameters["epochs"], epoch=epoch, mistakes=mistakes)
        accuracy = share_right(model, data.test_x, data.test_y)
        curve.append({"epoch": epoch, "mistakes": mistakes, "updates": updates, "accuracy": accuracy})
        if mistakes == 0:
            break
    return curve


def gradient_descent(
    model: tt.Linear, data: Data, parameters: dict[str, Any], seed: int, report: tt.training.Report
) -> list[dict[str, float]]:
    """Train the same unit with logistic loss and SGD with momentum, as all later networks are trained."""
    loader, test = (
        tt.DataLoader(tt.TensorDataset(x, y[:, None].astype(np.float32)), parameters["batch_size"], shuffle, seed=seed)
        for x, y, shuffle in ((data.train_x, data.train_y, True), (data.test_x, data.test_y, False))
    )
    trainer = tt.Trainer(
        model,
        tt.SGD(model.parameters(), lr=parameters["learning_rate"], momentum=0.9),
        tt.BCEWithLogitsLoss(),
        metrics={"accuracy": lambda logits, targets: float(((logits > 0) == targets).mean())},
    )
    return trainer.fit(loader, parameters["epochs"], validation=test, report=report, split="test")


def wrong(model: tt.Linear, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return whether each sample is on the wrong side of the line, (N,)."""
    with tt.no_grad():
        return (model(tt.Tensor(x)).data[:, 0] > 0) != y


def share_right(model: tt.Linear, x: np.ndarray, y: np.ndarray) -> float:
    """Return the share of samples on the correct side of the line."""
    return 1 - float(wrong(model, x, y).mean())


def evaluate(model: tt.Linear, data: Data, parameters: dict[str, Any]) -> dict[str, Any]:
    """Measure accuracy on the held-out samples, and show the unit's line or its weights as an image."""
    picture = plane(model, data) if parameters["data"] == "points" else weights_as_image(model)
    mistakes = wrong(model, data.test_x, data.test_y)
    return {
        "metrics": {"accuracy": 1 - float(mistakes.mean())},
        "exhibits": [picture],
        "raw": {"wrong": np.flatnonzero(mistakes).tolist(), "items": [len(mistakes)]},
    }


def plane(model: tt.Linear, data: Data) -> dict[str, Any]:
    """Show the test points over the unit's output in the plane."""
    axis = np.linspace(-1, 1, 41, dtype=np.float32)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    answer = tt.sigmoid(model(tt.Tensor(grid))).data.reshape(41, 41)
    return {
        "kind": "points",
        "title": "Held-out points and the learned line",
        "x": data.test_x[:, 0].tolist(),
        "y": data.test_x[:, 1].tolist(),
        "label": data.test_y.tolist(),
        "grid_x": axis.tolist(),
        "grid_y": axis.tolist(),
        "grid": answer.tolist(),
    }


def weights_as_image(model: tt.Linear) -> dict[str, Any]:
    """Show the evidence for a one (positive) and for a zero (negative), pixel by pixel."""
    return {
        "kind": "heatmaps",
        "title": "Weights: evidence for a one (positive) and for a zero (negative)",
        "x_title": "column",
        "y_title": "row",
        "names": ["weight"],
        "matrices": [model.weight.data.reshape(28, 28).tolist()],
    }


def predictor(model: tt.Module) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from rows (N, features) to logits (N, 1)."""
    return inference.predictor(model)


def queries(data: Data, parameters: dict[str, Any]) -> np.ndarray:
    """Return the held-out samples."""
    return data.test_x
