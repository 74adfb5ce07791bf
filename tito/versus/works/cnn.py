"""One training step of a small convolutional network in FP32."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np

from tito.versus.bounds import Cost
from tito.versus.contender import Contender

TITLE = "CNN 3-32-64-128, batch 128"
BARS = {"pytorch": {"training step": 1.0}, "pytorch_channels_last": {"training step": 1.0}}

CHANNELS, CLASSES, BATCH = (3, 32, 64, 128), 10, 128
PIXELS = (1024, 256, 64)  # of the output of each convolution
NUMBERS = sum(9 * into * out for into, out in pairwise(CHANNELS)) + 16 * CHANNELS[-1] * CLASSES
PRODUCTS = sum(9.0 * into * out * n for (into, out), n in zip(pairwise(CHANNELS), PIXELS, strict=True))
# Forward, and two gradients, except that of the images
OPERATIONS = 2 * BATCH * (3 * PRODUCTS - 9 * CHANNELS[0] * CHANNELS[1] * PIXELS[0])
COSTS = {"training step": Cost(OPERATIONS, 4 * NUMBERS)}
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


def tinytorch(context: Callable[[], AbstractContextManager[Any]] = nullcontext) -> Contender:
    """Build TinyTorch's step; the context, such as autocast, is active in the forward pass."""
    import tinytorch as tt
    from tinytorch import spatial

    model = tt.Sequential(*_layers(SimpleNamespace(**vars(spatial) | vars(tt))))
    model.load_state_dict(_weights())
    optimizer, loss_of = tt.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM), tt.CrossEntropyLoss()
    images, labels = _data()
    x = tt.Tensor(images)

    def step() -> float:
        optimizer.zero_grad()
        with context():
            loss = loss_of(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    def check() -> np.ndarray:
        with tt.no_grad(), context():
            logits = model(x).data.astype(np.float32).ravel()
        return np.append(logits, [step() for _ in range(STEPS)])

    return Contender({"training step": step}, check)


def pytorch() -> Contender:
    return from_torch()


def pytorch_channels_last() -> Contender:
    return from_torch(channels_last=True)


def pytorch_compiled() -> Contender:
    return from_torch(channels_last=True, compiled=True)


def from_torch(channels_last: bool = False, compiled: bool = False, bfloat16: bool = False) -> Contender:
    """Build PyTorch's step."""
    import torch

    model = torch.nn.Sequential(*_layers(torch.nn))
    model.load_state_dict({name: torch.from_numpy(array) for name, array in _weights().items()})
    images, labels = (torch.from_numpy(array) for array in _data())
    if channels_last:
        model, images = (part.to(memory_format=torch.channels_last) for part in (model, images))
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    loss_of, run = torch.nn.CrossEntropyLoss(), torch.compile(model) if compiled else model

    def context() -> AbstractContextManager[Any]:
        return torch.autocast("cpu", torch.bfloat16, enabled=bfloat16)

    def step() -> float:
        optimizer.zero_grad()
        with context():
            loss = loss_of(run(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    def check() -> np.ndarray:
        with torch.no_grad(), context():
            logits = run(images).float().numpy().ravel()
        return np.append(logits, [step() for _ in range(STEPS)])

    return Contender({"training step": step}, check)
