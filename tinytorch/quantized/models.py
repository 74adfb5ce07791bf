"""Conversion of a trained float32 model to INT8 layers.

    quantize_dynamic        quantizes the weights now; computes the scales of activations from each row at inference
    quantize_static         measures the range of each layer's input on a few calibration batches and then fixes it,
                            so that layers can pass integers to each other
    prepare_qat, convert    continue training with rounded weights and activations, then convert in the same way

All of them return a new model and leave the original unchanged. Every Linear, Conv2d, Embedding, and LearnedPositions,
at any depth, is replaced by its counterpart in `layers` or `tables`; the containers stay. Batch normalization is first
folded into the convolution before it (`quantized.folding`). Module 17, `quantization`, defines scales and rounding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import get_args

import numpy as np

from tinytorch.activations import ReLU, relu
from tinytorch.base.errors import SettingError
from tinytorch.embeddings import Embedding, LearnedPositions
from tinytorch.layers import Dropout, Flatten, Linear, Module, Sequential
from tinytorch.quantization import FakeQuantized, Method, observed, quantize_weight
from tinytorch.quantized.folding import fold_batch_norm, inference_copy
from tinytorch.quantized.layers import QuantizedConv2d, QuantizedLayer, QuantizedLinear, QuantizedMaxPool2d
from tinytorch.quantized.tables import QuantizedEmbedding, QuantizedPositions
from tinytorch.spatial import BasicBlock, Conv2d, MaxPool2d
from tinytorch.surgery.parts import replaced
from tinytorch.tensor import Array, Tensor


def _with_weight(new: QuantizedLayer, layer: Linear | Conv2d, bits: int, input_scale: Array | None) -> QuantizedLayer:
    new.weight.data, new.weight_scale.data = quantize_weight(layer.weight.data, bits)
    if layer.bias is not None and new.bias is not None:
        new.bias.data = layer.bias.data.astype(np.float32)
    if new.input_scale is not None and input_scale is not None:
        new.input_scale.data = input_scale
    return new


def quantized_layer(
    layer: Linear | Conv2d, bits: int, input_dtype: str | None = None, input_scale: Array | None = None
) -> QuantizedLayer:
    """Return the INT8 counterpart of a layer; it is dynamic without an input dtype and scale."""
    biased, sizes = layer.bias is not None, layer.weight.shape
    if isinstance(layer, Linear):
        new: QuantizedLayer = QuantizedLinear(sizes[1], sizes[0], biased, input_dtype=input_dtype)
    else:
        settings = ((sizes[2], sizes[3]), layer.stride, layer.padding, layer.dilation, layer.groups, biased)
        new = QuantizedConv2d(sizes[1] * layer.groups, sizes[0], *settings, input_dtype=input_dtype)
    return _with_weight(new, layer, bits, input_scale)


def _quantized_table(layer: Module, bits: int) -> Module | None:
    """Return the counterpart of an embedding or of learned positions; None for any other layer."""
    if type(layer) is Embedding:
        embedding = QuantizedEmbedding(layer.num_embeddings, layer.embedding_dim)
        embedding.rows.weight.data, embedding.rows.weight_scale.data = quantize_weight(layer.weight.data, bits)
        return embedding
    if type(layer) is LearnedPositions:
        positions = QuantizedPositions(*layer.weight.shape)
        positions.rows.data, positions.weight_scale.data = quantize_weight(layer.weight.data, bits)
        return positions
    return None


def quantize_dynamic(model: Module, bits: int = 8) -> Module:
    """Quantize the weights to INT8, and each row of a layer's input (each image of a convolution's) at inference.

    Each row gets its own scale. No data is needed, and layers pass float32 to each other. This suits transformers,
    whose activations differ widely in magnitude.

    Raises:
        SettingError: bits is not 2 to 8.
        NonFiniteError: a weight is NaN or infinite.
    """

    def make(part: Module) -> Module:
        if isinstance(part, Linear | Conv2d) and type(part) in (Linear, Conv2d):
            return quantized_layer(part, bits)
        return _quantized_table(part, bits) or part

    return replaced(inference_copy(fold_batch_norm(model)), make)


def quantize_static(model: Module, batches: Iterable[Array], method: Method = "minmax", bits: int = 8) -> Module:
    """Quantize the weights to INT8, and each layer's input with a fixed scale from the calibration batches.

    An input that was never negative becomes uint8, any other int8. Later values beyond the range saturate. In a
    Sequential or a BasicBlock, consecutive layers pass integers to each other, ReLU is fused into the layer before it,
    and max pooling and Flatten work on the integers. Batch normalization is folded first. The product with a token
    embedding is quantized dynamically.

    Args:
        batches: inputs for the model, as arrays; a few hundred samples are enough.
        method: "minmax", the whole range; "percentile", all but the largest 0.01% of the magnitudes; "mse", the range
            with the smallest squared error.

    Raises:
        SettingError: there is no data, no batch reaches a layer, the method is unknown, or bits is not 2 to 8.
        NonFiniteError: a weight or a layer's input is NaN or infinite.
    """
    if method not in get_args(Method):
        raise SettingError(f"calibration: method {method!r}: expected one of {', '.join(get_args(Method))}")
    folded = fold_batch_norm(model)
    observers = observed(folded, batches, method)

    def make(part: Module) -> Module:
        if isinstance(part, Linear | Conv2d) and id(part) in observers:
            observer = observers[id(part)]
            return quantized_layer(part, bits, observer.dtype, observer.scale(method))
        return _quantized_table(part, bits) or part

    return _chained(replaced(folded, make))


def _chained(model: Module) -> Module:
    """Let consecutive quantized layers pass integers to each other, fuse ReLU into them, and drop Dropout layers."""
    uses = Counter(id(part) for part in model.modules())
    for part in list(model.modules()):
        if type(part) is Sequential:
            part.layers = _chain(_unnested(part.layers), uses)
        elif type(part) is BasicBlock and isinstance(part.bn1, Sequential):
            first, second = part.conv1, part.conv2
            if isinstance(first, QuantizedLayer) and isinstance(second, QuantizedLayer) and uses[id(first)] == 1:
                first.relu = True
                _link(first, second)
    return model


def _unnested(layers: Iterable[Callable[[Tensor], Tensor]]) -> Iterator[Callable[[Tensor], Tensor]]:
    """Yield the layers of nested plain Sequentials in order, without Dropout."""
    for layer in layers:
        if type(layer) is Sequential:
            yield from _unnested(layer.layers)
        elif not isinstance(layer, Dropout):
            yield layer


def _chain(layers: Iterable[Callable[[Tensor], Tensor]], uses: Counter[int]) -> list[Callable[[Tensor], Tensor]]:
    out: list[Callable[[Tensor], Tensor]] = []
    last: QuantizedLayer | None = None  # while all layers after it can pass integers through
    for layer in layers:
        if last is not None and (layer is relu or isinstance(layer, ReLU)):
            last.relu = True  # max(x, 0) commutes with max pooling and Flatten
            continue
        if isinstance(layer, MaxPool2d):
            layer = QuantizedMaxPool2d(layer.kernel_size, layer.stride, layer.padding)
        elif isinstance(layer, QuantizedLayer):
            if last is not None:
                _link(last, layer)
            last = layer if uses[id(layer)] == 1 else None
        elif not isinstance(layer, Flatten):
            last = None
        out.append(layer)
    return out


def _link(first: QuantizedLayer, second: QuantizedLayer) -> None:
    if first.input_scale is not None and second.input_scale is not None:
        first.output_dtype = second.input_dtype
        first.register_buffer("output_scale", Tensor(second.input_scale.data.copy()))


def prepare_qat(model: Module, bits: int = 8) -> Module:
    """Return a copy whose layers simulate INT8 rounding. Train it further, then call `convert`.

    Batch normalization is folded first. Embeddings are quantized only in `convert`.

    Raises:
        SettingError: bits is not 2 to 8.
    """

    def make(part: Module) -> Module:
        if isinstance(part, Linear | Conv2d) and type(part) in (Linear, Conv2d):
            quantize_weight(part.weight.data, bits)  # raises now rather than during training
            return FakeQuantized(part, bits)
        return part

    return replaced(fold_batch_norm(model), make).train()


def convert(model: Module) -> Module:
    """Convert a trained model from `prepare_qat` to its INT8 model.

    Raises:
        SettingError: no batch has reached a layer.
        NonFiniteError: a weight is NaN or infinite.
    """
    bits = max((part.bits for part in model.modules() if isinstance(part, FakeQuantized)), default=8)

    def make(part: Module) -> Module:
        if isinstance(part, FakeQuantized):
            return quantized_layer(part.layer, part.bits, *part.input_range())
        return _quantized_table(part, bits) or part

    return _chained(replaced(inference_copy(model), make))
