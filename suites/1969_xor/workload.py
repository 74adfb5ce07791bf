"""XOR: four points that a single layer cannot learn, but a network with a hidden layer can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import tinytorch as tt
from tinytorch import inference

POINTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
ANSWERS = np.array([[0], [1], [1], [0]], np.float32)


class Data(NamedTuple):
    noisy_x: np.ndarray  # (N, 2): the four points with Gaussian noise, never trained on
    noisy_y: np.ndarray  # (N, 1)


def load(parameters: dict[str, Any]) -> Data:
    """Draw noisy copies of the four points, to test whether the model learned more than the points themselves."""
    rng = np.random.default_rng(1969)
    which = rng.integers(0, 4, parameters["samples"])
    noise = rng.normal(0, parameters["noise"], (parameters["samples"], 2)).astype(np.float32)
    return Data(POINTS[which] + noise, ANSWERS[which])


def build(parameters: dict[str, Any], seed: int) -> tt.Module:
    """Build 2 -> 1, or 2 -> hidden -> 1 with tanh in between."""
    tt.manual_seed(seed)
    hidden = parameters["hidden"]
    if hidden == 0:
        return tt.Linear(2, 1)
    return tt.Sequential(tt.Linear(2, hidden), tt.Tanh(), tt.Linear(hidden, 1))


def train(
    model: tt.Module, data: Data, parameters: dict[str, Any], seed: int, report: tt.training.Report
) -> list[dict[str, float]]:
    """Train with Adam on all four points at once."""
    loader = tt.DataLoader(tt.TensorDataset(POINTS, ANSWERS), batch_size=4)
    trainer = tt.Trainer(model, tt.Adam(model.parameters(), lr=parameters["learning_rate"]), tt.BCEWithLogitsLoss())
    curve = trainer.fit(loader, parameters["steps"], report=report)
    return curve[:: max(1, len(curve) // 50)]


def share_right(model: tt.Module, x: np.ndarray, y: np.ndarray) -> float:
    """Return the share of points whose output is on the correct side of 0.5."""
    with tt.no_grad():
        return float(((model(tt.Tensor(x)).data > 0) == (y > 0.5)).mean())


def evaluate(model: tt.Module, data: Data, parameters: dict[str, Any]) -> dict[str, Any]:
    """Measure accuracy on the four points and on noisy ones, and show the model's output in the plane."""
    accuracy = share_right(model, POINTS, ANSWERS)
    axis = np.linspace(-0.5, 1.5, 41, dtype=np.float32)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    return {
        "metrics": {
            "accuracy": accuracy,
            "solved": float(accuracy == 1),
            "noisy_accuracy": share_right(model, data.noisy_x, data.noisy_y),
        },
        "exhibits": [
            {
                "kind": "points",
                "title": "The four points and the model's output",
                "x": POINTS[:, 0].tolist(),
                "y": POINTS[:, 1].tolist(),
                "label": ANSWERS[:, 0].astype(int).tolist(),
                "grid_x": axis.tolist(),
                "grid_y": axis.tolist(),
                "grid": tt.sigmoid(model(tt.Tensor(grid))).data.reshape(41, 41).tolist(),
            }
        ],
    }


def predictor(model: tt.Module) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from points (N, 2) to logits (N, 1)."""
    return inference.predictor(model)


def queries(data: Data, parameters: dict[str, Any]) -> np.ndarray:
    """Return the noisy points."""
    return data.noisy_x
