"""The steps of each node with NumPy, on fixed buffers. `by_onednn` replaces those for which oneDNN has kernels."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np

from tinytorch import activations
from tinytorch.arrays import convolution as cv
from tinytorch.arrays.windows import Window, windows
from tinytorch.autograd import no_grad
from tinytorch.base.errors import TinyTorchError
from tinytorch.inference import nodes
from tinytorch.inference.nodes import Node
from tinytorch.inference.plan import CannotPlanError, Plan
from tinytorch.layers import Module, evaluating
from tinytorch.quantized.layers import QuantizedMaxPool2d
from tinytorch.spatial import adaptive_avg_pool2d, avg_pool2d, slide
from tinytorch.tensor import Array, Tensor

Step = Callable[[], object]
ZERO = np.zeros(1, np.float32)
FUNCTIONS = {"relu": activations.relu, "gelu": activations.gelu, "sigmoid": activations.sigmoid,
             "tanh": activations.tanh}  # fmt: skip


class Kernels:
    """Adds the steps of a node to a plan: `add(plan, node)` returns the array that they write."""

    def add(self, plan: Plan, node: Node) -> Array:
        methods: dict[type, Callable[[Plan, Any], Array]] = {
            nodes.Linear: self.linear,
            nodes.Convolution: self.convolution,
            nodes.Integers: self.integers,
            nodes.Norm: self.norm,
            nodes.Function: self.function,
            nodes.Softmax: self.softmax,
            nodes.Pool: self.pool,
            nodes.SectionMeans: self.section_means,
            nodes.Flatten: self.flatten,
            nodes.Add: self.sum,
            nodes.Call: self.call,
        }
        return methods[type(node)](plan, node)

    # Products ---------------------------------------------------------------------------------------------

    def linear(self, plan: Plan, node: nodes.Linear) -> Array:
        x = self.contiguous(plan, plan.values[node.inputs[0]])
        check(x.ndim > 1 and x.dtype == np.float32 and x.shape[-1] == node.weight.shape[1])
        rows = x.reshape(-1, x.shape[-1])
        y = plan.buffer((len(rows), len(node.weight)))
        self.product(plan, node, rows, y)
        return y.reshape(*x.shape[:-1], len(node.weight))

    def product(self, plan: Plan, node: nodes.Linear, rows: Array, y: Array) -> None:
        """Add the steps from rows (M, in) to y (M, out)."""
        turned = node.kept.setdefault("turned", np.ascontiguousarray(node.weight.T))
        plan.add(partial(np.dot, rows, turned, y))
        if node.bias is not None:
            plan.add(partial(np.add, y, node.bias, y))
        self.apply(plan, node.function, y)

    def convolution(self, plan: Plan, node: nodes.Convolution) -> Array:
        x = plan.values[node.inputs[0]]
        check(x.ndim == 4 and x.dtype == np.float32 and x.shape[1] == node.weight.shape[1] * node.groups)
        window = window_of(x.shape, node.weight.shape[2:], node.stride, node.padding, node.dilation)
        images = self.images(plan, x)
        if len(node.inputs) > 1:
            other = plan.values[node.inputs[1]]
            check(other.shape == (len(x), len(node.weight), *window.positions) and other.dtype == np.float32)
        return nchw(self.convolved(plan, node, images, window))

    def convolved(self, plan: Plan, node: nodes.Convolution, x: Array, window: Window) -> Array:
        """Add the steps of a convolution of x (N, H, W, C), and return the array that they write, (N, OH, OW, K)."""
        y = plan.buffer((len(x), *window.positions, len(node.weight)))
        other = self.images(plan, plan.values[node.inputs[1]]) if len(node.inputs) > 1 else None
        compute = _convolution(node, x, window)
        name = node.function

        def run() -> None:
            found = compute()
            if other is not None:
                found = np.add(found, other, out=y)
            if name == "relu":
                np.maximum(found, ZERO, out=y)
            elif found is not y:
                np.copyto(y, found)

        plan.add(run)
        if name != "relu":
            self.apply(plan, name, y)
        return y

    def integers(self, plan: Plan, node: nodes.Integers) -> Array:
        """Add the layer itself, on arrays."""
        x, layer = plan.values[node.inputs[0]], node.layer
        y = self.computed(plan, lambda: layer.outputs(x))
        if len(node.inputs) == 1:
            return y
        return self._sum_then_relu(plan, y, plan.values[node.inputs[1]])

    def _sum_then_relu(self, plan: Plan, y: Array, other: Array) -> Array:
        check(y.shape == other.shape and y.dtype == other.dtype == np.float32)
        plan.add(partial(np.add, y, other, y))
        plan.add(partial(np.maximum, y, ZERO, out=y))
        return y

    # Other operations -------------------------------------------------------------------------------------

    def apply(self, plan: Plan, name: str | None, y: Array) -> None:
        """Add a function of each value, in place."""
        if name == "relu":
            plan.add(partial(np.maximum, y, ZERO, out=y))
        elif name == "tanh":
            plan.add(partial(np.tanh, y, y))
        elif name is not None:
            function = FUNCTIONS[name]
            plan.add(lambda: np.copyto(y, function(Tensor(y)).data))

    def function(self, plan: Plan, node: nodes.Function) -> Array:
        x = plan.values[node.inputs[0]]
        if x.dtype != np.float32:
            return self.computed(plan, lambda: FUNCTIONS[node.name](Tensor(x)).data)
        y = self.copy(plan, x)
        self.apply(plan, node.name, y)
        return y

    def norm(self, plan: Plan, node: nodes.Norm) -> Array:
        x, scale, shift = plan.values[node.inputs[0]], node.scale, node.shift
        check(x.ndim == 4 and x.dtype == np.float32 and x.shape[1] == len(scale))
        images = self.images(plan, x)
        y = plan.buffer(images.shape)
        plan.add(partial(np.multiply, images, scale, y))
        plan.add(partial(np.add, y, shift, y))
        return nchw(y)

    def softmax(self, plan: Plan, node: nodes.Softmax) -> Array:
        x, function = plan.values[node.inputs[0]], activations.log_softmax if node.log else activations.softmax
        return self.computed(plan, lambda: function(Tensor(x), node.dim).data)

    def pool(self, plan: Plan, node: nodes.Pool) -> Array:
        x, settings = plan.values[node.inputs[0]], (node.kernel, node.stride, node.padding)
        if node.largest:
            return self.computed(plan, lambda: QuantizedMaxPool2d(*settings)(Tensor(x)).data)  # also for integers
        check(x.dtype == np.float32)
        return self.computed(plan, lambda: avg_pool2d(Tensor(x), *settings).data)

    def section_means(self, plan: Plan, node: nodes.SectionMeans) -> Array:
        x = plan.values[node.inputs[0]]
        return self.computed(plan, lambda: adaptive_avg_pool2d(Tensor(x), node.sizes).data)

    def flatten(self, plan: Plan, node: nodes.Flatten) -> Array:
        x = plan.values[node.inputs[0]]
        check(x.ndim > 1)
        return self.contiguous(plan, x).reshape(len(x), -1)

    def sum(self, plan: Plan, node: nodes.Add) -> Array:
        one, other = (plan.values[value] for value in node.inputs)
        check(one.shape == other.shape and one.dtype == other.dtype == np.float32)
        y = self.copy(plan, one)
        plan.add(partial(np.add, y, other, y))
        return y

    def call(self, plan: Plan, node: nodes.Call) -> Array:
        x, layer = plan.values[node.inputs[0]], node.layer

        def run() -> Array:
            with evaluating(layer) if isinstance(layer, Module) else nullcontext():
                y: Array = layer(Tensor(x)).data
            check(not plan.hides_nan or math.isfinite(np.add.reduce(y, axis=None)))
            return y

        return self.computed(plan, run)

    # Buffers ----------------------------------------------------------------------------------------------

    def computed(self, plan: Plan, compute: Callable[[], Array]) -> Array:
        """Add a function that returns a new array. It is called once now, to find its shape and dtype."""
        with no_grad():
            try:
                first = np.asarray(compute())
            except Exception as error:  # of a layer of unknown type, which may refuse the trial's zeros
                raise CannotPlanError from error
        check(first.dtype.name in ("float32", "int8", "uint8"))
        if first.ndim == 4:
            y = nchw(plan.buffer((len(first), *first.shape[2:], first.shape[1]), first.dtype))
        else:
            y = plan.buffer(first.shape, first.dtype)

        def run() -> None:
            with no_grad():
                found = np.asarray(compute())
            check(found.shape == y.shape and found.dtype == y.dtype)
            np.copyto(y, found)

        plan.add(run)
        return y

    def copy(self, plan: Plan, x: Array) -> Array:
        """Return a buffer with a step that copies x into it."""
        y = nchw(plan.buffer((len(x), *x.shape[2:], x.shape[1]))) if x.ndim == 4 else plan.buffer(x.shape)
        plan.add(partial(np.copyto, y, x))
        return y

    def contiguous(self, plan: Plan, x: Array) -> Array:
        """Return x itself if it is contiguous, or else a buffer, with a step that copies x into it."""
        if x.flags.c_contiguous:
            return x
        buffer = plan.buffer(x.shape, x.dtype)
        plan.add(partial(np.copyto, buffer, x))
        return buffer

    def images(self, plan: Plan, x: Array) -> Array:
        """Return images (N, C, H, W) as contiguous (N, H, W, C)."""
        return self.contiguous(plan, x.transpose(0, 2, 3, 1))


def check(fits: bool) -> None:
    if not fits:
        raise CannotPlanError


def nchw(images: Array) -> Array:
    return images.transpose(0, 3, 1, 2)


def window_of(shape: tuple[int, ...], kernel: Any, stride: Any, padding: Any, dilation: Any = 1) -> Window:
    try:
        return slide("", Tensor(np.broadcast_to(ZERO, shape)), kernel, stride, padding, dilation)
    except TinyTorchError as error:
        raise CannotPlanError from error


def _convolution(node: nodes.Convolution, x: Array, window: Window) -> Callable[[], Array]:
    """Return a function that convolves the current contents of x (N, H, W, C); it may return the same array again."""
    weight, bias = node.weight, node.bias
    plain = node.groups == 1 and window.stride == window.dilation == (1, 1)
    if plain and window.kernel == (3, 3) and min(weight.shape[:2]) >= cv.WINOGRAD_CHANNELS:
        tiles = node.kept.setdefault("tiles", cv.weight_tiles(weight))
        return partial(cv.winograd_forward, x, tiles, bias, window)
    if node.groups == 1 and window.kernel == (1, 1) and window.padding == (0, 0):
        return partial(cv.pointwise_forward, x, weight.reshape(weight.shape[:2]), bias, window)
    return _by_columns(node, x, window)


def _by_columns(node: nodes.Convolution, x: Array, window: Window) -> Callable[[], Array]:
    """Return a convolution as one product for each group: the windows are copied into rows of a fixed array."""
    (n, height, width, c), (ph, pw), k, groups = x.shape, window.padding, len(node.weight), node.groups
    padded = np.zeros((n, height + 2 * ph, width + 2 * pw, c), np.float32) if ph or pw else x
    inner = padded[:, ph : ph + height, pw : pw + width]
    view = windows(padded, window)  # (N, OH, OW, kh, kw, C)
    rows = np.empty((groups, *view.shape[:5], c // groups), np.float32)
    by_group = np.moveaxis(view.reshape(*view.shape[:5], groups, c // groups), 5, 0) if groups > 1 else view[None]
    weight = node.weight.reshape(groups, k // groups, c // groups, *window.kernel).transpose(0, 3, 4, 2, 1)
    turned = node.kept.setdefault("columns", np.ascontiguousarray(weight).reshape(groups, -1, k // groups))
    y = np.empty((n, *window.positions, k), np.float32)
    flat, columns = y.reshape(-1, k), rows.reshape(groups, math.prod(view.shape[:3]), -1)
    parts = np.empty((groups, len(flat), k // groups), np.float32) if groups > 1 else flat[None]

    def run() -> Array:
        if padded is not x:
            np.copyto(inner, x)
        np.copyto(rows, by_group)
        np.matmul(columns, turned, parts)
        if groups > 1:
            np.copyto(flat.reshape(-1, groups, k // groups), parts.transpose(1, 0, 2))
        if node.bias is not None:
            np.add(flat, node.bias, flat)
        return y

    return run
