"""Models to save, small enough that a test may damage their folder in many ways, and the names of a folder's files."""

from __future__ import annotations

import numpy as np

import tinytorch as tt
from tinytorch.quantized import quantize_static
from tinytorch.spatial import AdaptiveAvgPool2d, BasicBlock, BatchNorm2d, Conv2d, MaxPool2d

JSON, TENSORS = "model.json", "model.safetensors"


def mlp() -> tt.Sequential:
    return tt.Sequential(tt.Flatten(), tt.Linear(12, 8), tt.ReLU(), tt.Dropout(0.1), tt.Linear(8, 3, bias=False))


def resnet() -> tt.Sequential:
    return tt.Sequential(
        *(Conv2d(3, 4, 3, 1, 1), BatchNorm2d(4), tt.gelu, MaxPool2d(2), BasicBlock(4, 4), BasicBlock(4, 6, 2)),
        *(AdaptiveAvgPool2d(1), tt.Flatten(), tt.Linear(6, 3)),
    ).eval()


def gpt() -> tt.GPT:
    return tt.GPT(7, 6, n_layer=2, n_head=2, n_embd=8).eval()


def int8_resnet() -> tt.Module:
    return quantize_static(resnet(), [np.ones((2, 3, 8, 8), np.float32)])


def shared() -> tt.Sequential:
    """Build a model with one layer in two places."""
    layer = tt.Linear(4, 4)
    return tt.Sequential(layer, tt.ReLU(), layer)


def bits(tensor: tt.Tensor) -> tuple[str, tuple[int, ...], bytes]:
    return tensor.dtype.name, tensor.shape, tensor.data.tobytes()
