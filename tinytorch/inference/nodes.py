"""The operations of a plan, without buffers and kernels: what `reading` derives from a model, and `fusing` shortens.

A list of nodes describes a model. Node i computes value i + 1 from earlier values, and value 0 is the model's input.
Weights are copies in float32, so changes in place do not reach them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tinytorch.quantized.layers import QuantizedConv2d, QuantizedLayer
from tinytorch.tensor import Array

Pair = tuple[int, int]


@dataclass(eq=False)
class Node:
    """An operation on the values `inputs`."""

    inputs: tuple[int, ...]


@dataclass(eq=False)
class Weighted(Node):
    """A product or a convolution, and the function that is applied to its result.

    Attributes:
        kept: the kernels that were prepared for these weights, so that plans for other shapes can use them.
    """

    weight: Array
    bias: Array | None
    function: str | None = field(default=None, kw_only=True)
    kept: dict[str, Any] = field(default_factory=dict, kw_only=True)


@dataclass(eq=False)
class Linear(Weighted):
    """x W^T + b, with W (out, in)."""


@dataclass(eq=False)
class Convolution(Weighted):
    """A convolution with W (K, C/groups, kh, kw). A second input is added to its result before the function."""

    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int


@dataclass(eq=False)
class Integers(Node):
    """A quantized layer. A second input is added to its result, followed by ReLU."""

    layer: QuantizedLayer

    def can_add(self) -> bool:
        """Return whether the layer's kernel can add its result to another value and apply ReLU."""
        layer = self.layer
        fixed = isinstance(layer, QuantizedConv2d) and layer.input_scale is not None
        return fixed and layer.output_scale is None and not layer.relu and len(self.inputs) == 1


@dataclass(eq=False)
class Norm(Node):
    """x scale + shift, with one scale and one shift for each channel."""

    scale: Array
    shift: Array


@dataclass(eq=False)
class Function(Node):
    """relu, gelu, sigmoid, or tanh of each value."""

    name: str


@dataclass(eq=False)
class Softmax(Node):
    """Softmax or its logarithm along a dimension."""

    dim: int
    log: bool


@dataclass(eq=False)
class Pool(Node):
    """The maximum or the mean of windows."""

    largest: bool
    kernel: Any
    stride: Any
    padding: Any


@dataclass(eq=False)
class SectionMeans(Node):
    """Adaptive average pooling to (height, width)."""

    sizes: Any


@dataclass(eq=False)
class Flatten(Node):
    """All dimensions after the first, as one."""


@dataclass(eq=False)
class Add(Node):
    """The sum of two values."""


@dataclass(eq=False)
class Call(Node):
    """A part that is called as it is; `name` is its place in the model."""

    layer: Callable[..., Any]
    name: str


def uses(nodes: Sequence[Node]) -> dict[int, list[int]]:
    """Return for each value the numbers of the nodes that read it."""
    found: dict[int, list[int]] = {i: [] for i in range(len(nodes) + 1)}
    for number, node in enumerate(nodes):
        for value in node.inputs:
            found[value].append(number)
    return found
