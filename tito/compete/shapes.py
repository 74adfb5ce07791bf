"""What a model does to the shape of one input, found from its description alone: nothing is built, and nothing runs.

Shows layers that do not fit one another, a result of another shape than the track's, integers where floats belong, an
operation across the batch, and outputs or work arrays that would not fit into memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from tinytorch.saved.folder import DESCRIPTION
from tinytorch.saved.kinds import PlannedLayer, Settings
from tinytorch.saved.table import NAMES
from tito.compete.problems import Problem, RefusedError
from tito.compete.rules import Track

FLOAT_BYTES = 4
Number = Literal["float", "int8", "uint8"]
INTEGERS_PASS = ("Flatten", "Dropout", "ReLU", "relu", "QuantizedMaxPool2d", "Sequential", "QuantizedLinear",
                 "QuantizedConv2d", "BasicBlock")  # fmt: skip


@dataclass(frozen=True)
class Flow:
    """What passes between two layers for one input: its shape without the batch, and its type of number."""

    shape: tuple[int, ...]
    number: Number = "float"

    def __str__(self) -> str:
        return f"{list(self.shape)} of {self.number}"


def shape_problem(root: PlannedLayer, track: Track, most_bytes: int) -> Problem | None:
    """Return the first reason why a model cannot answer the track's inputs with the track's outputs, or None."""
    try:
        if track.is_text:
            _Walk(most_bytes).text(root, track)
        else:
            _Walk(most_bytes).images(root, track)
    except RefusedError as error:
        return error.problems[0]
    return None


@dataclass
class _Walk:
    most_bytes: int
    fitted: bool = False  # whether a layer with weights has accepted what it was given

    def text(self, root: PlannedLayer, track: Track) -> None:
        """Check a GPT's sizes. That its parts fit one another is checked when its description is read."""
        if NAMES[root.kind.make] != "GPT":
            raise _refused("task", "model.type", NAMES[root.kind.make], "GPT")
        for key, expected in (("vocab_size", track.vocabulary), ("block_size", track.block)):
            if root.settings[key] != expected:
                raise _refused("task", f"model.{key}", str(root.settings[key]), str(expected))
        length = root.settings["block_size"]
        for i, block in enumerate(root.parts["transformer"].parts["h"]):
            heads = block.parts["attn"].settings["n_head"]
            self.fits(heads * length * length, f"model.transformer.h[{i}].attn")

    def images(self, root: PlannedLayer, track: Track) -> None:
        """Follow one image through the model."""
        if NAMES[root.kind.make] == "GPT":
            raise _refused("task", "model.type", "GPT", "a model of images")
        try:
            result = self.layer(root, Flow(tuple(track.input or ())), "model")
        except RefusedError as error:
            [problem] = error.problems
            if problem.code == "model" and not self.fitted:  # the first layer with weights is of another task
                raise RefusedError([replace(problem, code="task")]) from None
            raise
        if result != Flow((track.outputs or 0,)):
            raise _refused("task", "model", f"outputs {result}", f"[{track.outputs}] of float")

    def layer(self, layer: PlannedLayer, x: Flow, where: str) -> Flow:
        """Return what leaves a layer."""
        name = NAMES[layer.kind.make]
        if x.number != "float" and name not in INTEGERS_PASS:
            raise _refused("model", where, f"{name} after integers", "a layer that computes with integers")
        y = RULES[name](self, layer, x, where)
        self.fitted |= bool(layer.kind.tensors(layer.settings))
        self.fits(math.prod(y.shape), where)
        return y

    def fits(self, numbers: int, where: str) -> None:
        """Refuse arrays larger than the limit."""
        if numbers * FLOAT_BYTES > self.most_bytes:
            raise _refused(
                "memory", where, f"{numbers * FLOAT_BYTES} bytes for one input", f"at most {self.most_bytes}"
            )

    def all(self, layers: list[PlannedLayer], x: Flow, where: str) -> Flow:
        for i, layer in enumerate(layers):
            x = self.layer(layer, x, f"{where}[{i}]")
        return x


def _refused(code: str, where: str, found: str, expected: str) -> RefusedError:
    return RefusedError([Problem(code, DESCRIPTION, where, found, expected)])


def _misfit(layer: PlannedLayer, x: Flow, where: str, expected: str) -> RefusedError:
    return _refused("model", where, f"{NAMES[layer.kind.make]} after {x}", expected)


def _pair(value: object) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)  # type: ignore[arg-type,return-value]


# The rules, one for each row of the table of layers -----------------------------------------------------

Rule = Callable[[_Walk, PlannedLayer, Flow, str], Flow]


def _same(walk: _Walk, layer: PlannedLayer, x: Flow, where: str) -> Flow:
    return x


def _integers(layer: PlannedLayer, x: Flow, where: str) -> Number:
    """Check the integers that reach a quantized layer, and return what leaves it."""
    if x.number != "float" and layer.settings["input_dtype"] != x.number:
        raise _misfit(layer, x, where, f"input of {layer.settings['input_dtype'] or 'float'}")
    return layer.settings["output_dtype"] or "float"


def _linear(walk: _Walk, layer: PlannedLayer, x: Flow, where: str) -> Flow:
    if x.shape[-1] != layer.settings["in_features"]:
        raise _misfit(layer, x, where, f"a last size of {layer.settings['in_features']}")
    number = _integers(layer, x, where) if "input_dtype" in layer.settings else "float"
    return Flow((*x.shape[:-1], layer.settings["out_features"]), number)


def _windows(layer: PlannedLayer, x: Flow, where: str, settings: Settings) -> tuple[int, int]:
    """Return the number of places that a window has on an image, down and across."""
    kernel, padding = _pair(settings["kernel_size"]), _pair(settings["padding"])
    stride, dilation = _pair(settings["stride"] or kernel), _pair(settings.get("dilation", 1))
    sizes = zip(x.shape[1:], kernel, padding, stride, dilation, strict=True)
    down, across = ((size + 2 * p - d * (k - 1) - 1) // s + 1 for size, k, p, s, d in sizes)
    if min(down, across) < 1:
        raise _misfit(layer, x, where, "images larger than the window")
    return down, across


def _convolution(walk: _Walk, layer: PlannedLayer, x: Flow, where: str) -> Flow:
    s = layer.settings
    if len(x.shape) != 3 or x.shape[0] != s["in_channels"]:
        raise _misfit(layer, x, where, f"[{s['in_channels']}, height, width]")
    number = _integers(layer, x, where) if "input_dtype" in s else "float"
    down, across = _windows(layer, x, where, s)
    padded = [size + 2 * p for size, p in zip(x.shape[1:], _pair(s["padding"]), strict=True)]
    walk.fits(s["in_channels"] * math.prod(padded), where)
    walk.fits(s["in_channels"] * math.prod(_pair(s["kernel_size"])) * down * across, where)  # im2col
    return Flow((s["out_channels"], down, across), number)


def _pool(walk: _Walk, layer: PlannedLayer, x: Flow, where: str) -> Flow:
    if len(x.shape) != 3:
        raise _misfit(layer, x, where, "[channels, height, width]")
    s = layer.settings
    if any(2 * p > k for p, k in zip(_pair(s["padding"]), _pair(s["kernel_size"]), strict=True)):
        raise _refused("model", f"{where}.padding", str(s["padding"]), f"at most half of {s['kernel_size']}")
    padded = [size + 2 * p for size, p in zip(x.shape[1:], _pair(s["padding"]), strict=True)]
    walk.fits(x.shape[0] * math.prod(padded), where)
    return Flow((x.shape[0], *_windows(layer, x, where, s)), x.number)


def _adaptive(walk: _Walk, layer: PlannedLayer, x: Flow, where: str) -> Flow:
    if len(x.shape) != 3:
        raise _misfit(layer, x, where, "[channels, height, width]")
    return Flow((x.shape[0], *_pair(layer.settings["output_size"])))


def _batch_norm(walk: _Walk, layer: PlannedLayer, x: Flow, where: str) -> Flow:
    if len(x.shape) != 3 or x.shape[0] != layer.settings["num_features"]:
        raise _misfit(layer, x, where, f"[{layer.settings['num_features']}, height, width]")
    return x


def _layer_norm(walk: _Walk, layer: PlannedLayer, x: Flow, where: str) -> Flow:
    if x.shape[-1] != layer.settings["normalized_shape"]:
        raise _misfit(layer, x, where, f"a last size of {layer.settings['normalized_shape']}")
    return x


def _flatten(walk: _Walk, layer: PlannedLayer, x: Flow, where: str) -> Flow:
    return Flow((math.prod(x.shape),), x.number)


def _sequential(walk: _Walk, layer: PlannedLayer, x: Flow, where: str) -> Flow:
    return walk.all(layer.parts["layers"], x, f"{where}.layers")


def _block(walk: _Walk, layer: PlannedLayer, x: Flow, where: str) -> Flow:
    y = x
    for part in ("conv1", "bn1", "conv2", "bn2"):
        y = walk.layer(layer.parts[part], y, f"{where}.{part}")
    beside = walk.layer(layer.parts["shortcut"], x, f"{where}.shortcut")
    if y != beside or y.number != "float":
        raise _refused("model", where, f"the sum of {y} and {beside}", "two of one shape, of float")
    return y


def _positions(walk: _Walk, layer: PlannedLayer, x: Flow, where: str) -> Flow:
    s = layer.settings
    if len(x.shape) < 2 or x.shape[-2] > s["max_length"] or x.shape[-1] != s["embedding_dim"]:
        raise _misfit(layer, x, where, f"[length up to {s['max_length']}, {s['embedding_dim']}]")
    return x


def _attention(walk: _Walk, layer: PlannedLayer, x: Flow, where: str) -> Flow:
    if len(x.shape) != 2:
        raise _misfit(layer, x, where, "[length, width]")
    length, width = x.shape
    y = walk.layer(layer.parts["c_attn"], x, f"{where}.c_attn")
    if y.shape != (length, 3 * width):
        raise _misfit(layer, x, where, f"a width that c_attn triples, not {y}")
    walk.fits(layer.settings["n_head"] * length * length, where)
    return walk.layer(layer.parts["c_proj"], Flow(x.shape), f"{where}.c_proj")


def _mlp(walk: _Walk, layer: PlannedLayer, x: Flow, where: str) -> Flow:
    y = walk.layer(layer.parts["c_fc"], x, f"{where}.c_fc")
    return walk.layer(layer.parts["c_proj"], y, f"{where}.c_proj")


def _transformer_block(walk: _Walk, layer: PlannedLayer, x: Flow, where: str) -> Flow:
    for norm, part in (("ln_1", "attn"), ("ln_2", "mlp")):
        y = walk.layer(layer.parts[norm], x, f"{where}.{norm}")
        y = walk.layer(layer.parts[part], y, f"{where}.{part}")
        if y != x:
            raise _refused("model", f"{where}.{part}", f"the sum of {x} and {y}", "two of one shape, of float")
    return x


def _softmax(walk: _Walk, layer: PlannedLayer, x: Flow, where: str) -> Flow:
    axes = len(x.shape) + 1
    dim = layer.settings["dim"]
    if not -axes <= dim < axes:
        raise _misfit(layer, x, f"{where}.dim", f"an axis, not {dim}")
    if dim % axes == 0:
        raise _refused("answers", f"{where}.dim", f"{dim}, the axis of the batch", "an axis within one input")
    return x


def _inner(walk: _Walk, layer: PlannedLayer, x: Flow, where: str) -> Flow:
    return walk.layer(layer.parts["layer"], x, f"{where}.layer")


def _tokens(walk: _Walk, layer: PlannedLayer, x: Flow, where: str) -> Flow:
    raise _misfit(layer, x, where, "tokens, which images are not")


RULES: dict[str, Rule] = {
    **dict.fromkeys(("Linear", "QuantizedLinear"), _linear),
    **dict.fromkeys(("Conv2d", "QuantizedConv2d"), _convolution),
    **dict.fromkeys(("MaxPool2d", "AvgPool2d", "QuantizedMaxPool2d"), _pool),
    **dict.fromkeys(("LearnedPositions", "SinusoidalPositions", "QuantizedPositions"), _positions),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _softmax),
    **dict.fromkeys(("Embedding", "QuantizedEmbedding", "Transformer", "GPT"), _tokens),
    **dict.fromkeys(("ReLU", "Sigmoid", "Tanh", "GELU", "relu", "sigmoid", "tanh", "gelu"), _same),
    **dict.fromkeys(("softmax", "log_softmax", "Dropout"), _same),
    "AdaptiveAvgPool2d": _adaptive,
    "BatchNorm2d": _batch_norm,
    "LayerNorm": _layer_norm,
    "Flatten": _flatten,
    "Sequential": _sequential,
    "BasicBlock": _block,
    "MultiHeadAttention": _attention,
    "MLP": _mlp,
    "TransformerBlock": _transformer_block,
    "FakeQuantized": _inner,
}
