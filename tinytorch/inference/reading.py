"""From a model of known layers to a list of nodes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tinytorch import activations
from tinytorch.base.fusing import is_seen
from tinytorch.inference import nodes
from tinytorch.inference.nodes import Node
from tinytorch.layers import Dropout, Flatten, Linear, Module, Sequential
from tinytorch.quantized.layers import QuantizedConv2d, QuantizedLayer, QuantizedLinear, QuantizedMaxPool2d
from tinytorch.spatial import AdaptiveAvgPool2d, AvgPool2d, BasicBlock, BatchNorm2d, Conv2d, MaxPool2d
from tinytorch.tensor import Array, Tensor

PACKAGE = "tinytorch."
FLOATS = ("float32", "float16", "bfloat16")
FUNCTIONS = {
    **dict.fromkeys((activations.ReLU, activations.relu), "relu"),
    **dict.fromkeys((activations.GELU, activations.gelu), "gelu"),
    **dict.fromkeys((activations.Sigmoid, activations.sigmoid), "sigmoid"),
    **dict.fromkeys((activations.Tanh, activations.tanh), "tanh"),
}
_FUNCTIONS = [(function, name) for function, name in FUNCTIONS.items() if not isinstance(function, type)]


class Reader:
    """Reads one model.

    A part of an unknown type, with hooks or a `forward` of its own, or with weights of another dtype becomes a `Call`.

    Attributes:
        nodes: the result.
    """

    def __init__(self, model: Callable[..., Any]) -> None:
        self.nodes: list[Node] = []
        self.output = self.read(model, 0, "")

    def read(self, layer: Any, x: int, name: str) -> int:
        """Add the nodes of a layer for the value x, and return the number of its output."""
        kind: Any = type(layer)
        for function, known in _FUNCTIONS:
            if layer is function:
                return self.add(nodes.Function((x,), known))
        if is_seen(layer) or kind not in READERS:
            return self.add(nodes.Call((x,), layer, name or kind.__name__))
        output = READERS[kind](self, layer, x, name)
        return self.add(nodes.Call((x,), layer, name or kind.__name__)) if output is None else output

    def add(self, node: Node) -> int:
        self.nodes.append(node)
        return len(self.nodes)


def is_replaced() -> bool:
    """Return whether a file of tinytorch has been loaded from elsewhere, as a learner's own modules are."""
    ours = str(Path(__file__).parents[1])
    files = (getattr(part, "__file__", None) for name, part in list(sys.modules.items()) if name.startswith(PACKAGE))
    return not all(file.startswith(ours) for file in files if file)


def _floats(*tensors: Tensor | None) -> list[Any] | None:
    """Return float32 copies; None if one has another dtype or is not finite."""
    copies: list[Array | None] = []
    for tensor in tensors:
        if tensor is None:
            copies.append(None)
            continue
        if tensor.data.dtype.name not in FLOATS:
            return None
        copies.append(np.array(tensor.data, np.float32, order="C"))
    return copies if all(np.isfinite(array).all() for array in copies if array is not None) else None


def _sequential(reader: Reader, layer: Sequential, x: int, name: str) -> int:
    for i, part in enumerate(layer.layers):
        x = reader.read(part, x, f"{name}.{i}" if name else str(i))
    return x


def _block(reader: Reader, block: BasicBlock, x: int, name: str) -> int:
    y, parts = x, vars(block)
    shortcut = reader.read(parts["shortcut"], x, f"{name}.shortcut" if name else "shortcut")  # conv2 adds to its output
    for part in ("conv1", "bn1", "relu", "conv2", "bn2"):
        if part == "relu":
            y = reader.add(nodes.Function((y,), "relu"))
        else:
            y = reader.read(parts[part], y, f"{name}.{part}" if name else part)
    return reader.add(nodes.Function((reader.add(nodes.Add((y, shortcut))),), "relu"))


def _linear(reader: Reader, layer: Linear, x: int, name: str) -> int | None:
    arrays = _floats(layer.weight, layer.bias)
    return None if arrays is None else reader.add(nodes.Linear((x,), *arrays))


def _convolution(reader: Reader, layer: Conv2d, x: int, name: str) -> int | None:
    arrays = _floats(layer.weight, layer.bias)
    if arrays is None:
        return None
    weight, bias = arrays
    settings = (layer.stride, layer.padding, layer.dilation, layer.groups)
    return reader.add(nodes.Convolution((x,), weight, bias, *settings))


def _norm(reader: Reader, layer: BatchNorm2d, x: int, name: str) -> int | None:
    arrays = _floats(layer.weight, layer.bias, layer.running_mean, layer.running_var)
    if arrays is None:
        return None
    weight, bias, mean, variance = arrays
    scale = weight / np.sqrt(variance + np.float32(layer.eps))
    return reader.add(nodes.Norm((x,), scale, bias - scale * mean)) if np.isfinite(scale).all() else None


def _pool(reader: Reader, layer: MaxPool2d | AvgPool2d | QuantizedMaxPool2d, x: int, name: str) -> int:
    stride = layer.kernel_size if layer.stride is None else layer.stride
    return reader.add(nodes.Pool((x,), not isinstance(layer, AvgPool2d), layer.kernel_size, stride, layer.padding))


def _softmax(reader: Reader, layer: Any, x: int, name: str) -> int:
    return reader.add(nodes.Softmax((x,), layer.dim, isinstance(layer, activations.LogSoftmax)))


def _integers(reader: Reader, layer: QuantizedLayer, x: int, name: str) -> int:
    return reader.add(nodes.Integers((x,), layer))


READERS: dict[type, Callable[[Reader, Any, int, str], int | None]] = {
    Sequential: _sequential,
    BasicBlock: _block,
    Linear: _linear,
    Conv2d: _convolution,
    BatchNorm2d: _norm,
    MaxPool2d: _pool,
    AvgPool2d: _pool,
    QuantizedMaxPool2d: _pool,
    AdaptiveAvgPool2d: lambda reader, layer, x, name: reader.add(nodes.SectionMeans((x,), layer.output_size)),
    Flatten: lambda reader, layer, x, name: reader.add(nodes.Flatten((x,))),
    Dropout: lambda reader, layer, x, name: x,
    QuantizedLinear: _integers,
    QuantizedConv2d: _integers,
    activations.Softmax: _softmax,
    activations.LogSoftmax: _softmax,
    **{kind: (lambda reader, layer, x, name: reader.add(nodes.Function((x,), FUNCTIONS[type(layer)])))
       for kind in FUNCTIONS if isinstance(kind, type)},
}  # fmt: skip


def read(model: Module) -> tuple[list[Node], int]:
    """Return the nodes of a model in inference mode, and the number of the value that is its output.

    On a learner's own modules, the whole model runs as a module: their code is what is to be run.
    """
    if is_replaced():
        return [nodes.Call((0,), model, type(model).__name__)], 1
    reader = Reader(model)
    return reader.nodes, reader.output
