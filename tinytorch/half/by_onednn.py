"""Module 15: operations on 16-bit numbers, computed by oneDNN's bfloat16 kernels.

Each `x_kernel(slow)` returns an op that tries oneDNN's kernel first. Where the kernel does not support the inputs, it
runs `slow`, the version of the op from `by_float32`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from tinytorch.arrays.parallel import in_parallel
from tinytorch.arrays.windows import Gradients, Window, channels_first, channels_last
from tinytorch.autograd import DERIVATIVES, Rule, derivative, joint_derivative
from tinytorch.graph.reads import reads_as
from tinytorch.half.by_float32 import widen
from tinytorch.native import bf16, images
from tinytorch.native.library import UnsupportedError
from tinytorch.tensor import Array, Op, is_grad_enabled

_STRIP = 2**18  # elements, half a megabyte: stays in the cache from one step to the next


class _Kernel:
    """A wrapper around the arrays that a kernel kept. It tells the derivative that the kernel ran."""

    __slots__ = ("kept",)

    def __init__(self, kept: Any) -> None:
        self.kept = kept


def _first(slow: Op, forward: Callable[..., tuple[Array, Any]], *rules: Rule) -> Op:
    """Return `slow` with a kernel that runs first if the first input is bfloat16.

    If the kernel raises UnsupportedError, `slow` runs. `rules` are the derivatives of the kernel: one for each input,
    or one joint rule if `slow` has a joint rule.
    """

    def run(*arrays: Any, **attrs: Any) -> Any:
        if arrays[0].size and arrays[0].dtype.name == "bfloat16":
            with suppress(UnsupportedError):
                y, kept = forward(*arrays, **attrs)
                return y, _Kernel(kept)
        return slow.forward(*arrays, **attrs)

    def choose(rule: Rule, slow_rule: Rule) -> Rule:
        def chosen(g: Array, kept: Any, *arrays: Any, **attrs: Any) -> Any:
            if type(kept) is _Kernel:
                return rule(g, kept.kept, *arrays, **attrs)
            return slow_rule(g, kept, *arrays, **attrs)

        return chosen

    new = Op(slow.name, run)
    slow_rules: Any = DERIVATIVES.get(slow, ())
    if isinstance(slow_rules, tuple):
        derivative(new, *map(choose, rules, slow_rules))
    else:
        joint_derivative(new, choose(rules[0], slow_rules))
    reads_as(new, slow)
    return new


def convolution_kernel(slow: Op) -> Op:
    """Return the op of a convolution of any kind, with weights in the shapes that `half_convolution` accepts."""

    def as_images(w: Array, x: Array) -> tuple[Array, int]:
        w = w.reshape(*w.shape, 1, 1) if w.ndim == 2 else w
        return w, x.shape[1] // w.shape[1]

    def forward(
        x: Array, w: Array, b: Array | None = None, *, window: Window, input_gradient: bool
    ) -> tuple[Array, None]:
        kernel, groups = as_images(w, x)
        return channels_first(images.convolution_forward(channels_last(x), kernel, b, window, groups)), None

    def rule(
        g: Array, kept: None, x: Array, w: Array, b: Array | None = None, *, window: Window, input_gradient: bool
    ) -> Gradients:
        kernel, groups = as_images(w, x)
        try:
            arrays = channels_last(g), channels_last(x), kernel, b is not None, window, groups
            dx, dw, db = images.convolution_backward(*arrays, input_gradient)
        except UnsupportedError:
            return DERIVATIVES[slow](g, None, x, w, b, window=window, input_gradient=input_gradient)  # type: ignore[operator]
        return None if dx is None else channels_first(dx), dw.reshape(w.shape), db

    return _first(slow, forward, rule)


def max_pool_kernel(slow: Op) -> Op:
    def forward(x: Array, *, window: Window) -> tuple[Array, Array | None]:
        y, places = images.max_pool_forward(channels_last(x), window, is_grad_enabled())
        return channels_first(y), places

    def rule(g: Array, places: Array, x: Array, *, window: Window) -> Array:
        n, c, h, w = x.shape
        return channels_first(images.max_pool_backward(channels_last(g), places, (n, h, w, c), window))

    return _first(slow, forward, rule)


def batch_norm_kernel(slow: Op) -> Op:
    def forward(x: Array, weight: Array, bias: Array, *, mean: Array, inv_std: Array) -> tuple[Array, Array]:
        var = 1 / inv_std**2
        return channels_first(images.normalize(channels_last(x), weight, bias, mean, var)), var

    def rule(
        g: Array, var: Array, x: Array, weight: Array, bias: Array, *, mean: Array, inv_std: Array
    ) -> tuple[Array, Array, Array]:
        arrays = channels_last(g), channels_last(x), weight, mean, var
        dx, dweight, dbias = images.normalized_gradients(*arrays)
        return channels_first(dx), dweight, dbias

    return _first(slow, forward, rule)


def statistics_kernel(slow: Op) -> Op:
    return _first(slow, lambda x: (np.stack(images.channel_statistics(channels_last(x))), None))


def scale_kernel(slow: Op) -> Op:
    def forward(x: Array, scale: Array, shift: Array) -> tuple[Array, None]:
        none, one = np.zeros_like(scale), np.ones_like(scale)
        return channels_first(images.normalize(channels_last(x), scale, shift, none, one)), None

    return _first(slow, forward, DERIVATIVES[slow])  # type: ignore[arg-type]


def relu_backward(g: Array, y: Array) -> Array:
    """Return g where y > 0, else 0, for contiguous arrays.

    With the bits read as integers, -y is negative exactly where y > 0, so shifting its sign over all bits makes a mask.
    """
    dx = np.empty_like(g)

    def work(begin: int, end: int) -> None:
        out, g_bits, y_bits = (a[begin:end].reshape(-1).view(np.int16) for a in (dx, g, y))
        for i in range(0, out.size, _STRIP):
            part = slice(i, i + _STRIP)
            mask = np.negative(y_bits[part], out=out[part])
            mask >>= 15
            mask &= g_bits[part]

    in_parallel(g, work)
    return dx


def relu_kernel(slow: Op) -> Op:
    """Return the op of ReLU. It keeps its result for the derivative, contiguous, with images in channels-last order."""

    def ordered(x: Array) -> Array:
        return channels_last(x) if x.ndim == 4 else np.ascontiguousarray(x)

    def back(y: Array) -> Array:
        return channels_first(y) if y.ndim == 4 else y

    def forward(x: Array) -> tuple[Array, Array]:
        y = bf16.relu(ordered(x))
        return back(y), y

    return _first(slow, forward, lambda g, y, x: back(relu_backward(ordered(g), y)))


def _rows(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])


def linear_kernel(slow: Op) -> Op:
    def forward(x: Array, w: Array, b: Array | None = None) -> tuple[Array, None]:
        _need(x.ndim > 0 and x.shape[-1] == w.shape[1])
        return bf16.product(_rows(x), w.T, b).reshape(*x.shape[:-1], len(w)), None

    return _first(
        slow,
        forward,
        lambda g, kept, x, w, b=None: bf16.product(_rows(g), w).reshape(x.shape),
        lambda g, kept, x, w, b=None: bf16.product(_rows(g).T, _rows(x), exact=True),
        lambda g, kept, x, w, b: widen(_rows(g)).sum(axis=0),
    )


def matmul_kernel(slow: Op) -> Op:
    """Return the op of the matrix product. The kernel needs equal leading dimensions; `slow` handles broadcasting."""

    def forward(a: Array, b: Array) -> tuple[Array, None]:
        _need(a.ndim == b.ndim > 1 and a.shape[:-2] == b.shape[:-2] and a.shape[-1] == b.shape[-2] and b.size > 0)
        return bf16.product(a, b), None

    return _first(
        slow,
        forward,
        lambda g, kept, a, b: bf16.product(g, b.swapaxes(-1, -2)),
        lambda g, kept, a, b: bf16.product(a.swapaxes(-1, -2), g),
    )


def _need(fits: bool) -> None:
    if not fits:
        raise UnsupportedError("no kernel for these shapes")
