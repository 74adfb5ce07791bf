"""The ONNX operations of the float32 layers and functions; `rows` lists them by their names in `saved.table`.

Each function adds the nodes of one layer to the graph, and returns the layer's output. Weights keep their names and
layouts of the state_dict, so a transposed weight is a node on the stored one, which runtimes compute once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinytorch.activations import GELU_CUBIC, GELU_SCALE
from tinytorch.onnx.graph import Graph, Shape, Size, Value, floats, numbers, ranked, shown

Emit = Callable[[Graph, Any, Value], Value]
TANH_GELU, AXES_ARE_AN_INPUT = 20, 18  # the first opsets with Gelu, and with the dimensions of ReduceMean as an input


def sequential(graph: Graph, layer: Any, x: Value) -> Value:
    where = graph.where
    for i, part in enumerate(layer.layers):
        graph.where = f"{where}.layers[{i}]"
        x = graph.emit(graph, part, x)
    graph.where = where
    return x


def part(graph: Graph, name: str, layer: object, x: Value) -> Value:
    """Add a part of the current layer."""
    where, graph.where = graph.where, f"{graph.where}.{name}"
    y = graph.emit(graph, layer, x)
    graph.where = where
    return y


def unchanged(graph: Graph, layer: Any, x: Value) -> Value:
    return x


def elementwise(op: str, **attributes: Any) -> Emit:
    def emit(graph: Graph, layer: Any, x: Value) -> Value:
        return Value(graph.add(op, floats(graph, x, op).name, **attributes), x.shape)

    return emit


def along(op: str) -> Emit:
    """Softmax and LogSoftmax, which have a dimension; as functions, the last one."""

    def emit(graph: Graph, layer: Any, x: Value) -> Value:
        dim, rank = getattr(layer, "dim", -1), len(x.shape)
        if not -rank <= dim < rank:
            raise graph.refuse(f"{op} over dimension {dim} of an input of shape {shown(x.shape)}")
        return Value(graph.add(op, floats(graph, x, op).name, axis=dim), x.shape)

    return emit


def relu(graph: Graph, layer: Any, x: Value) -> Value:
    """ReLU, also of integers, whose zero is 0: uint8 stays as it is."""
    if x.integers == "uint8":
        return x
    return Value(graph.add("Relu", x.name), x.shape, x.integers, x.scale)


def gelu(graph: Graph, layer: Any, x: Value) -> Value:
    """GELU in its tanh form: one operation from opset 20 on, eight before."""
    name = floats(graph, x, "GELU").name
    if graph.opset >= TANH_GELU:
        return Value(graph.add("Gelu", name, approximate="tanh"), x.shape)
    inner = graph.add("Mul", graph.add("Mul", name, name), graph.constant(GELU_CUBIC * GELU_SCALE))
    inner = graph.add("Mul", graph.add("Add", inner, graph.constant(GELU_SCALE)), name)
    gate = graph.add("Add", graph.add("Tanh", inner), graph.constant(1))
    return Value(graph.add("Mul", graph.add("Mul", gate, name), graph.constant(0.5)), x.shape)


def flatten(graph: Graph, layer: Any, x: Value) -> Value:
    return Value(graph.add("Flatten", x.name, axis=1), (x.shape[0], product(x.shape[1:])), x.integers, x.scale)


def product(sizes: Shape) -> Size:
    """Return the product of sizes, or a name for it if one of them is a name."""
    total = 1
    for size in sizes:
        if isinstance(size, str):
            return "_".join(map(str, sizes))
        total *= size
    return total


def linear(graph: Graph, layer: Any, x: Value) -> Value:
    weight = graph.weight(layer.weight)
    return matrix(graph, floats(graph, x, "Linear"), layer.weight.shape, weight, bias_of(graph, layer))


def bias_of(graph: Graph, layer: Any) -> str | None:
    return None if layer.bias is None else graph.weight(layer.bias)


def matrix(graph: Graph, x: Value, sizes: tuple[int, ...], weight: str, bias: str | None) -> Value:
    """Return x weight^T + bias for a weight (out, in), of these sizes: one Gemm for rows, else MatMul and Add."""
    out, into = sizes
    check_width(graph, x, into)
    shape = (*x.shape[:-1], out)
    if len(x.shape) == 2:
        return Value(graph.add("Gemm", x.name, weight, *([bias] if bias else []), transB=1), shape)
    y = graph.add("MatMul", x.name, graph.add("Transpose", weight, perm=[1, 0]))
    return Value(graph.add("Add", y, bias) if bias else y, shape)


def check_width(graph: Graph, x: Value, width: int) -> None:
    last = x.shape[-1] if x.shape else 0
    if isinstance(last, int) and last != width:
        raise graph.refuse(f"an input of shape {shown(x.shape)}: expected (..., {width})")


def slid(graph: Graph, kernel: Any, stride: Any, padding: Any, dilation: Any = 1) -> dict[str, list[int]]:
    """Return the attributes of a window that slides over images."""
    pads = numbers(graph, "padding", padding, 0)
    return {
        "kernel_shape": list(numbers(graph, "kernel_size", kernel, 1)),
        "strides": list(numbers(graph, "stride", stride, 1)),
        "pads": [*pads, *pads],
        "dilations": list(numbers(graph, "dilation", dilation, 1)),
    }


def pooled(graph: Graph, layer: Any, x: Value) -> tuple[dict[str, list[int]], Shape]:
    """Return the attributes of a pool's window, and the shape of its results."""
    stride = layer.kernel_size if layer.stride is None else layer.stride
    window = slid(graph, layer.kernel_size, stride, layer.padding)
    if any(2 * pad > size for pad, size in zip(window["pads"], window["kernel_shape"], strict=False)):
        raise graph.refuse(f"padding {layer.padding}: expected at most half of kernel_size {layer.kernel_size}")
    return window, positions(graph, ranked(graph, x, 4, type(layer).__name__), window, x.shape[1])


def positions(graph: Graph, x: Value, window: dict[str, list[int]], channels: Size) -> Shape:
    """Return the shape of a window's results over images (N, C, H, W)."""
    sizes: list[Size] = []
    for i, size in enumerate(x.shape[2:]):
        reach = window["dilations"][i] * (window["kernel_shape"][i] - 1) + 1
        if isinstance(size, str):
            sizes.append(f"{size}_{len(graph.nodes)}")
            continue
        if size + 2 * window["pads"][i] < reach:
            raise graph.refuse(f"a window of {reach} over images of shape {shown(x.shape)}: expected larger images")
        sizes.append((size + 2 * window["pads"][i] - reach) // window["strides"][i] + 1)
    return (x.shape[0], channels, *sizes)


def conv2d(graph: Graph, layer: Any, x: Value) -> Value:
    weight = graph.weight(layer.weight)
    return convolution(graph, layer, floats(graph, x, "Conv2d"), weight, bias_of(graph, layer))


def convolution(graph: Graph, layer: Any, x: Value, weight: str, bias: str | None) -> Value:
    channels = layer.weight.shape[1] * layer.groups
    if ranked(graph, x, 4, "Conv2d").shape[1] != channels:
        raise graph.refuse(f"images of shape {shown(x.shape)}: expected {channels} channels")
    window = slid(graph, layer.weight.shape[2:], layer.stride, layer.padding, layer.dilation)
    shape = positions(graph, x, window, layer.weight.shape[0])
    name = graph.add("Conv", x.name, weight, *([bias] if bias else []), group=layer.groups, **window)
    return Value(name, shape)


def max_pool(graph: Graph, layer: Any, x: Value) -> Value:
    """MaxPool2d, also of integers: rounding keeps the order."""
    window, shape = pooled(graph, layer, x)
    return Value(graph.add("MaxPool", x.name, **window), shape, x.integers, x.scale)


def average_pool(graph: Graph, layer: Any, x: Value) -> Value:
    window, shape = pooled(graph, layer, floats(graph, x, "AvgPool2d"))
    del window["dilations"]
    return Value(graph.add("AveragePool", x.name, count_include_pad=1, **window), shape)


def adaptive_average(graph: Graph, layer: Any, x: Value) -> Value:
    """AdaptiveAvgPool2d: the mean of the image, or means of sections in one direction after the other."""
    sizes = numbers(graph, "output_size", layer.output_size, 1)
    ranked(graph, floats(graph, x, "AdaptiveAvgPool2d"), 4, "AdaptiveAvgPool2d")
    shape = (*x.shape[:2], *sizes)
    if sizes == (1, 1):
        return Value(graph.add("GlobalAveragePool", x.name), shape)
    name = x.name
    for axis, count in zip((2, 3), sizes, strict=True):
        size = x.shape[axis]
        if isinstance(size, str):
            raise graph.refuse(f"AdaptiveAvgPool2d to {sizes} depends on the size of the images: pass input_shape")
        ends = [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]
        means = [mean(graph, cut(graph, name, begin, end, axis), axis) for begin, end in ends]
        name = graph.add("Concat", *means, axis=axis)
    return Value(name, shape)


def cut(graph: Graph, name: str, begin: int, end: int, axis: int) -> str:
    bounds = (graph.constant([number], np.int64) for number in (begin, end, axis))
    return graph.add("Slice", name, *bounds)


def mean(graph: Graph, name: str, axis: int) -> str:
    return reduced(graph, "ReduceMean", name, [axis])


def reduced(graph: Graph, op: str, name: str, axes: list[int]) -> str:
    """Reduce dimensions to size 1. From opset 18 on, the dimensions are an input."""
    if graph.opset >= AXES_ARE_AN_INPUT:
        return graph.add(op, name, graph.constant(axes, np.int64), keepdims=1)
    return graph.add(op, name, axes=axes, keepdims=1)


def batch_norm(graph: Graph, layer: Any, x: Value) -> Value:
    if ranked(graph, floats(graph, x, "BatchNorm2d"), 4, "BatchNorm2d").shape[1] != layer.num_features:
        raise graph.refuse(f"images of shape {shown(x.shape)}: expected {layer.num_features} channels")
    tensors = (layer.weight, layer.bias, layer.running_mean, layer.running_var)
    arrays = [graph.weight(tensor) for tensor in tensors]
    return Value(graph.add("BatchNormalization", x.name, *arrays, epsilon=float(layer.eps)), x.shape)


def added(graph: Graph, x: Value, y: Value) -> Value:
    """Return x + y for a residual sum: both have the same shape, or names of sizes in the same places."""
    for a, b in zip(x.shape, y.shape, strict=False):
        if len(x.shape) != len(y.shape) or (isinstance(a, int) and isinstance(b, int) and a != b):
            raise graph.refuse(f"a sum of shapes {shown(x.shape)} and {shown(y.shape)}: expected equal shapes")
    return Value(graph.add("Add", floats(graph, x, "a sum").name, floats(graph, y, "a sum").name), x.shape)


def basic_block(graph: Graph, layer: Any, x: Value) -> Value:
    y = part(graph, "bn1", layer.bn1, part(graph, "conv1", layer.conv1, x))
    y = part(graph, "bn2", layer.bn2, part(graph, "conv2", layer.conv2, relu(graph, None, y)))
    return relu(graph, None, added(graph, y, part(graph, "shortcut", layer.shortcut, x)))


ROWS: dict[str, Emit] = {
    "Sequential": sequential,
    "Dropout": unchanged,
    "Flatten": flatten,
    "Linear": linear,
    "Conv2d": conv2d,
    "MaxPool2d": max_pool,
    "QuantizedMaxPool2d": max_pool,
    "AvgPool2d": average_pool,
    "AdaptiveAvgPool2d": adaptive_average,
    "BatchNorm2d": batch_norm,
    **dict.fromkeys(("ReLU", "relu"), relu),
    **dict.fromkeys(("GELU", "gelu"), gelu),
    **dict.fromkeys(("Sigmoid", "sigmoid"), elementwise("Sigmoid")),
    **dict.fromkeys(("Tanh", "tanh"), elementwise("Tanh")),
    **dict.fromkeys(("Softmax", "softmax"), along("Softmax")),
    **dict.fromkeys(("LogSoftmax", "log_softmax"), along("LogSoftmax")),
}
