"""MNIST: a multilayer perceptron trained on 60,000 digits and evaluated on the 10,000 test digits."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

import tinytorch as tt
from tinytorch import datasets, inference

PIXELS, CLASSES = 28 * 28, 10


class Data(NamedTuple):
    train_x: np.ndarray  # (60000, 28, 28), float32, 0 to 1
    train_y: np.ndarray  # (60000,)
    test_x: np.ndarray  # (10000, 28, 28)
    test_y: np.ndarray  # (10000,)


def load(parameters: dict[str, Any]) -> Data:
    """Load all of MNIST, as brightness from 0 to 1."""
    mnist = datasets.mnist()
    train_x, test_x = (x.astype(np.float32) / 255 for x in (mnist.train_images, mnist.test_images))
    return Data(train_x, mnist.train_labels, test_x, mnist.test_labels)


def build(parameters: dict[str, Any], seed: int) -> tt.Module:
    """Build 784 -> hidden sizes -> 10, with ReLU and dropout in between."""
    tt.manual_seed(seed)
    sizes = [PIXELS, *parameters["hidden"]]
    layers: list[Callable[[tt.Tensor], tt.Tensor]] = [tt.Flatten()]
    for fan_in, fan_out in pairwise(sizes):
        layers += [tt.Linear(fan_in, fan_out), tt.ReLU(), tt.Dropout(parameters["dropout"])]
    return tt.Sequential(*layers, tt.Linear(sizes[-1], CLASSES))


def train(
    model: tt.Module, data: Data, parameters: dict[str, Any], seed: int, report: tt.training.Report
) -> list[dict[str, float]]:
    """Train with AdamW and a cosine schedule on randomly shifted digits."""
    loader = tt.DataLoader(
        tt.TensorDataset(data.train_x, data.train_y),
        parameters["batch_size"],
        shuffle=True,
        drop_last=True,
        seed=seed,
        transform=tt.random_shift(parameters["shift"]),
    )
    test = tt.DataLoader(tt.TensorDataset(data.test_x, data.test_y), batch_size=1000)
    steps = parameters["epochs"] * len(loader)
    optimizer = tt.AdamW(model.parameters(), lr=parameters["learning_rate"], weight_decay=parameters["weight_decay"])
    trainer = tt.Trainer(
        model,
        optimizer,
        tt.CrossEntropyLoss(parameters["label_smoothing"]),
        schedule=tt.CosineLR(optimizer, steps, warmup=steps // 20),
        metrics={"accuracy": tt.accuracy},
    )
    return trainer.fit(loader, parameters["epochs"], validation=test, report=report, split="test")


def evaluate(model: tt.Module, data: Data, parameters: dict[str, Any]) -> dict[str, Any]:
    """Measure accuracy on the whole test split, and show the confusion matrix and the most confident mistakes."""
    logits = predictor(model)(data.test_x)  # (N, 10)
    called = logits.argmax(axis=1)
    counts = np.zeros((CLASSES, CLASSES), np.int64)
    np.add.at(counts, (data.test_y, called), 1)
    digits = [str(digit) for digit in range(CLASSES)]
    return {
        "metrics": {"accuracy": float((called == data.test_y).mean())},
        "exhibits": [
            {"kind": "confusion", "title": "Confusion matrix", "classes": digits, "counts": counts.tolist()},
            worst_mistakes(data.test_x, data.test_y, logits, count=24),
        ],
        "raw": {"wrong": np.flatnonzero(called != data.test_y).tolist(), "items": [len(called)]},
    }


def worst_mistakes(images: np.ndarray, labels: np.ndarray, logits: np.ndarray, count: int) -> dict[str, Any]:
    """Show misclassified images, the most confident mistakes first."""
    probabilities = tt.softmax(tt.Tensor(logits)).data  # (N, 10)
    called = probabilities.argmax(axis=1)
    sureness = np.where(called != labels, probabilities.max(axis=1), -1)
    worst = [i for i in np.argsort(-sureness)[:count] if called[i] != labels[i]]
    return {
        "kind": "pictures",
        "title": "Most confident mistakes",
        "pictures": [
            {
                "caption": f"{labels[i]}, predicted {called[i]} ({sureness[i]:.0%})",
                "pixels": (images[i] * 255).astype(int).tolist(),
            }
            for i in worst
        ],
    }


def predictor(model: tt.Module) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from images (N, 28, 28) to logits (N, 10)."""
    return inference.predictor(model)


def queries(data: Data, parameters: dict[str, Any]) -> np.ndarray:
    """Return the test images."""
    return data.test_x
