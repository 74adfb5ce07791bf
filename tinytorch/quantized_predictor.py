"""Module 17: one image through an INT8 chain, with as little around the products as there can be.

For a small layer on one image the product is not what takes the time: oneDNN needs 3 us for 512 x 784 INT8 products,
about as long as wrapping three arrays in tensors. So everything that depends on the shape alone is done once for each
shape of input: buffers are made, kernels bound to them; a prediction rounds the input and starts one kernel after the
other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import numpy as np

from tinytorch import kernels
from tinytorch.acceleration import trace
from tinytorch.autograd import no_grad
from tinytorch.layers import Flatten, Module, Sequential
from tinytorch.quantized import QuantizedConv2d, QuantizedLinear, QuantizedMaxPool2d
from tinytorch.quantizers import LARGEST
from tinytorch.tensor import Array, Tensor

SHAPES = 32  # input shapes whose buffers are kept
Step = Callable[[], object]


class Chain:
    """The steps from an input of one shape to the output, all on buffers of their own."""

    def __init__(self, layers: list[Module], shape: tuple[int, ...]) -> None:
        self.steps: list[Step] = []
        first = next(layer for layer in layers if isinstance(layer, QuantizedLinear | QuantizedConv2d))
        assert first.input_scale is not None
        assert first.input_dtype is not None
        self.scale = np.asarray(first.input_scale.data, np.float32)
        self.high = np.float32(min(LARGEST[first.input_dtype] * float(self.scale), float(np.finfo(np.float32).max)))
        self.low = np.float32(0) if first.input_dtype == "uint8" else -self.high
        self.rounded = np.empty(shape, np.float32)
        self.integers = now = np.empty(shape, first.input_dtype)
        for layer in layers:
            now = self._after(layer, now)
        self.output = now

    def _after(self, layer: Module, x: Array) -> Array:
        """Add the layer's step; the buffer that it writes, in the shape that it stands for."""
        if isinstance(layer, Flatten):
            return self._copied(x.reshape(len(x), -1), x)
        if isinstance(layer, QuantizedMaxPool2d):
            y = layer.outputs(x)
            self.steps.append(lambda: np.copyto(y, layer.outputs(x)))
            return y
        if isinstance(layer, QuantizedConv2d):
            images = x.transpose(0, 2, 3, 1)
            if not images.flags.c_contiguous:
                images = self._copied(np.empty(images.shape, x.dtype), images)
            run, y = layer.kernel().bound(images, layer.window(x.shape))
            self.steps.append(run)
            return y.transpose(0, 3, 1, 2)
        assert isinstance(layer, QuantizedLinear)
        rows = x.reshape(-1, x.shape[-1])
        run, y = layer.kernel().bound(rows)
        self.steps.append(run)
        return y.reshape(*x.shape[:-1], -1)

    def _copied(self, target: Array, source: Array) -> Array:
        """`target`, with a step that fills it from `source` unless it is a view of it."""
        if not np.may_share_memory(target, source):
            self.steps.append(partial(np.copyto, target.reshape(source.shape), source))
        return target

    def __call__(self, x: Array) -> Array:
        rounded = np.fmax(x, self.low, out=self.rounded)
        np.fmin(rounded, self.high, out=rounded)
        np.divide(rounded, self.scale, out=rounded)
        np.rint(rounded, out=rounded)
        np.copyto(self.integers, rounded, casting="unsafe")
        for step in self.steps:
            step()
        return self.output.copy()


def predictor(model: Module) -> Callable[[Array], Array]:
    """A function from input array to output array: what `model.eval()` gives, with less around it. A snapshot.

    A Sequential of static INT8 layers, max-pooling and Flatten runs on bound kernels where the backend is native, one
    prediction at a time; other threads wait. Anything else is `trace`d or, where its input is integers (tokens), run
    as it is.
    """
    model.eval()
    layers = _chainable(model)
    if not layers:
        return _plain(model)
    chains: dict[tuple[int, ...], Chain] = {}
    turn, traced = threading.Lock(), trace(model)

    def predict(x: Array) -> Array:
        if x.dtype.kind != "f" or not x.size:
            return traced(x)
        with turn:
            chain = chains.get(x.shape)
            if chain is None:
                if len(chains) == SHAPES:
                    chains.clear()
                chain = chains[x.shape] = Chain(layers, x.shape)
            return chain(x)

    return predict


def _chainable(model: Module) -> list[Module]:
    """The layers, if the model is a chain of integers from its first to its last quantized layer; else nothing."""
    if type(model) is not Sequential or not kernels.native(np.int8):
        return []
    layers = [layer for layer in model.layers if isinstance(layer, Module)]
    known = all(type(layer) in (Flatten, QuantizedMaxPool2d, QuantizedLinear, QuantizedConv2d) for layer in layers)
    products = [layer for layer in layers if isinstance(layer, QuantizedLinear | QuantizedConv2d)]
    if not known or len(layers) < len(model.layers) or not products or products[0].input_scale is None:
        return []
    if any(layer.output_scale is None for layer in products[:-1]):
        return []
    return layers


def _plain(model: Module) -> Callable[[Array], Array]:
    traced = trace(model)

    @no_grad()
    def run(x: Array) -> Array:
        return model(Tensor(x)).data

    return lambda x: traced(x) if x.dtype.kind == "f" else run(x)
