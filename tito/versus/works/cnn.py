"""One training step of a small convolutional network.

PyTorch is timed in its default layout and, for comparison, in channels-last.
"""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np

from tito.versus.contender import Contender

TITLE = "CNN 3-32-64-128, batch 128"
BARS = {"training step": 1.0}

CHANNELS, CLASSES, BATCH = (3, 32, 64, 128), 10, 128
LEARNING_RATE, MOMENTUM = 0.01, 0.9
STEPS = 3  # whose losses are compared


def _data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.standard_normal((BATCH, 3, 32, 32), np.float32), rng.integers(0, CLASSES, BATCH)


def _weights() -> dict[str, np.ndarray]:
    """Return weights by name, with the spread of PyTorch's default initialization."""
    rng = np.random.default_rng(0)
    state = {}
    shapes = [(out, into, 3, 3) for into, out in pairwise(CHANNELS)]
    for i, shape in enumerate([*shapes, (CLASSES, CHANNELS[-1] * 4 * 4)]):
        name = str(3 * i) if len(shape) == 4 else str(3 * i + 1)  # conv, ReLU, pool, ..., flatten, linear
        bound = np.prod(shape[1:]) ** -0.5
        state[f"{name}.weight"] = rng.uniform(-bound, bound, shape).astype(np.float32)
        state[f"{name}.bias"] = rng.uniform(-bound, bound, shape[0]).astype(np.float32)
    return state


def _layers(nn: Any) -> list[Any]:
    """Return the same layers under the same names, from either framework."""
    layers: list[Any] = []
    for into, out in pairwise(CHANNELS):
        layers += [nn.Conv2d(into, out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return [*layers, nn.Flatten(), nn.Linear(CHANNELS[-1] * 4 * 4, CLASSES)]


def tinytorch() -> Contender:
    import tinytorch as tt
    from tinytorch import spatial

    model = tt.Sequential(*_layers(SimpleNamespace(**vars(spatial) | vars(tt))))
    model.load_state_dict(_weights())
    optimizer, loss_of = tt.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM), tt.CrossEntropyLoss()
    images, labels = _data()
    x = tt.Tensor(images)

    def step() -> float:
        optimizer.zero_grad()
        loss = loss_of(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    def check() -> np.ndarray:
        with tt.no_grad():
            logits = model(x).data.ravel()
        return np.append(logits, [step() for _ in range(STEPS)])

    return Contender({"training step": step}, check)


def pytorch() -> Contender:
    return _pytorch(channels_last=False)


def pytorch_channels_last() -> Contender:
    return _pytorch(channels_last=True)


def _pytorch(channels_last: bool) -> Contender:
    import torch

    model = torch.nn.Sequential(*_layers(torch.nn))
    model.load_state_dict({name: torch.from_numpy(array) for name, array in _weights().items()})
    images, labels = (torch.from_numpy(array) for array in _data())
    if channels_last:
        model, images = (part.to(memory_format=torch.channels_last) for part in (model, images))
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    loss_of = torch.nn.CrossEntropyLoss()

    def step() -> float:
        optimizer.zero_grad()
        loss = loss_of(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    def check() -> np.ndarray:
        with torch.no_grad():
            logits = model(images).numpy().ravel()
        return np.append(logits, [step() for _ in range(STEPS)])

    return Contender({"training step": step}, check)
