"""Inference with the competition's MLP 784-512-256-10 in FP32: one image, and 64 images."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from tito.versus.bounds import dense
from tito.versus.contender import Contender
from tito.versus.rivals import threads

TITLE = "MLP 784-512-256-10, inference"
BARS = {"onnxruntime": {"one image": 1.0, "64 images": 1.0}}

SIZES, BATCH = (784, 512, 256, 10), 64
COSTS = {"one image": dense(pairwise(SIZES), 1), "64 images": dense(pairwise(SIZES), BATCH)}


def weights() -> dict[str, np.ndarray]:
    """Return weights by name, with the spread of PyTorch's default initialization."""
    rng, state = np.random.default_rng(0), {}
    for i, (into, out) in enumerate(pairwise(SIZES)):
        bound = into**-0.5
        state[f"{2 * i}.weight"] = rng.uniform(-bound, bound, (out, into)).astype(np.float32)
        state[f"{2 * i}.bias"] = rng.uniform(-bound, bound, out).astype(np.float32)
    return state


def images() -> np.ndarray:
    return np.random.default_rng(1).random((BATCH, SIZES[0]), dtype=np.float32)


def layers(nn: Any) -> list[Any]:
    """Return the layers of either framework."""
    return [layer for into, out in pairwise(SIZES) for layer in (nn.Linear(into, out), nn.ReLU())][:-1]


def model() -> Any:
    """Build the model in TinyTorch."""
    import tinytorch as tt

    made = tt.Sequential(*layers(tt))
    made.load_state_dict(weights())
    return made.eval()


def contender(predict: Any) -> Contender:
    """Time a function from images to logits."""
    batch = images()
    one = batch[:1]
    timed = {"one image": lambda: predict(one), "64 images": lambda: predict(batch)}
    return Contender(timed, lambda: np.ravel(predict(batch)))


def tinytorch() -> Contender:
    from tinytorch.inference import predictor

    return contender(predictor(model()))


def onnxruntime() -> Contender:
    from tinytorch.onnx import session

    return contender(session(model(), threads=threads()))


def pytorch() -> Contender:
    import torch

    made = torch.nn.Sequential(*layers(torch.nn))
    made.load_state_dict({name: torch.from_numpy(array) for name, array in weights().items()})
    return from_torch(made.eval(), images())


def from_torch(made: Any, batch: np.ndarray) -> Contender:
    """Time a PyTorch model on tensors."""
    import torch

    whole = torch.from_numpy(batch)
    one = whole[:1]

    def predict(x: Any) -> Any:
        with torch.inference_mode():
            return made(x)

    timed = {"one image": lambda: predict(one), "64 images": lambda: predict(whole)}
    return Contender(timed, lambda: predict(whole).numpy().ravel())
