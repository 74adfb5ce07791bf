"""The ONNX operations of the INT8 layers.

A static layer is in ONNX's QDQ form, with the layer's own scales and zero points of 0:

    integers = QuantizeLinear(x, input_scale), then Conv or Gemm of DequantizeLinear(integers) and
    DequantizeLinear(weight, weight_scale), then, if the layer returns integers, QuantizeLinear(y, output_scale)

Runtimes compute this with integers. Two roundings differ from TinyTorch's: the bias is rounded to the scale of the
sums, and an int8 value below the calibrated range becomes -128 instead of -127.

A dynamic layer has one scale for each row (each image of a convolution), which ONNX's DynamicQuantizeLinear lacks. It
is written out: the rows' scales, rounding, the integer product, and the scales of the sums.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tinytorch.arrays.integers import LARGEST, SMALLEST_SCALE
from tinytorch.autograd import no_grad
from tinytorch.base.errors import InputTypeError
from tinytorch.base.words import described
from tinytorch.layers import Module, evaluating
from tinytorch.onnx import layers
from tinytorch.onnx.graph import Graph, Value, floats, ranked
from tinytorch.onnx.layers import Emit, added, check_width, convolution, matrix, part, positions, reduced, relu, slid
from tinytorch.quantization import Observer
from tinytorch.quantized.layers import QuantizedConv2d
from tinytorch.spatial import BasicBlock
from tinytorch.surgery.parts import watched
from tinytorch.tensor import Array, Tensor

MOST = 2**31 - 1  # of a bias as int32


def quantized(graph: Graph, x: str, scale: Array, dtype: str) -> str:
    """Round floats to integers with one scale."""
    return graph.add("QuantizeLinear", x, graph.constant(scale), graph.constant(0, dtype))


def dequantized(graph: Graph, q: str, scale: Array, dtype: str, axis: int = 0) -> str:
    """Convert integers to floats, with one scale, or one for each index of a dimension.

    Weights do not share their zero points: ONNX Runtime, which may replace them, fails if they do.
    """
    zeros = np.zeros(scale.shape, dtype)
    zero = graph.store(f"zero_{q}", zeros) if scale.ndim else graph.constant(zeros, dtype)
    attributes = {"axis": axis} if scale.ndim else {}
    return graph.add("DequantizeLinear", q, graph.constant(scale), zero, **attributes)


def input_of(graph: Graph, layer: Any, x: Value) -> Value:
    """Return the floats that the integers of a static layer's input stand for."""
    if x.integers not in (None, layer.input_dtype):
        raise graph.refuse(f"an input of dtype {x.integers}: expected {layer.input_dtype}")
    scale = layer.input_scale.data
    q = x.name if x.integers else quantized(graph, x.name, scale, layer.input_dtype)
    return Value(dequantized(graph, q, scale, layer.input_dtype), x.shape)


def weight_of(graph: Graph, layer: Any, turned: bool) -> str:
    """Return the floats that the weight (out, ...) stands for; turned, a matrix (in, out)."""
    stored, scale = graph.stored(layer.weight), layer.weight_scale.data
    if turned:
        stored = graph.add("Transpose", stored, perm=[1, 0])
    return dequantized(graph, stored, scale, "int8", axis=int(turned))


def bias_of(graph: Graph, layer: Any) -> str | None:
    """Return the bias as integers at the scale of the sums; None if there is none, or if it does not fit into int32."""
    if layer.bias is None:
        return None
    scale = (layer.input_scale.data * layer.weight_scale.data).astype(np.float32)
    integers = np.rint(layer.bias.data / np.maximum(scale, SMALLEST_SCALE).astype(np.float64))
    if not np.all(np.abs(integers) <= MOST) or scale.min() < SMALLEST_SCALE:
        return None
    name = graph.names.get(id(layer.bias), f"bias_{len(graph.arrays)}")
    stored = graph.store(f"{name}.int32", integers.astype(np.int32))
    return graph.add("DequantizeLinear", stored, graph.constant(scale), axis=0)


def finished(graph: Graph, layer: Any, y: Value, biased: bool) -> Value:
    """Add the bias, unless the product contains it, ReLU, and the rounding to integers, which for uint8 is a ReLU.

    A bias that does not fit into int32 is added here: ONNX Runtime rounds a float bias of a product, and wraps it.
    """
    if layer.bias is not None and not biased:
        shape = (-1, 1, 1) if layer.weight.ndim == 4 else (-1,)
        y = Value(graph.add("Add", y.name, graph.constant(layer.bias.data.reshape(shape))), y.shape)
    if layer.relu and layer.output_dtype != "uint8":
        y = Value(graph.add("Relu", y.name), y.shape)
    if layer.output_dtype is None:
        return y
    scale = layer.output_scale.data
    return Value(quantized(graph, y.name, scale, layer.output_dtype), y.shape, layer.output_dtype, scale)


def quantized_linear(graph: Graph, layer: Any, x: Value) -> Value:
    if layer.input_scale is None:
        return dynamic_linear(graph, layer, x)
    x, bias = input_of(graph, layer, x), bias_of(graph, layer)
    if len(x.shape) == 2:
        y = matrix(graph, x, layer.weight.shape, weight_of(graph, layer, turned=False), bias)
    else:
        check_width(graph, x, layer.in_features)
        name = graph.add("MatMul", x.name, weight_of(graph, layer, turned=True))
        shape = (*x.shape[:-1], layer.out_features)
        y = Value(graph.add("Add", name, bias) if bias else name, shape)
    return finished(graph, layer, y, biased=bias is not None)


def quantized_conv2d(graph: Graph, layer: Any, x: Value) -> Value:
    if layer.input_scale is None:
        return dynamic_conv2d(graph, layer, x)
    weight, bias = weight_of(graph, layer, turned=False), bias_of(graph, layer)
    y = convolution(graph, layer, input_of(graph, layer, x), weight, bias)
    return finished(graph, layer, y, biased=bias is not None)


def basic_block(graph: Graph, layer: Any, x: Value) -> Value:
    """ResNet's block. If the ranges of its branches were measured, it adds 8-bit values, as runtimes expect it.

    Without them, or if conv1 has no fixed scale for its input, the branches are added as floats, as in TinyTorch.
    Runtimes then compute conv2 and the shortcut in float32, because they have integer convolutions only between
    integers.
    """
    conv1, conv2, shortcut = layer.conv1, layer.conv2, layer.shortcut
    if id(conv2) not in graph.ranges or not _is_static(conv1):
        return layers.basic_block(graph, layer, x)
    floats(graph, x, "BasicBlock")
    scale, dtype = conv1.input_scale.data, conv1.input_dtype
    integers = Value(quantized(graph, x.name, scale, dtype), x.shape, dtype, scale)
    y = relu(graph, None, part(graph, "bn1", layer.bn1, part(graph, "conv1", conv1, integers)))
    y = part(graph, "bn2", layer.bn2, rounded(graph, conv2, part(graph, "conv2", conv2, y)))
    if id(shortcut) in graph.ranges:
        same = (shortcut.input_dtype, shortcut.input_scale.data) == (dtype, scale)
        other = rounded(graph, shortcut, part(graph, "shortcut", shortcut, integers if same else x))
    else:
        whole = Value(dequantized(graph, integers.name, scale, dtype), x.shape)
        other = part(graph, "shortcut", shortcut, whole)
    return relu(graph, None, added(graph, y, other))


def rounded(graph: Graph, layer: Any, x: Value) -> Value:
    """Round the floats that a layer returned to 8 bits, with the scale that was measured for it."""
    dtype, scale = graph.ranges[id(layer)]
    return Value(dequantized(graph, quantized(graph, x.name, scale, dtype), scale, dtype), x.shape)


def measured(model: Module, batches: Iterable[Array | Tensor]) -> dict[int, tuple[str, Array]]:
    """Run batches through a model, and return dtype and scale for what each branch of its integer blocks returns.

    Raises:
        InputTypeError: a batch is not an array, but e.g. a pair of inputs and labels.
        NonFiniteError: a branch returned NaN or infinity.
    """
    blocks = [block for block in model.modules() if isinstance(block, BasicBlock)]
    branches = [part for block in blocks for part in (block.conv2, block.shortcut) if _returns_floats(part)]
    observers = {id(part): Observer() for part in branches}

    def look(name: str, layer: Module, x: Tensor, y: Tensor) -> None:
        observers[id(layer)].see(name, y.data)

    with no_grad(), evaluating(model), watched([("a branch", part) for part in branches], look):
        for batch in batches:
            if not isinstance(batch, np.ndarray | Tensor):
                raise InputTypeError(f"export: batches contains {described(batch)}: expected arrays of inputs")
            model(Tensor(np.asarray(batch)))
    return {key: (seen.dtype, seen.scale("minmax")) for key, seen in observers.items() if seen.low <= seen.high}


def _returns_floats(part: object) -> bool:
    """Return whether a part is a static convolution that returns floats."""
    return _is_static(part) and getattr(part, "output_scale", None) is None


def _is_static(part: object) -> bool:
    return isinstance(part, QuantizedConv2d) and part.input_scale is not None


def rounded_rows(graph: Graph, x: Value, axes: list[int]) -> tuple[str, str]:
    """Return float integers of x and their scales, one for each row: `quantization.quantize_rows` as operations."""
    largest = reduced(graph, "ReduceMax", graph.add("Abs", x.name), axes)
    scale = graph.add("Mul", largest, graph.constant(1 / LARGEST["int8"]))
    scale = graph.add("Max", scale, graph.constant(SMALLEST_SCALE))
    return graph.add("Round", graph.add("Mul", x.name, graph.add("Reciprocal", scale))), scale


def scaled_sums(graph: Graph, layer: Any, sums: str, scale: str, shape: tuple[int, ...]) -> str:
    """Convert integer sums to floats; the scales of the weight get this shape.

    The scales of the weight come first: sums times the scale of a row overflow for inputs from 1e36 on.
    """
    y = graph.add("Mul", graph.cast(sums, "float32"), graph.constant(layer.weight_scale.data.reshape(shape)))
    return graph.add("Mul", y, scale)


def dynamic_linear(graph: Graph, layer: Any, x: Value) -> Value:
    check_width(graph, floats(graph, x, "QuantizedLinear"), layer.in_features)
    rows, scale = rounded_rows(graph, x, [-1])
    turned = graph.add("Transpose", graph.stored(layer.weight), perm=[1, 0])
    sums = graph.add("MatMulInteger", graph.cast(rows, "int8"), turned)
    name = scaled_sums(graph, layer, sums, scale, (-1,))
    return finished(graph, layer, Value(name, (*x.shape[:-1], layer.out_features)), biased=False)


def dynamic_conv2d(graph: Graph, layer: Any, x: Value) -> Value:
    """Each image is a row. ONNX Runtime's integer convolution reads uint8, so all integers are shifted by 128."""
    window = slid(graph, layer.weight.shape[2:], layer.stride, layer.padding, layer.dilation)
    ranked(graph, floats(graph, x, "QuantizedConv2d"), 4, "QuantizedConv2d")
    check = Value(x.name, (x.shape[0], x.shape[2], x.shape[3], x.shape[1]))
    check_width(graph, check, layer.in_channels)
    rows, scale = rounded_rows(graph, x, [1, 2, 3])
    shifted = graph.cast(graph.add("Add", rows, graph.constant(128)), "uint8")
    zero, weight = graph.constant(128, np.uint8), layer.weight.data.view(np.uint8) ^ np.uint8(128)
    stored = graph.store(f"{graph.names[id(layer.weight)]}.uint8", weight)
    sums = graph.add("ConvInteger", shifted, stored, zero, zero, group=layer.groups, **window)
    name = scaled_sums(graph, layer, sums, scale, (-1, 1, 1))
    return finished(graph, layer, Value(name, positions(graph, x, window, layer.out_channels)), biased=False)


ROWS: dict[str, Emit] = {
    "QuantizedLinear": quantized_linear,
    "QuantizedConv2d": quantized_conv2d,
    "BasicBlock": basic_block,
}
