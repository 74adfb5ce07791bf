"""Module 17: a layer that is trained with its rounding, before it becomes an INT8 one (`quantization.convert`)."""

from __future__ import annotations

import numpy as np

from tinytorch.autograd import derivative
from tinytorch.errors import SettingError
from tinytorch.layers import Linear, Module, linear
from tinytorch.quantizers import LARGEST, Observer, quantize, quantize_weight
from tinytorch.spatial import Conv2d, conv2d
from tinytorch.tensor import Array, Op, Tensor, apply

MOMENTUM = 0.05  # of the range that follows the batches


def _rounding(x: Array, scale: Array, dtype: str) -> tuple[Array, Array]:
    largest = scale * LARGEST[dtype]
    return quantize(x, scale, dtype) * scale, (x >= (0 if dtype == "uint8" else -largest)) & (x <= largest)


def _rounding_weight(weight: Array, bits: int) -> Array:
    q, scale = quantize_weight(weight, bits)
    return q * scale.reshape(-1, *[1] * (weight.ndim - 1))


# Rounding has slope 0 almost everywhere. The straight-through rule takes it for the identity, where nothing saturates
# (Bengio et al. 2013, https://arxiv.org/abs/1308.3432).
fake_quantize_ = Op("fake_quantize", _rounding)
fake_quantize_weight_ = Op("fake_quantize_weight", _rounding_weight)
derivative(fake_quantize_, lambda g, inside, x, scale, dtype: g * inside)
derivative(fake_quantize_weight_, lambda g, y, weight, bits: g)


class FakeQuantized(Module):
    """A Linear or Conv2d that computes in float32 what its INT8 counterpart would: weights and input are rounded to
    their integers' values. The weights stay float32 underneath and learn to live with it.

    In training the input's range follows the batches, (1 - 0.05) range + 0.05 batch's.
    Buffers: low and high, that range, float32 (); NaN before the first batch.
    """

    def __init__(self, layer: Linear | Conv2d, bits: int = 8) -> None:
        self.layer, self.bits = layer, bits
        self.low, self.high = Tensor(np.array(np.nan, np.float32)), Tensor(np.array(np.nan, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self._follow(x.data)
        dtype, scale = self.input_range()
        rounded = apply(fake_quantize_, x, scale=scale, dtype=dtype)
        weight = apply(fake_quantize_weight_, self.layer.weight, bits=self.bits)
        layer, bias = self.layer, self.layer.bias
        if isinstance(layer, Conv2d):
            return conv2d(rounded, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)
        return apply(linear, rounded, weight) if bias is None else apply(linear, rounded, weight, bias)

    def input_range(self) -> tuple[str, Array]:
        """The input's dtype and scale.

        Raises:
            SettingError: no batch has been seen in training.
        """
        seen = Observer()
        seen.low, seen.high = float(self.low.data), float(self.high.data)
        if np.isnan(seen.low):
            raise SettingError("quantization-aware training: no range yet; train on at least one batch first")
        return seen.dtype, seen.scale("minmax")

    def _follow(self, x: Array) -> None:
        seen = Observer()
        seen.see("a layer", x)
        for buffer, value in ((self.low, seen.low), (self.high, seen.high)):
            old = float(buffer.data)
            new = value if np.isnan(old) else old + MOMENTUM * (value - old)
            buffer.data = np.array(new, np.float32)
