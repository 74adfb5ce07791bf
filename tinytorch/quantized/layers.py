"""Module 17: layers with integer arithmetic.

    q = round(x / input_scale)                        uint8 where x cannot be negative, else int8
    acc[c] = sum_i q[i] weight[c, i]                  int8 weights and exact int32 sums
    y[c] = acc[c] input_scale weight_scale[c] + bias[c]

Scales are symmetric: zero is the integer 0, so padding and ReLU need no special case. The output is y as float32 or, if
the next layer is quantized too, round(y / output_scale). The next layer uses these integers directly, so a chain of
layers passes integers. The layers accept floats and integers, so they work inside any container.
`quantized.models` creates them from trained layers, and `native.backend` selects the kernels that compute the products.
Weights are fixed: do not write into the arrays, but replace them with `load_state_dict`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from operator import is_not
from typing import Any

import numpy as np

from tinytorch.arrays import pooling
from tinytorch.arrays.integers import LARGEST, IntegerLayer
from tinytorch.arrays.windows import Window, channels_first, channels_last, pad, windows
from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.layers import Module
from tinytorch.native import int8
from tinytorch.native.backend import native
from tinytorch.quantization import quantize, quantize_rows
from tinytorch.quantized.by_numpy import NumpyConv2d, NumpyLinear
from tinytorch.spatial import PairLike, max_pool2d, slide
from tinytorch.tensor import Array, Op, Tensor, apply

MOST_PRODUCTS = (2**31 - 1) // (255 * 127)  # products of any uint8 and int8 values whose sum fits into int32


class IntegerWeight(Tensor):
    """An int8 weight whose operations compute with the floats that it stands for, weight_scale[c] weight[c].

    So `x @ layer.weight.T` is correct in a model that was written for the float layer. `data` and `numpy()` are the
    integers, which a state_dict contains and kernels read.

    Attributes:
        scale: the layer's weight_scale, float32 (out,), or None while the layer is being built.
    """

    __slots__ = ("scale",)

    def __init__(self, integers: Array) -> None:
        super().__init__(integers)
        self.scale: Tensor | None = None

    def operand(self) -> Array:
        if self.scale is None:
            return self.data
        return self.data * self.scale.data.reshape(-1, *[1] * (self.data.ndim - 1))


class QuantizedLayer(Module):
    """Base class of the quantized linear and convolution layers.

    New layers hold zeros; `quantized.models` or a saved file fills them.

    Args:
        shape: the weight's shape, output channels first.
        bias: whether the layer has a bias.
        input_dtype: "uint8" or "int8" for a fixed `input_scale`; None for dynamic quantization, to int8 with a scale
            computed from each row.
        output_dtype: "uint8" or "int8" for integers with `output_scale`; None for float32.
        relu: apply ReLU before the output is rounded or returned.

    Buffers: weight int8 (see `IntegerWeight`), weight_scale float32 (out,), bias float32 (out,), input_scale and
        output_scale float32 ().

    Raises:
        SettingError: a dtype is not one of these, or a sum has so many products that it might not fit into int32.
    """

    def __init__(
        self, shape: tuple[int, ...], bias: bool, input_dtype: str | None, output_dtype: str | None, relu: bool
    ) -> None:
        name = type(self).__name__
        if min(shape) < 1 or int(np.prod(shape[1:])) > MOST_PRODUCTS:
            raise SettingError(f"{name}: weight of shape {shape}: expected sizes of at least 1, and at most "
                               f"{MOST_PRODUCTS} products in a sum, which int32 holds")  # fmt: skip
        if not {input_dtype, output_dtype} <= {None, *LARGEST} or (output_dtype and not input_dtype):
            raise SettingError(f"{name}: input {input_dtype}, output {output_dtype}: expected uint8, int8, or None, "
                               f"and no integer output for a dynamic layer")  # fmt: skip
        self.input_dtype, self.output_dtype, self.relu = input_dtype, output_dtype, relu
        self.weight = IntegerWeight(np.zeros(shape, np.int8))
        self.weight_scale = Tensor(np.ones(shape[0], np.float32))
        self.bias = Tensor(np.zeros(shape[0], np.float32)) if bias else None
        self.input_scale = Tensor(np.ones((), np.float32)) if input_dtype else None
        self.output_scale = Tensor(np.ones((), np.float32)) if output_dtype else None
        self._prepared: tuple[tuple[object, ...], Any] | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        """Let the weight know its scale, whichever is set first."""
        super().__setattr__(name, value)
        held = vars(self)
        if name in ("weight", "weight_scale") and isinstance(held.get("weight"), IntegerWeight):
            held["weight"].scale = held.get("weight_scale")

    def __getstate__(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Leave out the prepared kernel, whose native memory cannot be copied. A copy prepares its weights again."""
        return {**vars(self), "_prepared": None}, {"_buffers": self._buffers}

    def forward(self, x: Tensor) -> Tensor:
        return apply(Op(type(self).__name__, self.outputs), x)

    def outputs(self, x: Array) -> Array:
        """Return the layer's output for floats, or for integers that were quantized with its `input_scale`."""
        raise NotImplementedError

    def accumulators(self, q: Array) -> Array:
        """Return the exact int32 sums for integers of the input's shape."""
        raise NotImplementedError

    def integers(self, x: Array) -> tuple[Array, Array]:
        """Return the input as integers, and their scale: (), or one for each index of the first axis.

        Raises:
            SettingError: the input holds integers of another dtype than `input_dtype`.
        """
        if x.dtype.kind == "f":
            if self.input_scale is None or self.input_dtype is None:
                return quantize_rows(x)
            return quantize(x, self.input_scale.data, self.input_dtype), self.input_scale.data
        if self.input_scale is None or x.dtype != self.input_dtype:
            expected = f"floating point or {self.input_dtype}" if self.input_dtype else "floating point"
            raise SettingError(f"{type(self).__name__}: input of dtype {x.dtype}: expected {expected}")
        return x, self.input_scale.data

    def kernel(self) -> Any:
        """Return the layer's kernel, prepared again only if the layer's arrays or settings have been replaced."""
        parts = (self.weight, self.weight_scale, self.bias, self.input_scale, self.output_scale)
        arrays = [None if part is None else part.data for part in parts]
        now = (*arrays, self.input_dtype, self.output_dtype, self.relu)
        if self._prepared is None or any(map(is_not, now, self._prepared[0])):
            self._prepared = now, self.make_kernel(self.integer_layer())
        return self._prepared[1]

    def integer_layer(self) -> IntegerLayer:
        """Return the layer's arrays and settings, the only parts of the layer that a kernel receives."""
        bias, given, output = (None if x is None else x.data for x in (self.bias, self.input_scale, self.output_scale))
        return IntegerLayer(
            self.weight.data,
            self.weight_scale.data,
            bias,
            self.input_dtype,
            given,
            self.output_dtype,
            output,
            self.relu,
        )

    def make_kernel(self, layer: IntegerLayer) -> Any:
        """Create oneDNN's kernel if the backend has INT8 instructions, otherwise NumPy's."""
        raise NotImplementedError


class QuantizedLinear(QuantizedLayer):
    """`Linear` with int8 weights (out_features, in_features); see `QuantizedLayer`."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        input_dtype: str | None = None,
        output_dtype: str | None = None,
        relu: bool = False,
    ) -> None:
        super().__init__((out_features, in_features), bias, input_dtype, output_dtype, relu)
        self.in_features, self.out_features = in_features, out_features

    def make_kernel(self, layer: IntegerLayer) -> int8.Linear | NumpyLinear:
        return int8.Linear(layer) if native(np.int8) else NumpyLinear(layer)

    def outputs(self, x: Array) -> Array:
        if x.ndim == 0 or x.shape[-1] != self.in_features:
            raise ShapeError(f"QuantizedLinear: input of shape {x.shape}: expected (..., {self.in_features})")
        rows, kernel = x.reshape(-1, self.in_features), self.kernel()
        if self.input_scale is None and x.dtype == np.float32:
            y = kernel.dynamic(np.ascontiguousarray(rows))
        else:
            y = kernel.finished(*self.integers(rows))
        return y.reshape(*x.shape[:-1], self.out_features)

    def accumulators(self, q: Array) -> Array:
        sums = self.kernel().accumulate(q.reshape(-1, self.in_features))
        return sums.reshape(*q.shape[:-1], self.out_features)


class QuantizedConv2d(QuantizedLayer):
    """`Conv2d` with int8 weights (out_channels, in_channels/groups, kh, kw); see `QuantizedLayer`.

    Dynamic quantization treats each image as a row.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
        padding: tuple[int, int] = (0, 0),
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
        bias: bool = True,
        *,
        input_dtype: str | None = None,
        output_dtype: str | None = None,
        relu: bool = False,
    ) -> None:
        if min(in_channels, out_channels, groups) < 1 or in_channels % groups or out_channels % groups:
            raise SettingError(f"QuantizedConv2d: {in_channels} to {out_channels} channels in {groups} groups: "
                               f"expected at least 1 of each, and both channels multiples of the groups")  # fmt: skip
        shape = (out_channels, in_channels // groups, *kernel_size)
        super().__init__(shape, bias, input_dtype, output_dtype, relu)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups

    def window(self, shape: tuple[int, ...]) -> Window:
        """Return how the kernel slides over images (N, C, H, W).

        Raises:
            ShapeError: the images do not have `in_channels` channels, or the kernel does not fit.
        """
        if len(shape) == 4 and shape[1] != self.in_channels:
            raise ShapeError(f"QuantizedConv2d: input of shape {shape}: expected (N, {self.in_channels}, H, W)")
        kernel = self.weight.shape[2], self.weight.shape[3]
        return _window("QuantizedConv2d", shape, kernel, self.stride, self.padding, self.dilation)

    def integer_layer(self) -> IntegerLayer:
        return replace(super().integer_layer(), groups=self.groups)

    def make_kernel(self, layer: IntegerLayer) -> int8.Conv2d | NumpyConv2d:
        return int8.Conv2d(layer) if native(np.int8) else NumpyConv2d(layer)

    def outputs(self, x: Array) -> Array:
        window = self.window(x.shape)
        q, scale = self.integers(channels_last(x))
        return channels_first(self.kernel().finished(q, scale, window))

    def accumulators(self, q: Array) -> Array:
        return channels_first(self.kernel().accumulate(channels_last(q), self.window(q.shape)))


@lru_cache(maxsize=256)
def _window(name: str, shape: tuple[int, ...], *settings: Any) -> Window:
    """Return `slide` for floats of that shape, because `slide` rejects integers."""
    return slide(name, Tensor(np.broadcast_to(np.float32(0), shape)), *settings)


class QuantizedMaxPool2d(Module):
    """`MaxPool2d` that also accepts integers: rounding keeps the order, so the maximum is at the same position."""

    def __init__(self, kernel_size: PairLike, stride: PairLike | None = None, padding: PairLike = 0) -> None:
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype.kind == "f":
            return max_pool2d(x, self.kernel_size, self.stride, self.padding)
        return apply(Op("QuantizedMaxPool2d", self.outputs), x)

    def outputs(self, q: Array) -> Array:
        stride = self.kernel_size if self.stride is None else self.stride
        window = _window("QuantizedMaxPool2d", q.shape, self.kernel_size, stride, self.padding)
        images = channels_last(q)
        if pooling.side_by_side(window):
            return channels_first(pooling.max_pairs_forward(images, False)[0])
        padded = pad(images, window.padding, fill=int(np.iinfo(q.dtype).min))
        return channels_first(windows(padded, window).max(axis=(3, 4)))
