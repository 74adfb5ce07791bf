"""Inference with MLPerf Tiny's image classifier, one image at a time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from tito.versus.contender import Contender

TITLE = "ResNet-8, one 32 x 32 image"
BARS = {"inference, one image": 1.0}

IMAGES = 16  # whose logits are compared


def _resnet8(nn: Any) -> Any:
    """Build the model of https://github.com/mlcommons/tiny (image classification) in either framework."""

    class Block(nn.Module):
        def __init__(self, into: int, out: int, stride: int) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(into, out, 3, stride, 1), nn.BatchNorm2d(out)
            self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1), nn.BatchNorm2d(out)
            self.shortcut = nn.Conv2d(into, out, 1, stride) if stride > 1 else nn.Sequential()
            self.relu = nn.ReLU()

        def forward(self, x: Any) -> Any:
            y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            return self.relu(y + self.shortcut(x))

    stem = [nn.Conv2d(3, 16, 3, 1, 1), nn.BatchNorm2d(16), nn.ReLU()]
    stacks = [Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2)]
    return nn.Sequential(*stem, *stacks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def _weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Return fixed values of a trained network's magnitude for each name: positive variances, counters of zero."""
    rng, state = np.random.default_rng(0), {}
    for name, shape in sorted(shapes.items()):
        if name.endswith("num_batches_tracked"):
            state[name] = np.array(0)
        elif name.endswith("running_var"):
            state[name] = rng.uniform(0.5, 2, shape).astype(np.float32)
        else:
            spread = np.prod(shape[1:]) ** -0.5 if len(shape) > 1 else 0.5
            state[name] = (rng.standard_normal(shape) * spread).astype(np.float32)
    return state


def _images() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((IMAGES, 3, 32, 32), np.float32)


def tinytorch() -> Contender:
    import tinytorch as tt
    from tinytorch import spatial
    from tinytorch.acceleration import trace

    model = _resnet8(SimpleNamespace(**vars(spatial) | vars(tt)))
    model.load_state_dict(_weights({name: value.shape for name, value in model.state_dict().items()}))
    predict, images = trace(model.eval()), _images()
    one = images[:1]
    return Contender({"inference, one image": lambda: predict(one)}, lambda: predict(images).ravel())


def pytorch() -> Contender:
    import torch

    model = _resnet8(torch.nn)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict({name: torch.from_numpy(array) for name, array in _weights(shapes).items()})
    model.eval()
    images = torch.from_numpy(_images())
    one = images[:1]

    def predict(x: Any) -> Any:
        with torch.inference_mode():
            return model(x)

    return Contender({"inference, one image": lambda: predict(one)}, lambda: predict(images).numpy().ravel())
