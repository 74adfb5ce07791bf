"""The MNIST-sized MLP 784-256-128-10: a training step at batch 128, and one image."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from tito.versus.bounds import dense
from tito.versus.contender import Contender

TITLE = "MLP 784-256-128-10"
BARS = {"pytorch": {"training step, batch 128": 1.6, "one image": 1.5}}

SIZES = (784, 256, 128, 10)
BATCH = 128
COSTS = {"training step, batch 128": dense(pairwise(SIZES), BATCH, passes=3), "one image": dense(pairwise(SIZES), 1)}
LEARNING_RATE, MOMENTUM = 0.01, 0.9


def _weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    state = {}
    for i, (fan_in, fan_out) in enumerate(pairwise(SIZES)):
        bound = fan_in**-0.5
        state[f"{2 * i}.weight"] = rng.uniform(-bound, bound, (fan_out, fan_in)).astype(np.float32)
        state[f"{2 * i}.bias"] = rng.uniform(-bound, bound, fan_out).astype(np.float32)
    return state


def _data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.random((BATCH, SIZES[0]), dtype=np.float32), rng.integers(0, SIZES[-1], BATCH)


def tinytorch() -> Contender:
    import tinytorch as tt
    from tinytorch.inference import predictor

    model = tt.Sequential(tt.Linear(784, 256), tt.ReLU(), tt.Linear(256, 128), tt.ReLU(), tt.Linear(128, 10))
    model.load_state_dict(_weights())
    optimizer = tt.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    loss_function = tt.CrossEntropyLoss()
    images, labels = _data()
    x, one = tt.Tensor(images), images[:1]

    def step() -> float:
        optimizer.zero_grad()
        loss = loss_function(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    def check() -> np.ndarray:
        logits = predictor(model)(images)[:4].ravel()
        return np.append(logits, [step() for _ in range(5)])

    predict = predictor(model)
    return Contender({"training step, batch 128": step, "one image": lambda: predict(one)}, check)


def pytorch() -> Contender:
    return _pytorch(compiled=False)


def pytorch_compiled() -> Contender:
    return _pytorch(compiled=True)


def _pytorch(compiled: bool) -> Contender:
    import torch

    model = torch.nn.Sequential(
        torch.nn.Linear(784, 256), torch.nn.ReLU(), torch.nn.Linear(256, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)
    )
    model.load_state_dict({name: torch.from_numpy(array) for name, array in _weights().items()})
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    loss_function = torch.nn.CrossEntropyLoss()
    images, labels = (torch.from_numpy(array) for array in _data())
    one, run = images[:1], torch.compile(model) if compiled else model

    def step() -> float:
        optimizer.zero_grad()
        loss = loss_function(run(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    def predict() -> torch.Tensor:
        with torch.inference_mode():
            return run(one)

    def check() -> np.ndarray:
        with torch.inference_mode():
            logits = run(images)[:4].flatten().numpy()
        return np.append(logits, [step() for _ in range(5)])

    return Contender({"training step, batch 128": step, "one image": predict}, check)
