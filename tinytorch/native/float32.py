"""Inference in float32 with oneDNN: products, convolutions, and pooling with all that follows them fused.

A layer's weight is packed once for each layout that a primitive chooses. Bias, ReLU, the residual sum, and other
functions are applied while a result is still in registers. Images are channels-last, (N, H, W, C): with AVX2 and
AVX-512, oneDNN is as fast on them as on its blocked layouts (ResNet-8: 161 µs both ways), and NumPy can read them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy import ndarray as Array

from tinytorch.arrays.windows import Window
from tinytorch.native.library import library
from tinytorch.native.primitives import (
    BIAS,
    CONVOLUTION_DIRECT,
    DST,
    FORWARD_INFERENCE,
    POOLING_MAX,
    POOLING_MEAN,
    SRC,
    WEIGHTS,
    Attributes,
    Descriptor,
    Layouts,
    Primitive,
    threads,
)
from tinytorch.native.program import cost_of

Shape = tuple[int, ...]
FEW_ROWS = 16


def _cost(operations: int, *shapes: Sequence[int]) -> int:
    return cost_of(operations, 4 * sum(math.prod(shape) for shape in shapes))


class Linear:
    """y = f(x W^T + b) for rows (M, in) with a weight (out, in); `post` lists the operations that follow."""

    def __init__(self, weight: Array, bias: Array | None, post: Sequence[str] = ()) -> None:
        self.out, self.depth = weight.shape
        self._bias, self._post = _copy(bias), tuple(post)
        weight = np.ascontiguousarray(weight, np.float32)
        self._turned = Layouts(weight, Descriptor((self.depth, self.out), np.float32, (1, self.depth)))
        self._weight = Layouts(weight, Descriptor(weight.shape, np.float32))

    def primitive(self, rows: int, alone: bool) -> Primitive:
        """Return a primitive for that number of rows, with SRC and DST to bind.

        oneDNN has two for the same product. For one row by 512 x 256, `matmul` takes 4.6 µs and `inner_product` 5.9;
        for 64 rows by 784 x 512, they take 141 and 138 µs.
        """
        x, y = Descriptor((rows, self.depth), np.float32), Descriptor((rows, self.out), np.float32)
        few = rows < FEW_ROWS
        bias = None if self._bias is None else Descriptor((1, self.out) if few else (self.out,), np.float32)
        free = Descriptor((self.depth, self.out) if few else (self.out, self.depth), np.float32, "any")
        kind = () if few else (FORWARD_INFERENCE,)
        arguments = (*kind, x, free, bias, y, Attributes(post=self._post))
        arrays: dict[int, Descriptor | None] = {SRC: x, WEIGHTS: None, DST: y} | ({BIAS: bias} if bias else {})
        work = 2 * rows * self.depth * self.out
        cost = _cost(work, (rows, self.depth), (self.out, self.depth), (rows, self.out))
        primitive = Primitive("matmul" if few else "inner_product_forward", arguments, arrays, threads(alone), cost)
        return _with_weight(primitive, self._turned if few else self._weight, self._bias)


class Conv2d:
    """A convolution of channels-last images with a weight (K, C/groups, kh, kw), and the operations in `post`."""

    def __init__(self, weight: Array, bias: Array | None, groups: int = 1, post: Sequence[str] = ()) -> None:
        self.channels, sizes = len(weight), weight.shape
        self._sizes = (groups, self.channels // groups, *sizes[1:]) if groups > 1 else sizes
        self._bias, self._post = _copy(bias), tuple(post)
        self._weight = Layouts(np.ascontiguousarray(weight, np.float32), Descriptor(self._sizes, np.float32))

    def primitive(self, shape: Shape, window: Window, alone: bool) -> Primitive:
        """Return a primitive for images (N, H, W, C), with SRC and DST to bind."""
        n, height, width, c = shape
        x = Descriptor((n, c, height, width), np.float32, "channels_last")
        y = Descriptor((n, self.channels, *window.positions), np.float32, "channels_last")
        bias = None if self._bias is None else Descriptor((self.channels,), np.float32)
        free = Descriptor(self._sizes, np.float32, "any")
        dilation = [d - 1 for d in window.dilation]  # oneDNN counts the gaps
        tail = (list(window.stride), dilation, list(window.padding), list(window.padding), Attributes(post=self._post))
        arguments = (FORWARD_INFERENCE, CONVOLUTION_DIRECT, x, free, bias, y, *tail)
        arrays: dict[int, Descriptor | None] = {SRC: x, WEIGHTS: None, DST: y} | ({BIAS: bias} if bias else {})
        out = (n, self.channels, *window.positions)
        cost = _cost(2 * math.prod(out) * math.prod(self._sizes) // self.channels, shape, out, self._sizes)
        primitive = Primitive("convolution_forward", arguments, arrays, threads(alone), cost)
        return _with_weight(primitive, self._weight, self._bias)


def _with_weight(primitive: Primitive, weight: Layouts, bias: Array | None) -> Primitive:
    bound = {WEIGHTS: weight.packed_in(primitive.descriptor(WEIGHTS))}
    primitive.bind(bound if bias is None else bound | {BIAS: bias})
    return primitive


def _copy(bias: Array | None) -> Array | None:
    return None if bias is None else np.array(bias, np.float32, order="C")


def pooling(shape: Shape, window: Window, largest: bool, dtype: Any, alone: bool) -> Primitive:
    """Return a primitive for the maximum or the mean of windows over channels-last images, with SRC and DST to bind.

    A mean includes the zeros of the padding. The maximum also supports int8 and uint8.
    """
    n, height, width, c = shape
    x = Descriptor((n, c, height, width), dtype, "channels_last")
    y = Descriptor((n, c, *window.positions), dtype, "channels_last")
    geometry = (list(window.stride), list(window.kernel), [0, 0], list(window.padding), list(window.padding))
    arguments = (FORWARD_INFERENCE, POOLING_MAX if largest else POOLING_MEAN, x, y, *geometry, None)
    cost = _cost(0, shape, (n, c, *window.positions))
    return Primitive("pooling_forward", arguments, {SRC: x, DST: y}, threads(alone), cost)


def to_channels_last(shape: Shape, alone: bool) -> Primitive:
    """Return a primitive that copies images (N, C, H, W) to (N, H, W, C), with SRC and DST to bind.

    It takes a third to a ninth of NumPy's time.
    """
    x, y = Descriptor(shape, np.float32), Descriptor(shape, np.float32, "channels_last")
    engine = library().engine
    return Primitive("reorder", (x, engine, y, engine, None), {SRC: x, DST: y}, threads(alone), _cost(0, shape, shape))
