"""Module 17: INT8 products with oneDNN. Scales, bias, ReLU, and rounding to the next layer's integers are fused into
the product: the int32 sums never leave the CPU's registers.

Each kernel has two methods: `accumulate` returns the bare sums, `finished` the layer's output. oneDNN 3.2 supports only
one input scale for all rows; where each row has its own scale (dynamic quantization), NumPy applies it afterwards. A
linear layer has a third method, `outputs`, for float32 rows: `_Rows` runs all steps on a block that stays in the cache.

A primitive is created for each input shape and kept for the last few shapes. Its array pointers are set at each run, so
a kernel does one run at a time. Where a layer's result is int8, oneDNN saturates it at -128, NumPy at -127.

oneDNN rounds int8 sums to float32, which is not exact beyond 2^24. It does not round uint8 sums, so `accumulate`
computes long int8 sums through uint8: q W = (q + 128) W - 128 (1 W).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy import ndarray as Array

from tinytorch.arrays.integers import LARGEST, IntegerLayer, row_scales, shift_of, shifted
from tinytorch.arrays.parallel import SMALLEST, in_parallel
from tinytorch.arrays.windows import Window, blocks, pad
from tinytorch.native.library import library
from tinytorch.native.primitives import (
    ATTR_SCALES,
    BIAS,
    BINARY_DIVIDE,
    CONVOLUTION_DIRECT,
    DST,
    FACTORS,
    FORWARD_INFERENCE,
    SRC,
    SUM,
    WEIGHTS,
    Attributes,
    Descriptor,
    Layouts,
    Primitive,
    aligned,
    threads,
)
from tinytorch.native.products import EXACT_COLUMNS
from tinytorch.native.program import cost_of

SHAPES = 16  # input shapes for which primitives are kept
BLOCK = 2**18  # values that pass through all steps together: as floats they take 1 MB, which stays in the cache
_mine = threading.local()
SPEEDUP = 4  # this many int8 products take the time of one float32 product, the unit of SMALL
# What a primitive computes: int32 sums; float32 sums without the rows' scales; the layer's output; the same, added to
# the output's array, with ReLU of the result; the output of a single row, whose scale is an argument.
SUMS, FLOATS, OUTPUT, ADDED, ROW = "sums", "floats", "output", "added", "row"


class _Kernel:
    """Base class of the two kernels."""

    weight_mask: int  # bit mask of the weight's dimensions that have separate scales

    def __init__(self, layer: IntegerLayer, plain: Descriptor) -> None:
        self.layer = layer
        self.weight = Layouts(np.ascontiguousarray(layer.weight), plain)
        self._turn = threading.Lock()
        self.primitive = lru_cache(maxsize=SHAPES)(self.make)

    def make(
        self, shape: tuple[int, ...], dtype: np.dtype, result: str, *settings: Any, alone: bool | None = None
    ) -> Primitive:
        """Create the primitive for inputs of that shape and dtype; all arrays but input and output are bound to it.

        `alone` selects one thread or all threads; None lets the amount of work decide.
        """
        raise NotImplementedError

    def dtype_of(self, result: str) -> Any:
        if result in (OUTPUT, ADDED):
            return np.dtype(self.layer.output_dtype or np.float32)
        return np.dtype(np.int32 if result == SUMS else np.float32)

    def run(self, primitive: Primitive, q: Array, y: Array) -> Array:
        if y.size:
            with self._turn:
                primitive.run({SRC: q, DST: y})
        return y

    def bind(
        self, result: str, q: Array, y: Array, *settings: Any, alone: bool | None = None
    ) -> tuple[Callable[[], object], Array]:
        primitive = self.make(q.shape, q.dtype, result, *settings, alone=alone)
        primitive.bind({SRC: q, DST: y})
        return primitive, y

    def attributes(self, result: str) -> tuple[Attributes | None, dict[int, Array]]:
        """Return the operations that follow the sums, and the arrays that they need."""
        if result == SUMS:
            return None, {}
        layer, scales = self.layer, {WEIGHTS: self.layer.weight_scale}
        if result == FLOATS:
            return Attributes({WEIGHTS: self.weight_mask}), _as_arguments(scales)
        if layer.input_scale is not None or result == ROW:
            scales[SRC] = np.ones(1, np.float32) if layer.input_scale is None else layer.input_scale
        if layer.output_scale is not None:
            scales[DST] = layer.output_scale
        constants = _as_arguments(scales)
        if layer.bias is not None:
            constants[BIAS] = np.ascontiguousarray(layer.bias)
        masks = {argument: self.weight_mask if argument == WEIGHTS else 0 for argument in scales}
        if result == ADDED:
            return Attributes(masks, (SUM, "relu")), constants
        return Attributes(masks, ("relu",) if layer.relu else ()), constants

    def assembled(
        self,
        function: str,
        arguments: Callable[[Any], list[Any]],
        arrays: dict[int, Descriptor],
        result: str,
        operations: int,
        alone: bool | None,
    ) -> Primitive:
        """Create the primitive and bind its constants and packed weight. `arguments` is called with the attributes."""
        attributes, constants = self.attributes(result)
        fixed = {argument: Descriptor(array.shape, np.float32) for argument, array in constants.items()}
        cost = cost_of(operations // SPEEDUP, arrays[SRC].size + arrays[DST].size + self.layer.weight.size)
        chosen = operations // SPEEDUP if alone is None else threads(alone)
        primitive = Primitive(function, arguments(attributes), {**fixed, WEIGHTS: None, **arrays}, chosen, cost)
        primitive.bind(constants | {WEIGHTS: self.weight.packed_in(primitive.descriptor(WEIGHTS))})
        return primitive

    def needs_shift(self, q: Array) -> bool:
        """Return whether a sum may be too large for float32 to represent exactly."""
        return q.dtype == np.int8 and self.layer.depth > EXACT_COLUMNS

    def unshifted(self, sums: Array) -> Array:
        """Subtract the shift from the sums (..., out) of q + 128, in place, and return the sums of q."""
        sums -= shift_of(self.layer.weight)
        return sums

    def by_rows(self, y: Array, scale: Array) -> Array:
        """Apply the rows' scales, bias, and ReLU in place for dynamic quantization; y is sums times weight scales."""
        y *= scale
        if self.layer.bias is not None:
            y += self.layer.bias
        return np.maximum(y, np.float32(0), out=y) if self.layer.relu else y


def rounding(x: Array, scale: Array, dtype: str, alone: bool = True) -> tuple[Callable[[], object], Array]:
    """Return a function that rounds the current float32 values of `x`, contiguous, and the array that it writes.

    It rounds as `quantization.quantize` does. For 16,384 values it takes 3 µs; NumPy's five passes take 17 µs.
    """
    q, largest = np.zeros(x.shape, dtype), LARGEST[dtype]
    source, target, factor = (
        Descriptor((x.size,), np.float32),
        Descriptor((x.size,), dtype),
        Descriptor((1,), np.float32),
    )
    limits = Attributes(post=[("clip", -largest if dtype == "int8" else 0, largest)])
    arrays: dict[int, Descriptor | None] = {SRC: source, FACTORS: factor, DST: target}
    cost = cost_of(0, source.size + target.size)
    primitive = Primitive("binary", (BINARY_DIVIDE, source, factor, target, limits), arrays, threads(alone), cost)
    primitive.bind({SRC: x, FACTORS: scale.reshape(1), DST: q})
    return primitive, q


def _as_arguments(scales: dict[int, Array]) -> dict[int, Array]:
    return {ATTR_SCALES | argument: scale.reshape(-1) for argument, scale in scales.items()}


class Linear(_Kernel):
    """Products of rows (M, in) with a weight (out, in)."""

    weight_mask = 2  # for the weight as (in, out)

    def __init__(self, layer: IntegerLayer) -> None:
        self.out, self.depth = layer.weight.shape
        super().__init__(layer, Descriptor((self.depth, self.out), np.int8, (1, self.depth)))
        self._own = threading.local()  # this thread's buffers

    def dynamic(self, x: Array) -> Array:
        """Return the output for contiguous float32 rows, each with its own scale.

        This is 1.4 to 2 times as fast as the same in two steps.
        """
        return self.outputs(x, np.empty((len(x), self.out), np.float32))

    def outputs(self, x: Array, y: Array) -> Array:
        """Write the output for contiguous float32 rows to y. Each row has its own scale; the cores share the rows."""
        if x.size < SMALLEST:
            if x.size:
                self.rows(len(x)).run(x, y)
            return y
        step = max(64, BLOCK // max(self.depth, self.out) // 64 * 64)

        def work(begin: int, end: int) -> None:
            for part in blocks(begin, end, step):
                self.rows(part.stop - part.start).run(x[part], y[part])

        in_parallel(x, work)
        return y

    def rows(self, count: int) -> _Rows:
        """Return this thread's buffers for `count` rows."""
        kept: dict[int, _Rows] | None = getattr(self._own, "rows", None)
        if kept is None:
            kept = self._own.rows = {}
        if count not in kept:
            if len(kept) == SHAPES:
                kept.clear()
            kept[count] = _Rows(self, count, _scratch(count * self.depth))
        return kept[count]

    def accumulate(self, q: Array) -> Array:
        if self.needs_shift(q):
            return self.unshifted(self._product(shifted(q), SUMS))
        return self._product(q, SUMS)

    def finished(self, q: Array, scale: Array) -> Array:
        if self.layer.input_scale is not None:
            return self._product(q, OUTPUT)
        return self.by_rows(self._product(q, FLOATS), scale)

    def _product(self, q: Array, result: str) -> Array:
        y = np.empty((len(q), self.out), self.dtype_of(result))
        return self.run(self.primitive(q.shape, q.dtype, result), np.ascontiguousarray(q), y) if y.size else y

    def bound(
        self, q: Array, y: Array | None = None, *, alone: bool | None = None
    ) -> tuple[Callable[[], object], Array]:
        """Return a function that computes the output for the current contents of `q`, and the array that it writes.

        That array is y if given. `q` contains integers, or contiguous float32 rows for a dynamic layer.
        """
        y = np.zeros((len(q), self.out), self.dtype_of(OUTPUT)) if y is None else y
        if q.dtype.kind != "f":
            return self.bind(OUTPUT, q, y, alone=alone)
        if q.size >= SMALLEST:
            return partial(self.outputs, q, y), y
        return _Rows(self, len(q), np.empty(q.size, np.float32)).bound(q, y), y

    def make(
        self, shape: tuple[int, ...], dtype: np.dtype, result: str, *settings: Any, alone: bool | None = None
    ) -> Primitive:
        x, y = Descriptor(shape, dtype), Descriptor((shape[0], self.out), self.dtype_of(result))
        free = Descriptor((self.depth, self.out), np.int8, "any")
        biased = result in (OUTPUT, ADDED, ROW) and self.layer.bias is not None
        bias = Descriptor((1, self.out), np.float32) if biased else None
        arrays = {SRC: x, DST: y} | ({BIAS: bias} if bias else {})
        shares = result in (FLOATS, ROW)  # `outputs` splits the rows between threads itself
        operations = 0 if shares else 2 * shape[0] * self.depth * self.out

        def arguments(attributes: Any) -> list[Any]:
            return [x, free, bias, y, attributes]

        return self.assembled("matmul", arguments, arrays, result, operations, alone)


class _Rows:
    """Dynamic quantization of `count` float32 rows, their product, and the operations after it, with reused buffers.

    `quantization.quantize_rows` is the plain version of the first part and returns the same integers. oneDNN scales and
    rounds in one pass. A single row has one scale in all, so oneDNN also does the operations after the product.
    """

    def __init__(self, kernel: Linear, count: int, scratch: Array) -> None:
        self.by_rows = kernel.by_rows if count > 1 else None
        self.sizes = scratch.reshape(count, kernel.depth)
        self.scale, self.factor = np.empty((2, count, 1), np.float32)
        q = self.sizes.view(np.int8).reshape(-1)[: self.sizes.size].reshape(self.sizes.shape)
        self.round = _rounding_rows(q.shape)
        self.round.bind({DST: q, ATTR_SCALES | SRC: self.factor})
        self.product = kernel.make(q.shape, q.dtype, FLOATS if count > 1 else ROW)
        self.product.bind({SRC: q} if count > 1 else {SRC: q, ATTR_SCALES | SRC: self.scale})

    def run(self, x: Array, y: Array) -> None:
        np.reciprocal(row_scales(x, self.sizes, self.scale), self.factor)
        self.round.run({SRC: x})
        self.product.run({DST: y})
        if self.by_rows is not None:
            self.by_rows(y, self.scale)

    def bound(self, x: Array, y: Array) -> Callable[[], object]:
        """Return `run` bound to these arrays, which saves 3 of 13 µs for one row."""
        self.round.bind({SRC: x})
        self.product.bind({DST: y})

        def run() -> None:
            np.reciprocal(row_scales(x, self.sizes, self.scale), self.factor)
            self.round.run()
            self.product.run()
            if self.by_rows is not None:
                self.by_rows(y, self.scale)

        return run


def _scratch(size: int) -> Array:
    """Return `size` float32 values of this thread's scratch memory. All layers share it, so it stays in the cache."""
    memory: Array | None = getattr(_mine, "memory", None)
    if memory is None or memory.size < size:
        memory = _mine.memory = aligned(4 * size).view(np.float32)
    return memory[:size]


def _rounding_rows(shape: tuple[int, ...]) -> Primitive:
    """Create a primitive that computes round(x factor) as int8 from float32 x, with one factor for each row."""
    source, target = Descriptor(shape, np.float32), Descriptor(shape, np.int8)
    factors, engine = {ATTR_SCALES | SRC: Descriptor(shape[:1], np.float32)}, library().engine
    what = (source, engine, target, engine, Attributes({SRC: 1}))
    return Primitive("reorder", what, {SRC: source, DST: target, **factors}, operations=0)


class Conv2d(_Kernel):
    """Convolutions of channels-last images (N, H, W, C)."""

    def __init__(self, layer: IntegerLayer) -> None:
        self.channels, groups = len(layer.weight), layer.groups
        self.sizes = layer.weight.shape  # (K, C, kh, kw); with groups: (groups, K/groups, C/groups, kh, kw)
        if groups > 1:
            self.sizes = (groups, self.channels // groups, *self.sizes[1:])
        self.weight_mask = 1 if groups == 1 else 3
        super().__init__(layer, Descriptor(self.sizes, np.int8))

    def accumulate(self, q: Array, window: Window) -> Array:
        if self.needs_shift(q):
            images = pad(shifted(q), window.padding, fill=128)  # oneDNN would pad with 0, which here means -128
            return self.unshifted(self._product(images, replace(window, padding=(0, 0)), SUMS))
        return self._product(q, window, SUMS)

    def finished(self, q: Array, scale: Array, window: Window) -> Array:
        if self.layer.input_scale is not None:
            return self._product(q, window, OUTPUT)
        return self.by_rows(self._product(q, window, FLOATS), scale)

    def _product(self, q: Array, window: Window, result: str) -> Array:
        y = np.empty((len(q), *window.positions, self.channels), self.dtype_of(result))
        if not y.size:
            return y
        return self.run(self.primitive(q.shape, q.dtype, result, window), np.ascontiguousarray(q), y)

    def bound(
        self, q: Array, window: Window, y: Array | None = None, add: bool = False, *, alone: bool | None = None
    ) -> tuple[Callable[[], object], Array]:
        """As `Linear.bound`. With `add`, it computes y = relu(y + output) for float32 y of the output's shape."""
        if y is None:
            y = np.zeros((len(q), *window.positions, self.channels), self.dtype_of(OUTPUT))
        return self.bind(ADDED if add else OUTPUT, q, y, window, alone=alone)

    def make(
        self, shape: tuple[int, ...], dtype: np.dtype, result: str, *settings: Any, alone: bool | None = None
    ) -> Primitive:
        (n, height, width, c), window, layer = shape, settings[0], self.layer
        x = Descriptor((n, c, height, width), dtype, "channels_last")
        y = Descriptor((n, self.channels, *window.positions), self.dtype_of(result), "channels_last")
        free = Descriptor(self.sizes, np.int8, "any")
        biased = result in (OUTPUT, ADDED) and layer.bias is not None
        bias = Descriptor((self.channels,), np.float32) if biased else None
        dilation = [d - 1 for d in window.dilation]  # oneDNN counts the gaps
        arrays = {SRC: x, DST: y} | ({BIAS: bias} if bias else {})

        def arguments(attributes: Any) -> list[Any]:
            kind = (FORWARD_INFERENCE, CONVOLUTION_DIRECT)
            tail = (list(window.stride), dilation, list(window.padding), list(window.padding))
            return [*kind, x, free, bias, y, *tail, attributes]

        operations = 2 * n * window.positions[0] * window.positions[1] * layer.weight.size
        return self.assembled("convolution_forward", arguments, arrays, result, operations, alone)
