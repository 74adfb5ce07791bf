"""Module 17: batch normalization, folded into the convolution before it for inference."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable

from tinytorch.layers import Module, Parameter, Sequential
from tinytorch.quantization import fold
from tinytorch.spatial import BasicBlock, BatchNorm2d, Conv2d, MaxPool2d
from tinytorch.tensor import Tensor


def inference_copy(model: Module) -> Module:
    """Return a copy of the model in inference mode, without gradients."""
    new = copy.deepcopy(model).eval()
    new.zero_grad()
    return new


def fold_batch_norm(model: Module) -> Module:
    """Return a copy for inference, with each batch normalization folded into the convolution before it.

    `quantization.fold` computes the new weight and bias. In a Sequential, MaxPool2d may be between the two if no factor
    s of the norm is negative, because then max(s y) = s max(y). If there is another layer between them, or the
    convolution is used in several places, the norm stays.
    """
    new = inference_copy(model)
    uses = Counter(id(part) for part in new.modules())
    for part in list(new.modules()):
        if type(part) is Sequential:
            part.layers = _folded(part.layers, uses)
        elif type(part) is BasicBlock:
            for conv, norm in (("conv1", "bn1"), ("conv2", "bn2")):
                if type(getattr(part, norm)) is BatchNorm2d and uses[id(getattr(part, conv))] == 1:
                    _fold(getattr(part, conv), getattr(part, norm))
                    setattr(part, norm, Sequential())
    return new


def _folded(layers: list[Callable[[Tensor], Tensor]], uses: Counter[int]) -> list[Callable[[Tensor], Tensor]]:
    out: list[Callable[[Tensor], Tensor]] = []
    conv: Conv2d | None = None  # the last convolution, if only max pooling has come after it
    pooled = False
    for layer in layers:
        if type(layer) is BatchNorm2d and conv is not None and (not pooled or layer.weight.data.min() >= 0):
            _fold(conv, layer)
            continue
        if type(layer) is MaxPool2d:
            pooled = True
        else:
            conv, pooled = (layer if type(layer) is Conv2d and uses[id(layer)] == 1 else None), False
        out.append(layer)
    return out


def _fold(conv: Conv2d, norm: BatchNorm2d) -> None:
    weight, bias = fold(conv, norm)
    conv.weight, conv.bias = Parameter(weight), Parameter(bias)  # new: another layer may share the old ones
    conv.weight.data, conv.bias.data = weight, bias
