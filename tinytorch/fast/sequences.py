"""Convolutions of a `Sequential` that are computed together with the ReLU, and the max pooling, that follow them.

Layers are joined while nothing observes the tensors between them: hooks, `surgery.watched`, mixed precision, and
subclasses of the layers see each layer. The result is that of the layers one by one; gradients of weights are added up
in another order. Module 09 calls `join` with its classes, so a learner's own module runs its layers one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinytorch import activations
from tinytorch.arrays import pooling
from tinytorch.arrays.masks import masked
from tinytorch.arrays.windows import Gradients, Window, channels_first, channels_last
from tinytorch.autograd import joint_derivative
from tinytorch.base import fusing
from tinytorch.base.errors import TinyTorchError
from tinytorch.base.fusing import Layer
from tinytorch.fast import images as fast
from tinytorch.graph.reads import reads
from tinytorch.layers import Module
from tinytorch.native import chains, images
from tinytorch.native.library import UnsupportedError
from tinytorch.tensor import Array, Op, Tensor, apply, is_grad_enabled, set_policy

Kept = tuple[Array, ...]  # y and the places of the maxima; or y, the pooled and the whole result of the convolution
_RELUS = ("tinytorch.activations", "tinytorch.nn.activations")


# The op -----------------------------------------------------------------------------------------------


def _forward(
    x: Array, w: Array, b: Array | None = None, *, window: Window, pool: Window | None, input_gradient: bool
) -> tuple[Array, Kept]:
    x = channels_last(x)
    try:
        y, places = chains.forward(x, w, b, window, pool, is_grad_enabled())
        return channels_first(y), (y,) if places is None else (y, places)
    except UnsupportedError:  # NaN, which the kernel of max pooling hides
        assert pool is not None
        result = fast.convolution_forward(x, w, b, window)
        pooled = pooling.max_forward(result, pool)
        y = np.maximum(pooled, 0)
        return channels_first(y), (y, pooled, result)


def _gradients(
    g: Array, kept: Kept, x: Array, w: Array, b: Array | None = None, *,
    window: Window, pool: Window | None, input_gradient: bool,
) -> Gradients:  # fmt: skip
    g, x = channels_last(g.astype(np.float32, copy=False)), channels_last(x)
    if len(kept) == 3:
        y, pooled, result = kept
        assert pool is not None
        dresult = pooling.max_backward(masked(g, y != 0), result, pooled, pool)
        dx, dw, db = fast.convolution_backward(dresult, x, w, window, input_gradient)
    else:
        y, places = kept if len(kept) == 2 else (kept[0], None)
        dx, dw, db = chains.backward(g, y, places, x, w, window, pool, input_gradient)
    return None if dx is None else channels_first(dx), dw, db


chain_ = Op("conv2d, ReLU (oneDNN)", _forward)
pooled_chain_ = Op("conv2d, ReLU, max_pool2d (oneDNN)", _forward)
for _op in (chain_, pooled_chain_):
    joint_derivative(_op, _gradients)
    reads(_op, (1, -1), (0, -1), (-1,))


# The layers -------------------------------------------------------------------------------------------


def join(convolution: type[Module], max_pool: type[Module], slide: Callable[..., Window]) -> None:
    """Join these layers in every `Sequential`; `slide` returns the positions of a window, as in module 09."""

    def way(layers: Sequence[Layer]) -> Sequence[Layer]:
        if not any(type(layer) is convolution for layer in layers):
            return layers
        found: list[Layer] = []
        i = 0
        while i < len(layers):
            length = 1
            if type(layers[i]) is convolution and i + 1 < len(layers) and _is_relu(layers[i + 1]):
                length = 3 if i + 2 < len(layers) and type(layers[i + 2]) is max_pool else 2
            part = layers[i : i + length]
            found.append(_Joined(part, slide) if length > 1 and not any(map(fusing.is_seen, part)) else part[0])
            i += len(part) if isinstance(found[-1], _Joined) else 1
        return found

    fusing.add(way)


def _is_relu(layer: Layer) -> bool:
    return isinstance(layer, activations.ReLU) and type(layer).__module__ in _RELUS and type(layer).__name__ == "ReLU"


class _Joined:
    """A convolution, ReLU, and perhaps max pooling, as one layer."""

    def __init__(self, layers: Sequence[Any], slide: Callable[..., Window]) -> None:
        self._layers, self._slide = layers, slide

    def __call__(self, x: Tensor) -> Tensor:
        windows = self._windows(x)
        if windows is None:
            for layer in self._layers:
                x = layer(x)
            return x
        layer, (window, pool) = self._layers[0], windows
        inputs = (x, layer.weight) if layer.bias is None else (x, layer.weight, layer.bias)
        op = chain_ if pool is None else pooled_chain_
        return apply(op, *inputs, window=window, pool=pool, input_gradient=x.requires_grad)

    def _windows(self, x: Tensor) -> tuple[Window, Window | None] | None:
        """Return the windows of the convolution and of pooling; None if the layers must run one by one."""
        first, *others = self._layers
        weight, bias = first.weight, first.bias
        if not isinstance(x, Tensor) or x.ndim != 4 or x.shape[1] != weight.shape[1] * first.groups or _has_policy():
            return None
        if any(t is not None and t.data.dtype != np.float32 for t in (x, weight, bias)):
            return None
        try:
            window = self._slide("", x, weight.shape[2:], first.stride, first.padding, first.dilation)
            n, c, height, width = x.shape
            chain = (n, height, width, c), x.data.dtype, weight.shape, window, first.groups, is_grad_enabled()
            if not (fast.convolves(x, weight, window, first.groups) and chains.has_chain(*chain)):
                return None
            pool = self._pool((len(x.data), weight.shape[0], *window.positions), others[1]) if others[1:] else None
        except TinyTorchError:  # which the layer itself explains
            return None
        return None if others[1:] and pool is None else (window, pool)

    def _pool(self, shape: tuple[int, ...], layer: Any) -> Window | None:
        """Return the window of a pooling layer over images of this shape; None if oneDNN has no kernel."""
        kernel, stride = layer.kernel_size, layer.stride
        example = Tensor(np.broadcast_to(np.float32(0), shape))
        pool = self._slide("", example, kernel, kernel if stride is None else stride, layer.padding)
        fits = all(2 * p <= k for p, k in zip(pool.padding, pool.kernel, strict=True))
        n, c, height, width = shape
        return pool if fits and images.has_max_pool((n, height, width, c), example.dtype, pool) else None


def _has_policy() -> bool:
    policy = set_policy(None)
    set_policy(policy)
    return policy is not None
