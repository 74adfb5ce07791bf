"""Module 17: INT8 inference for one image, with minimal overhead around the products.

For a small layer and one image, the product is not what takes most of the time: oneDNN needs 3 µs for 512 x 784 INT8
products, about as long as wrapping three arrays in Tensors. Everything that depends only on the input shape is
therefore done once for each shape: buffers are allocated, and kernels are bound to them. A prediction then only runs
the kernels one after the other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tinytorch.acceleration import trace
from tinytorch.activations import ReLU, relu
from tinytorch.autograd import no_grad
from tinytorch.layers import Dropout, Flatten, Module, Sequential
from tinytorch.native import backend, int8
from tinytorch.quantized.layers import QuantizedConv2d, QuantizedLayer, QuantizedLinear
from tinytorch.spatial import BasicBlock
from tinytorch.tensor import Array, Tensor

SHAPES = 32  # input shapes whose buffers are kept
Layer = Callable[[Tensor], Tensor]


class Chain:
    """The steps from an input of one shape to the output, all on preallocated buffers.

    Static INT8 layers, residual blocks of them, and dynamic INT8 linear layers run on bound kernels. Any other layer is
    called as it is. Images are stored channels-last in memory, as everywhere in TinyTorch.
    """

    def __init__(self, layers: list[Layer], shape: tuple[int, ...]) -> None:
        self.steps: list[Callable[[], object]] = []
        if len(shape) == 4:
            n, c, height, width = shape
            self.given = np.zeros((n, height, width, c), np.float32).transpose(0, 3, 1, 2)
        else:
            self.given = np.zeros(shape, np.float32)
        now = self.given
        for layer in layers:
            now = self._after(layer, now)
        self.output = now

    def __call__(self, x: Array) -> Array:
        np.copyto(self.given, x, casting="same_kind")
        for step in self.steps:
            step()
        return self.output.copy()

    def _after(self, layer: Layer, x: Array) -> Array:
        """Add the steps of a layer, and return the array that they write, in the layer's output shape."""
        if type(layer) is Flatten:
            return self._contiguous(x).reshape(len(x), -1)
        if type(layer) is Dropout:  # the identity at inference
            return x
        if (layer is relu or type(layer) is ReLU) and x.dtype == np.float32:
            y = np.zeros(x.shape, np.float32)
            self.steps.append(partial(np.maximum, x, np.zeros(1, np.float32), out=y))
            return y
        if type(layer) is QuantizedLinear and (layer.input_scale is not None or x.dtype == np.float32):
            rows = self._contiguous(x).reshape(-1, x.shape[-1])
            y = self._bound(layer, rows if layer.input_scale is None else self._rounded(layer, rows))
            return y.reshape(*x.shape[:-1], layer.out_features)
        if type(layer) is QuantizedConv2d and layer.input_scale is not None:
            images = self._contiguous(x.transpose(0, 2, 3, 1))
            return _nchw(self._bound(layer, self._rounded(layer, images)))
        if type(layer) is BasicBlock and _all_integer(layer):
            return self._block(layer, self._contiguous(x.transpose(0, 2, 3, 1)))
        return self._any(layer, x)

    def _block(self, block: BasicBlock, x: Array) -> Array:
        """Add the steps of relu(conv2(conv1(x)) + shortcut(x)): conv2 adds its result to the shortcut's output."""
        conv1, conv2, shortcut = _parts(block)
        q = self._rounded(conv1, x)
        if isinstance(shortcut, QuantizedConv2d):
            x = self._bound(shortcut, q if _agree(conv1, shortcut) else self._rounded(shortcut, x))
        return _nchw(self._bound(conv2, self._bound(conv1, q), x))

    def _rounded(self, layer: QuantizedLayer, x: Array) -> Array:
        """Return the layer's input as integers, with a step that rounds x to them if x is floating-point."""
        if x.dtype.kind != "f":
            return x
        dtype, scale = layer.input_dtype, layer.input_scale
        assert dtype is not None
        assert scale is not None
        run, q = int8.rounding(x, scale.data, dtype)
        self.steps.append(run)
        return q

    def _bound(self, layer: QuantizedLayer, q: Array, onto: Array | None = None) -> Array:
        if isinstance(layer, QuantizedConv2d):
            run, y = layer.kernel().bound(q, layer.window(_nchw(q).shape), onto)
        else:
            run, y = layer.kernel().bound(q)
        self.steps.append(run)
        return y

    def _contiguous(self, x: Array) -> Array:
        """Return x itself if it is contiguous, or else a buffer, with a step that copies x into it."""
        if x.flags.c_contiguous:
            return x
        buffer = np.zeros(x.shape, x.dtype)
        self.steps.append(partial(np.copyto, buffer, x))
        return buffer

    @no_grad()
    def _any(self, layer: Layer, x: Array) -> Array:
        y = np.array(layer(Tensor(x)).data)
        y = y.astype(np.float32) if y.dtype.kind == "f" else y

        @no_grad()
        def run() -> None:
            y[...] = layer(Tensor(x)).data

        self.steps.append(run)
        return y


def _nchw(images: Array) -> Array:
    return images.transpose(0, 3, 1, 2)


def _parts(block: BasicBlock) -> tuple[Any, Any, Any]:
    """Return the block's two convolutions and its shortcut, of any type: they may have been replaced."""
    return block.conv1, block.conv2, block.shortcut


def _agree(a: Any, b: Any) -> bool:
    """Return whether two static layers round an input to the same integers."""
    return a.input_dtype == b.input_dtype and a.input_scale.data == b.input_scale.data


def _all_integer(block: BasicBlock) -> bool:
    """Return whether `quantize_static` has converted the whole block: norms folded, convolutions INT8 and linked."""
    first, second, shortcut = _parts(block)
    identities: list[Any] = [block.bn1, block.bn2]
    if type(shortcut) is not QuantizedConv2d:
        identities.append(shortcut)
    elif shortcut.input_scale is None or shortcut.output_scale is not None or shortcut.relu:
        return False
    if type(first) is not QuantizedConv2d or type(second) is not QuantizedConv2d or second.relu:
        return False
    linked = first.input_scale is not None and first.relu and first.output_dtype == second.input_dtype is not None
    return linked and second.output_scale is None and all(type(x) is Sequential and not len(x) for x in identities)


def predictor(model: Module) -> Callable[[Array], Array]:
    """Return a function from input array to output array that computes what `model.eval()` does, with less overhead.

    It is a snapshot of the model. If the backend is native, a Sequential with static INT8 layers or INT8 linear layers
    runs on bound kernels, one prediction at a time; other threads wait. Any other model is traced (see
    `acceleration.trace`), or called as it is if its input is integers (tokens).
    """
    model.eval()
    layers = [part for part in model.modules() if isinstance(part, QuantizedLayer)]
    bound = any(part.input_scale is not None or type(part) is QuantizedLinear for part in layers)
    if type(model) is not Sequential or not bound or not backend.native(np.int8):
        return _plain(model)
    chains: dict[tuple[int, ...], Chain] = {}
    lock, fallback = threading.Lock(), _plain(model)

    def predict(x: Array) -> Array:
        if x.dtype.kind != "f" or not x.size:
            return fallback(x)
        with lock:
            chain = chains.get(x.shape)
            if chain is None:
                if len(chains) == SHAPES:
                    chains.clear()
                chain = chains[x.shape] = Chain(model.layers, x.shape)
            return chain(x)

    return predict


def _plain(model: Module) -> Callable[[Array], Array]:
    traced = trace(model)

    @no_grad()
    def run(x: Array) -> Array:
        return model(Tensor(x)).data

    return lambda x: traced(x) if x.dtype.kind == "f" and x.size else run(x)
