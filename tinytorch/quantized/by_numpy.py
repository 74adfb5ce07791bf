"""The arithmetic of the INT8 layers in NumPy: exact int32 sums, then scales, bias, ReLU, and rounding.

`native.int8` contains the same kernels for oneDNN. Both receive an `IntegerLayer` and do not depend on modules.
"""

from __future__ import annotations

import numpy as np

from tinytorch.arrays.integers import IntegerLayer
from tinytorch.arrays.windows import Window
from tinytorch.native.products import pack
from tinytorch.quantization import quantize, quantize_rows
from tinytorch.spatial import im2col
from tinytorch.tensor import Array

COLUMN_BYTES = 2**20  # size of a block's columns, as in `spatial`


def finish(layer: IntegerLayer, sums: Array, scale: Array) -> Array:
    """Convert integer sums (..., out) to the layer's output; `scale` is the input's scale."""
    y = sums.astype(np.float32)
    y *= scale * layer.weight_scale
    if layer.bias is not None:
        y += layer.bias
    if layer.relu:
        np.maximum(y, np.float32(0), out=y)
    if layer.output_dtype is None or layer.output_scale is None:
        return y
    return quantize(y, layer.output_scale, layer.output_dtype)


class NumpyLinear:
    """The kernel of a linear layer."""

    def __init__(self, layer: IntegerLayer) -> None:
        self.layer, self.packed = layer, pack(layer.weight)

    def accumulate(self, q: Array) -> Array:
        return self.packed.product(q)

    def dynamic(self, x: Array) -> Array:
        """Return the output for float32 rows, each with its own scale."""
        return self.finished(*quantize_rows(x))

    def finished(self, q: Array, scale: Array) -> Array:
        return finish(self.layer, self.accumulate(q), scale)


class NumpyConv2d:
    """The kernel of a convolution, one block of images at a time; arrays are channels-last."""

    def __init__(self, layer: IntegerLayer) -> None:
        self.layer, self.channels = layer, len(layer.weight)
        columns = layer.weight.transpose(0, 2, 3, 1)  # (K, kh, kw, C/groups)
        self.packed = [pack(part.reshape(len(part), -1)) for part in np.split(columns, layer.groups)]

    def accumulate(self, q: Array, window: Window) -> Array:
        y = np.empty((len(q), *window.positions, self.channels), np.int32)
        for part in self._blocks(q, window):
            y[part] = self._products(q[part], window)
        return y

    def finished(self, q: Array, scale: Array, window: Window) -> Array:
        shape = (len(q), *window.positions, self.channels)
        y = np.empty(shape, self.layer.output_dtype or np.float32)
        for part in self._blocks(q, window):
            y[part] = finish(self.layer, self._products(q[part], window), scale if scale.ndim == 0 else scale[part])
        return y

    def _products(self, q: Array, window: Window) -> Array:
        columns = im2col(q, window, len(self.packed))
        sums = [packed.product(rows) for packed, rows in zip(self.packed, columns, strict=True)]
        return np.concatenate(sums, axis=1).reshape(len(q), *window.positions, -1)

    def _blocks(self, q: Array, window: Window) -> list[slice]:
        per_image = int(np.prod(window.positions) * np.prod(window.kernel)) * q.shape[3] * 4
        step = max(1, COLUMN_BYTES // per_image)
        return [slice(i, i + step) for i in range(0, len(q), step)]
