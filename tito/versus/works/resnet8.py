"""Inference with MLPerf Tiny's image classifier in FP32: one image, and 64 images."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from tito.versus.bounds import Cost
from tito.versus.contender import Contender
from tito.versus.rivals import threads

TITLE = "ResNet-8, inference on 32 x 32 images"
BARS = {
    "onnxruntime": {"one image": 1.0, "64 images": 1.0},
    "pytorch": {"one image": 1.0},
}

BATCH = 64
# (channels in, channels out, kernel, pixels of the output) of each convolution, and the linear layer
SHAPES = (
    *((3, 16, 3, 1024), (16, 16, 3, 1024), (16, 16, 3, 1024), (16, 32, 3, 256), (32, 32, 3, 256), (16, 32, 1, 256)),
    *((32, 64, 3, 64), (64, 64, 3, 64), (32, 64, 1, 64), (64, 10, 1, 1)),
)
OPERATIONS = sum(2.0 * into * out * kernel**2 * pixels for into, out, kernel, pixels in SHAPES)  # of one image
NUMBERS = sum(into * out * kernel**2 for into, out, kernel, _ in SHAPES)
COSTS = {"one image": Cost(OPERATIONS, 4 * NUMBERS), "64 images": Cost(BATCH * OPERATIONS, 4 * NUMBERS)}


def _block(nn: Any) -> Any:
    """Return ResNet's basic block in PyTorch, with the names of TinyTorch's."""

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

    return Block


def resnet8(nn: Any, block: Any) -> Any:
    """Build the model of https://github.com/mlcommons/tiny (image classification) in either framework."""
    stem = [nn.Conv2d(3, 16, 3, 1, 1), nn.BatchNorm2d(16), nn.ReLU()]
    stacks = [block(16, 16, 1), block(16, 32, 2), block(32, 64, 2)]
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


def images() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((BATCH, 3, 32, 32), np.float32)


def model() -> Any:
    """Build the model in TinyTorch, from its own blocks, so that it can be quantized and exported."""
    import tinytorch as tt
    from tinytorch import spatial

    made = resnet8(SimpleNamespace(**vars(spatial) | vars(tt)), spatial.BasicBlock)
    made.load_state_dict(_weights({name: value.shape for name, value in made.state_dict().items()}))
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

    return contender(session(model(), threads=threads(), input_shape=(3, 32, 32)))


def pytorch() -> Contender:
    return _pytorch(channels_last=False, compiled=False)


def pytorch_channels_last() -> Contender:
    return _pytorch(channels_last=True, compiled=False)


def pytorch_compiled() -> Contender:
    return _pytorch(channels_last=True, compiled=True)


def _pytorch(channels_last: bool, compiled: bool) -> Contender:
    import torch

    made = resnet8(torch.nn, _block(torch.nn))
    shapes = {name: tuple(value.shape) for name, value in made.state_dict().items()}
    made.load_state_dict({name: torch.from_numpy(array) for name, array in _weights(shapes).items()})
    made.eval()
    batch = torch.from_numpy(images())
    if channels_last:
        made, batch = (part.to(memory_format=torch.channels_last) for part in (made, batch))
    one, run = batch[:1], torch.compile(made) if compiled else made

    def predict(x: Any) -> Any:
        with torch.inference_mode():
            return run(x)

    timed = {"one image": lambda: predict(one), "64 images": lambda: predict(batch)}
    return Contender(timed, lambda: predict(batch).numpy().ravel())
