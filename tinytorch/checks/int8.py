"""Module 17: checks that a model is really quantized. A benchmark runs them before it accepts a figure.

They verify that each part has a known type and only the attributes of this type, so that it cannot hide other
arithmetic; that weights are int8; and that no float matrix is left where an INT8 layer belongs. On an example input,
they verify that the sums and outputs of each layer are those of exact integer arithmetic with its own int8 weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tinytorch.arrays.integers import LARGEST
from tinytorch.arrays.windows import Window, channels_last, pad, windows
from tinytorch.autograd import no_grad
from tinytorch.embeddings import SinusoidalPositions
from tinytorch.layers import Module, Sequential, evaluating
from tinytorch.quantization import quantize, quantize_rows
from tinytorch.quantized.layers import QuantizedConv2d, QuantizedLayer, QuantizedLinear
from tinytorch.saved.table import KINDS, kind_name
from tinytorch.surgery.parts import watched
from tinytorch.tensor import Array, Tensor

ROWS = 64  # rows of a layer's input that are recomputed (2 images for a convolution)
TOLERANCE = 1e-5  # relative to the largest output, because float32 rounds in another order

Seen = dict[str, tuple[QuantizedLayer, Array, Array]]


def verify_quantized(model: Module, x: Array) -> list[str]:
    """Return one line for each reason why the model is not a valid INT8 model; empty if it is valid.

    The model may only consist of types that can be saved. Another class could compute with float weights in a list, a
    vector, or a closure, which cannot be detected from outside.

    Args:
        x: an example of the model's input, which must reach every layer.
    """
    named = [(name or type(part).__name__, part) for name, part in model.named_modules()]
    problems = [line for name, part in named for line in _objections(name, part)]
    if not any(isinstance(part, QuantizedLayer) for _, part in named):
        return [*problems, "no quantized layer: expected at least one"]
    return problems or inexact_layers(model, x)  # an invalid model is not run


def inexact_layers(model: Module, x: Array) -> list[str]:
    """Run the model on an example and return one line for each int8 layer that does not compute exact integer sums.

    Other layers are not checked, so a model with int8 weights in some of its layers only can be verified as well.
    """
    named = [(name or type(part).__name__, part) for name, part in model.named_modules()]
    layers = [(name, part) for name, part in named if isinstance(part, QuantizedLayer)]
    seen: Seen = {}

    def look(name: str, layer: Module, given: Tensor, out: Tensor) -> None:
        if isinstance(layer, QuantizedLayer):
            seen.setdefault(name, (layer, given.data, out.data))

    with no_grad(), evaluating(model), watched(layers, look):
        model(Tensor(x))
    problems = [f"{name}: the example did not reach it" for name in _unseen(layers, seen)]
    return problems + [line for name, entry in seen.items() for line in _differences(name, *entry)]


def _unseen(layers: Sequence[tuple[str, Module]], seen: Seen) -> list[str]:
    """Return the names of layers that were not called under any of their names."""
    called = {id(layer) for layer, _, _ in seen.values()}
    return [name for name, layer in layers if id(layer) not in called]


def _objections(name: str, part: Module) -> list[str]:
    """Return the problems of a part that are visible without running it."""
    problems = []
    kind = kind_name(part)
    if isinstance(part, QuantizedLayer):
        if type(part) not in (QuantizedLinear, QuantizedConv2d):
            problems.append(f"{name}: {type(part).__name__} is not a layer of tinytorch.quantized")
        if part.weight.dtype != np.int8:
            problems.append(f"{name}: weight of dtype {part.weight.dtype}, expected int8")
    elif kind is None:
        problems.append(f"{name}: {type(part).__name__} is not a layer of tinytorch: what it computes is unknown")
    extra: set[str] = set() if kind is None else vars(part).keys() - {"training", *KINDS[kind].attributes}
    methods = extra & set(dir(type(part)))
    if methods:
        problems.append(f"{name}: {', '.join(sorted(methods))} replaced on the layer itself")
    problems += [f"{name}: {key}, which a {kind} does not have" for key in sorted(extra - methods)]
    for key, value in vars(part).items():
        for array in _arrays(value):
            matrix = array.ndim > 1 and array.dtype.kind not in "iub"
            if matrix and not isinstance(part, SinusoidalPositions):  # those are fixed waves, not weights
                problems.append(f"{name}: {key} of {array.dtype}, shape {array.shape}: a matrix that is not quantized")
    if isinstance(part, Sequential):
        unknown = [layer for layer in part.layers if not isinstance(layer, Module) and kind_name(layer) is None]
        problems += [f"{name}: {layer!r} is neither a layer nor an activation of tinytorch" for layer in unknown]
    return problems


def _arrays(value: object) -> Iterator[Array]:
    """Yield the arrays in an attribute's value, including those in lists, tuples, and dictionaries."""
    if isinstance(value, Tensor):
        yield value.data
    elif isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from _arrays(entry)


def _differences(name: str, layer: QuantizedLayer, x: Array, y: Array) -> list[str]:
    """Compare a layer's output y for input x with exact arithmetic on its own weights, and return the problems."""
    if isinstance(layer, QuantizedConv2d):
        x, y = x[:2], y[:2]
        q, scale = _as_integers(layer, x)
        exact = _exact_convolution(q, layer.weight.data, layer.window(x.shape), layer.groups)
        scale, y, sums = scale.astype(np.float64), channels_last(y), channels_last(layer.accumulators(q))
    else:
        x, y = x.reshape(-1, x.shape[-1])[:ROWS], y.reshape(-1, y.shape[-1])[:ROWS]
        q, scale = _as_integers(layer, x)
        exact, sums = q.astype(np.int64) @ layer.weight.data.astype(np.int64).T, layer.accumulators(q)
    problems = []
    if sums.dtype != np.int32 or not np.array_equal(exact, sums):
        problems.append(f"{name}: its sums are not those of integer arithmetic on its int8 weights")
    expected = exact * (scale * layer.weight_scale.data.astype(np.float64))
    if layer.bias is not None:
        expected = expected + layer.bias.data
    if layer.relu:
        expected = np.maximum(expected, 0)
    slack = TOLERANCE * float(np.abs(expected).max(initial=0))
    if layer.output_scale is not None and layer.output_dtype is not None:
        high = LARGEST[layer.output_dtype]
        low = 0 if layer.output_dtype == "uint8" else -high
        expected, slack = np.clip(expected / layer.output_scale.data, low, high), 0.5 + 1e-3 + float(low < 0) / 2
    elif y.dtype != np.float32:
        problems.append(f"{name}: output of {y.dtype}, expected float32")
    if not np.allclose(y, expected, rtol=TOLERANCE, atol=slack):
        problems.append(f"{name}: its output is not that of integer arithmetic on its int8 weights")
    return problems


def _as_integers(layer: QuantizedLayer, x: Array) -> tuple[Array, Array]:
    """Return the layer's input as integers, and their scale."""
    if layer.input_scale is None or layer.input_dtype is None:
        return quantize_rows(x)
    scale = layer.input_scale.data
    return quantize(x, scale, layer.input_dtype) if x.dtype.kind == "f" else x, scale


def _exact_convolution(q: Array, weight: Array, window: Window, groups: int) -> Array:
    """Return the exact convolution of integers (N, C, H, W), int64 (N, OH, OW, K)."""
    seen = windows(pad(channels_last(q), window.padding), window).astype(np.int64)  # (N, OH, OW, kh, kw, C)
    parts = zip(np.split(seen, groups, axis=-1), np.split(weight.astype(np.int64), groups), strict=True)
    return np.concatenate([np.tensordot(a, w, ((3, 4, 5), (2, 3, 1))) for a, w in parts], axis=-1)
