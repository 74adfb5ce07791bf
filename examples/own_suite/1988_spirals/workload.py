"""Two spirals: how to load, build, train, and evaluate. It measures no time and prints nothing; `tito` does both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import tinytorch as tt
from tinytorch import inference

Parameters = dict[str, Any]  # as suite.yaml has them


class Data(NamedTuple):
    train_x: np.ndarray  # (N, 2), float32
    train_y: np.ndarray  # (N, 1), 0 or 1
    test_x: np.ndarray  # (M, 2): points between the training points
    test_y: np.ndarray  # (M, 1)


def load(parameters: Parameters) -> Data:
    """Return the data set, ready to use."""
    steps = np.linspace(0, 1, 2 * parameters["points"] - 1)  # every second one is for training
    return Data(*spirals(steps[::2], parameters["turns"]), *spirals(steps[1::2], parameters["turns"]))


def spirals(steps: np.ndarray, turns: float) -> tuple[np.ndarray, np.ndarray]:
    """Return points and labels of both spirals at the given steps from the center (0) to the edge (1)."""
    angle, radius = 2 * np.pi * turns * steps, 0.1 + 0.9 * steps
    first = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)  # (N, 2)
    x = np.concatenate([first, -first]).astype(np.float32)  # the second spiral is the first, turned by 180 degrees
    y = np.repeat([0.0, 1.0], len(steps)).astype(np.float32)[:, None]
    return x, y


def build(parameters: Parameters, seed: int) -> tt.Module:
    """Return a fresh model. Its initial weights must depend only on the seed."""
    tt.manual_seed(seed)
    hidden = parameters["hidden"]
    return tt.Sequential(tt.Linear(2, hidden), tt.Tanh(), tt.Linear(hidden, hidden), tt.Tanh(), tt.Linear(hidden, 1))


def train(
    model: tt.Module, data: Data, parameters: Parameters, seed: int, report: Callable[..., None]
) -> list[dict[str, float]]:
    """Train the model; return the learning curve, a list of flat dicts."""
    loader = tt.DataLoader(tt.TensorDataset(data.train_x, data.train_y), batch_size=len(data.train_x))
    trainer = tt.Trainer(model, tt.Adam(model.parameters(), lr=parameters["learning_rate"]), tt.BCEWithLogitsLoss())
    curve = trainer.fit(loader, parameters["steps"], report=report)  # one step is one epoch here
    return curve[:: max(1, len(curve) // 50)]


def evaluate(model: tt.Module, data: Data, parameters: Parameters) -> dict[str, Any]:
    """Return the metrics that suite.yaml names, and exhibits: plain dicts that the report draws."""
    called = predictor(model)(data.test_x) > 0  # (M, 1)
    axis = np.linspace(-1, 1, 41, dtype=np.float32)
    plane = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)  # (1681, 2)
    answers = tt.sigmoid(tt.Tensor(predictor(model)(plane))).data
    return {
        "metrics": {"accuracy": float((called == (data.test_y > 0.5)).mean())},
        "exhibits": [
            {
                "kind": "points",
                "title": "The training points and the model's answer",
                "x": data.train_x[:, 0].tolist(),
                "y": data.train_x[:, 1].tolist(),
                "label": data.train_y[:, 0].astype(int).tolist(),
                "grid_x": axis.tolist(),
                "grid_y": axis.tolist(),
                "grid": answers.reshape(41, 41).tolist(),
            }
        ],
    }


def predictor(model: tt.Module) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from inputs to outputs, whose latency and throughput are measured."""
    return inference.predictor(model)


def queries(data: Data, parameters: Parameters) -> np.ndarray:
    """Return held-out inputs for the predictor, first axis = samples."""
    return data.test_x
