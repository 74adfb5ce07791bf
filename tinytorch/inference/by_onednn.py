"""The steps of each node with oneDNN: products, convolutions, pooling, and INT8, with what follows fused."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tinytorch.arrays.windows import Window
from tinytorch.inference import nodes
from tinytorch.inference.by_numpy import Kernels, check, nchw, window_of
from tinytorch.inference.plan import Plan
from tinytorch.native import backend, float32, int8
from tinytorch.native.primitives import DST, SRC, SUM, Primitive
from tinytorch.quantized.layers import QuantizedLayer, QuantizedLinear
from tinytorch.tensor import Array


class OneDnn(Kernels):
    """Adds the steps of a node to a plan.

    A fused ReLU and the maximum of a window turn NaN into a number, so a plan with one of them checks its input, and
    what layers of unknown types return. Weights that are not finite make a layer unknown. NaN that a plan's own layers
    make of finite numbers, by an overflow, stays hidden.

    Args:
        alone: run on one thread.
    """

    def __init__(self, alone: bool) -> None:
        self.integer, self.alone = backend.native(np.int8), alone

    def product(self, plan: Plan, node: nodes.Linear, rows: Array, y: Array) -> None:
        post = _post(plan, node.function)
        if "linear" not in node.kept:
            node.kept["linear"] = float32.Linear(node.weight, node.bias, post)
        self.bind(plan, node.kept["linear"].primitive(len(rows), self.alone), rows, y)

    def convolved(self, plan: Plan, node: nodes.Convolution, x: Array, window: Window) -> Array:
        onto = node.inputs[1:]
        post = (*([SUM] if onto else []), *_post(plan, node.function))
        if "convolution" not in node.kept:
            node.kept["convolution"] = float32.Conv2d(node.weight, node.bias, node.groups, post)
        primitive = node.kept["convolution"].primitive(x.shape, window, self.alone)
        y = self.target(plan, onto[0]) if onto else plan.buffer((len(x), *window.positions, len(node.weight)))
        self.bind(plan, primitive, x, y)
        return y

    def target(self, plan: Plan, value: int) -> Array:
        """Return an array with the value as (N, H, W, C) that may be overwritten: the value's own one if possible."""
        images = plan.values[value].transpose(0, 2, 3, 1)
        if images.flags.c_contiguous and plan.is_last_use(value):
            return images
        y = plan.buffer(images.shape)
        plan.add(partial(np.copyto, y, images))
        return y

    def pool(self, plan: Plan, node: nodes.Pool) -> Array:
        x = plan.values[node.inputs[0]]
        check(x.ndim == 4)
        window = window_of(x.shape, node.kernel, node.stride, node.padding)
        padded = any(2 * p > k for p, k in zip(window.padding, window.kernel, strict=True))
        if padded or (x.dtype != np.float32 and not node.largest):
            return super().pool(plan, node)
        plan.hides_nan |= node.largest and x.dtype == np.float32
        return self.pooled(plan, x, window, node.largest)

    def pooled(self, plan: Plan, x: Array, window: Window, largest: bool) -> Array:
        images = self.images(plan, x)
        y = plan.buffer((len(x), *window.positions, x.shape[1]), x.dtype)
        self.bind(plan, float32.pooling(images.shape, window, largest, x.dtype, self.alone), images, y)
        return nchw(y)

    def section_means(self, plan: Plan, node: nodes.SectionMeans) -> Array:
        x = plan.values[node.inputs[0]]
        if x.dtype != np.float32 or x.ndim != 4 or node.sizes not in (1, (1, 1)) or 0 in x.shape:
            return super().section_means(plan, node)
        whole = (x.shape[2], x.shape[3])
        return self.pooled(plan, x, Window(whole, whole, (0, 0), (1, 1), (1, 1)), largest=False)

    def images(self, plan: Plan, x: Array) -> Array:
        turned = x.transpose(0, 2, 3, 1)
        if turned.flags.c_contiguous or x.dtype != np.float32 or not x.flags.c_contiguous:
            return super().images(plan, x)
        y = plan.buffer(turned.shape)
        self.bind(plan, float32.to_channels_last(x.shape, self.alone), x, y)
        return y

    def bind(self, plan: Plan, primitive: Primitive, x: Array, y: Array) -> None:
        primitive.bind({SRC: x, DST: y})
        plan.add(primitive)

    # INT8 -------------------------------------------------------------------------------------------------

    def integers(self, plan: Plan, node: nodes.Integers) -> Array:
        layer, x = node.layer, plan.values[node.inputs[0]]
        fixed = layer.input_scale is not None
        if not self.integer or not (fixed or (type(layer) is QuantizedLinear and x.dtype == np.float32)):
            return super().integers(plan, node)
        if isinstance(layer, QuantizedLinear):
            check(x.ndim > 1 and x.shape[-1] == layer.in_features)
            rows = self.contiguous(plan, x).reshape(-1, x.shape[-1])
            q = self.rounded(plan, node, rows) if fixed else rows
            y = plan.buffer((len(rows), layer.out_features), layer.output_dtype or np.float32)
            self.bound(plan, layer, q, y)
            return y.reshape(*x.shape[:-1], layer.out_features)
        check(x.ndim == 4 and x.shape[1] == layer.weight.shape[1] * layer.groups)
        images = self.images(plan, x)
        window = layer.window(x.shape)
        q = self.rounded(plan, node, images)
        if len(node.inputs) == 1:
            shape = (len(x), *window.positions, len(layer.weight.data))
            y = plan.buffer(shape, layer.output_dtype or np.float32)
            return nchw(self.bound(plan, layer, q, window, y))
        other = plan.values[node.inputs[1]]
        check(other.shape == (len(x), len(layer.weight.data), *window.positions) and other.dtype == np.float32)
        return nchw(self.bound(plan, layer, q, window, self.target(plan, node.inputs[1]), True))

    def rounded(self, plan: Plan, node: nodes.Integers, x: Array) -> Array:
        """Return x as integers, with a step that rounds it if it is floating-point. Layers share equal results."""
        layer = node.layer
        if x.dtype.kind != "f":
            check(x.dtype == layer.input_dtype)
            return x
        assert layer.input_scale is not None
        assert layer.input_dtype is not None
        key = (node.inputs[0], layer.input_dtype, float(layer.input_scale.data))
        if key not in plan.rounded:
            step, plan.rounded[key] = int8.rounding(x, layer.input_scale.data, layer.input_dtype, self.alone)
            plan.add(step)
        return plan.rounded[key]

    def bound(self, plan: Plan, layer: QuantizedLayer, q: Array, *settings: Any) -> Array:
        step, y = layer.kernel().bound(q, *settings, alone=self.alone)
        plan.add(step)
        made: Array = y
        return made


def _post(plan: Plan, function: str | None) -> tuple[str, ...]:
    if function is None:
        return ()
    plan.hides_nan |= function == "relu"
    return (function,)
