"""From a trained float32 model to one of INT8 layers.

    quantize_dynamic        the weights now; the scales of activations are computed from each row as it comes
    quantize_static         calibrated: the range of each layer's input is measured on a few batches and then fixed,
                            so that layers can pass integers on
    prepare_qat, convert    training goes on with rounded weights and activations first, then the same

All return a new model and leave the old one unchanged. Every Linear, Conv2d, Embedding and LearnedPositions, at any
depth, is replaced by its counterpart in `layers` or `tables`; the containers stay. Batch normalization is folded into
the convolution before it first (`surgery.folding`). Scales and rounding are module 17's, `quantization`.
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
from tinytorch.quantized.layers import QuantizedConv2d, QuantizedLayer, QuantizedLinear, QuantizedMaxPool2d
from tinytorch.quantized.tables import QuantizedEmbedding, QuantizedPositions
from tinytorch.spatial import BasicBlock, Conv2d, MaxPool2d
from tinytorch.surgery.folding import fold_batch_norm, inference_copy
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
    """The INT8 counterpart; without an input dtype and scale a dynamic one."""
    biased, sizes = layer.bias is not None, layer.weight.shape
    if isinstance(layer, Linear):
        new: QuantizedLayer = QuantizedLinear(sizes[1], sizes[0], biased, input_dtype=input_dtype)
    else:
        settings = ((sizes[2], sizes[3]), layer.stride, layer.padding, layer.dilation, layer.groups, biased)
        new = QuantizedConv2d(sizes[1] * layer.groups, sizes[0], *settings, input_dtype=input_dtype)
    return _with_weight(new, layer, bits, input_scale)


def _quantized_table(layer: Module, bits: int) -> Module | None:
    """The counterpart of an embedding or of positions; None for anything else."""
    if type(layer) is Embedding:
        rows = QuantizedEmbedding(layer.num_embeddings, layer.embedding_dim)
        rows.rows.weight.data, rows.rows.weight_scale.data = quantize_weight(layer.weight.data, bits)
        return rows
    if type(layer) is LearnedPositions:
        places = QuantizedPositions(*layer.weight.shape)
        places.rows.data, places.weight_scale.data = quantize_weight(layer.weight.data, bits)
        return places
    return None


def quantize_dynamic(model: Module, bits: int = 8) -> Module:
    """INT8 weights; each row of a layer's input (each image of a convolution's) gets its own scale when it comes.

    Needs no data. Layers pass float32 on. Fit for transformers, whose activations differ much in size.

    Raises:
        SettingError: bits is not 2 to 8. NonFiniteError: a weight is NaN or infinite.
    """

    def make(part: Module) -> Module:
        if isinstance(part, Linear | Conv2d) and type(part) in (Linear, Conv2d):
            return quantized_layer(part, bits)
        return _quantized_table(part, bits) or part

    return replaced(inference_copy(fold_batch_norm(model)), make)


def quantize_static(model: Module, batches: Iterable[Array], method: Method = "minmax", bits: int = 8) -> Module:
    """INT8 weights, and for each layer's input a fixed scale that the calibration batches decide.

    An input that was never negative becomes uint8, else int8; what goes beyond the range later saturates. In a
    Sequential and in a BasicBlock, layers that follow one another pass integers on, ReLU is part of the layer before,
    and max-pooling and Flatten take the integers as they are. Batch normalisation is folded first. A token embedding's
    product is dynamic.

    Args:
        batches: inputs for the model, as arrays; a few hundred samples do.
        method: "minmax", the whole range; "percentile", all but the largest 0.01% of the sizes; "mse", the range with
            the least squared error.

    Raises:
        SettingError: no data, a layer that no batch reaches, an unknown method, or bits that are not 2 to 8.
        NonFiniteError: a weight or a layer's input is NaN or infinite.
    """
    if method not in get_args(Method):
        raise SettingError(f"calibration: method {method!r}: expected one of {', '.join(get_args(Method))}")
    folded = fold_batch_norm(model)
    observers = observed(folded, batches, method)

    def make(part: Module) -> Module:
        if isinstance(part, Linear | Conv2d) and id(part) in observers:
            seen = observers[id(part)]
            return quantized_layer(part, bits, seen.dtype, seen.scale(method))
        return _quantized_table(part, bits) or part

    return _chained(replaced(folded, make))


def _chained(model: Module) -> Module:
    """Let quantized layers that follow one another pass integers on, with ReLU inside; drop what does nothing."""
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
    """The layers of plain Sequentials inside one another, in order, without Dropout."""
    for layer in layers:
        if type(layer) is Sequential:
            yield from _unnested(layer.layers)
        elif not isinstance(layer, Dropout):
            yield layer


def _chain(layers: Iterable[Callable[[Tensor], Tensor]], uses: Counter[int]) -> list[Callable[[Tensor], Tensor]]:
    out: list[Callable[[Tensor], Tensor]] = []
    last: QuantizedLayer | None = None  # while all that came after it lets integers through
    for layer in layers:
        if last is not None and (layer is relu or isinstance(layer, ReLU)):
            last.relu = True  # max(x, 0) may trade places with max-pooling and Flatten
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
        first.output_scale = Tensor(second.input_scale.data.copy())


def prepare_qat(model: Module, bits: int = 8) -> Module:
    """A copy whose layers compute as INT8 ones would, for training on; then `convert` it.

    Batch normalisation is folded first. Embeddings are left for `convert`.

    Raises:
        SettingError: bits is not 2 to 8.
    """

    def make(part: Module) -> Module:
        if isinstance(part, Linear | Conv2d) and type(part) in (Linear, Conv2d):
            quantize_weight(part.weight.data, bits)  # complains now rather than in training
            return FakeQuantized(part, bits)
        return part

    return replaced(fold_batch_norm(model), make).train()


def convert(model: Module) -> Module:
    """The INT8 model that a model from `prepare_qat`, now trained, stands for.

    Raises:
        SettingError: a layer has seen no batch. NonFiniteError: a weight is NaN or infinite.
    """
    bits = max((part.bits for part in model.modules() if isinstance(part, FakeQuantized)), default=8)

    def make(part: Module) -> Module:
        if isinstance(part, FakeQuantized):
            return quantized_layer(part.layer, part.bits, *part.input_range())
        return _quantized_table(part, bits) or part

    return _chained(replaced(inference_copy(model), make))
