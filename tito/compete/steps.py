"""A model as the steps that it computes, in one form however its layers are nested, fused, or folded.

What does not change a result is left out: nested Sequentials, Dropout, which of the two forms of an activation is used,
and whether ReLU is a layer or a part of the quantized layer before it. Two models of the same steps compute the same
function of their numbers, so that `lineage` can compare these one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

from tinytorch.layers import Dropout, Sequential
from tinytorch.quantized.layers import QuantizedConv2d, QuantizedLayer
from tinytorch.quantized.tables import QuantizedEmbedding, QuantizedPositions
from tinytorch.saved.kinds import Kind
from tinytorch.saved.table import KINDS, kind_name
from tinytorch.spatial import BasicBlock
from tinytorch.tensor import Array, Tensor

RELU = "relu"
COMMUTES = ("MaxPool2d", "Flatten")  # ReLU before one of these or after it: the same numbers
SAME = {"ReLU": RELU, "Sigmoid": "sigmoid", "Tanh": "tanh", "GELU": "gelu", "Softmax": "softmax",
        "LogSoftmax": "log_softmax", "QuantizedMaxPool2d": "MaxPool2d"}  # fmt: skip
# Settings that the shapes of the weights show, or that have no effect in inference
OF_SHAPES = ("in_features", "out_features", "bias", "num_features", "num_embeddings", "embedding_dim",
             "normalized_shape", "momentum")  # fmt: skip


@dataclass(frozen=True)
class Numbers:
    """A weight as floats, or as integers with one scale for each index of the first axis."""

    name: str
    values: Array
    scale: Array | None = None


@dataclass(frozen=True)
class Step:
    """One step of a model.

    Attributes:
        where: the name of its layer, as in the model's state_dict.
        kind: what it computes; the same for a layer and its quantized counterpart.
        settings: what else decides the result.
        numbers: its weights by name.
        parts: steps that it contains, by name.
        input_scale, output_scale: of integers that reach it or leave it.
    """

    where: str
    kind: str
    settings: dict[str, Any] = field(default_factory=dict)
    numbers: dict[str, Numbers] = field(default_factory=dict)
    parts: dict[str, list[Step]] = field(default_factory=dict)
    input_scale: float | None = None
    output_scale: float | None = None


def steps_of(layer: Any, where: str = "") -> list[Step]:
    """Return the steps of a layer or function that the saved format contains."""
    return _in_one_form(_steps(layer, where))


def _in_one_form(steps: Iterable[Step]) -> list[Step]:
    """Move each ReLU as far forward as it may stand, and drop it if there is one already."""
    found: list[Step] = []
    for step in steps:
        if step.kind != RELU:
            found.append(step)
            continue
        place = len(found)
        while place and found[place - 1].kind in COMMUTES:
            place -= 1
        if not place or found[place - 1].kind != RELU:
            found.insert(place, step)
    return found


def _steps(layer: Any, where: str) -> Iterator[Step]:
    if isinstance(layer, Sequential):
        for i, inner in enumerate(layer.layers):
            yield from _steps(inner, _at(where, i))
    elif isinstance(layer, QuantizedLayer):
        yield _quantized(layer, where, "Conv2d" if isinstance(layer, QuantizedConv2d) else "Linear")
        if layer.relu:
            yield Step(where, RELU)
    elif isinstance(layer, QuantizedEmbedding):
        yield _quantized(layer.rows, _at(where, "rows"), "Embedding")
        if layer.rows.relu:  # then its last product is another one
            yield Step(where, RELU)
    elif isinstance(layer, QuantizedPositions):
        rows = Numbers("rows", layer.rows.data, layer.weight_scale.data)
        yield Step(where, "LearnedPositions", {"max_length": layer.max_length}, {"weight": rows})
    elif isinstance(layer, BasicBlock):
        main = [("conv1", layer.conv1), ("bn1", layer.bn1), ("", KINDS["relu"].make), ("conv2", layer.conv2),
                ("bn2", layer.bn2)]  # fmt: skip
        through = _in_one_form(step for name, part in main for step in _steps(part, _at(where, name)))
        beside = steps_of(layer.shortcut, _at(where, "shortcut"))
        yield Step(where, "BasicBlock", parts={"main": through, "shortcut": beside})
    elif not isinstance(layer, Dropout):
        yield _plain(layer, where)


def _at(where: str, part: object) -> str:
    return f"{where}.{part}" if where and part != "" else where or str(part)


def _quantized(layer: QuantizedLayer, where: str, kind: str) -> Step:
    numbers = {"weight": Numbers("weight", layer.weight.data, layer.weight_scale.data)}
    if layer.bias is not None:
        numbers["bias"] = Numbers("bias", layer.bias.data)
    scales = (None if scale is None else float(scale.data) for scale in (layer.input_scale, layer.output_scale))
    return Step(where, kind, _window(layer) if kind == "Conv2d" else {}, numbers, {}, *scales)


def _window(layer: Any) -> dict[str, Any]:
    return {key: getattr(layer, key) for key in ("stride", "padding", "dilation", "groups")}


def _plain(thing: Any, where: str) -> Step:
    """Return the step of a layer or function as the table of the saved format describes it."""
    name = kind_name(thing)
    if name is None:
        raise TypeError(f"{type(thing).__name__} is not a layer of the saved format")
    kind, held = KINDS[name], {} if isinstance(thing, FunctionType) else vars(thing)
    settings = {key: held[key] for key in kind.settings if key in held and key not in OF_SHAPES}
    if name.endswith("Pool2d"):
        settings = {key: _pair(value) for key, value in settings.items()}
        if "stride" in settings:
            settings["stride"] = settings["stride"] or settings["kernel_size"]
    if name in ("softmax", "log_softmax"):
        settings = {"dim": -1}
    numbers = {key: Numbers(key, value.data) for key, value in held.items() if isinstance(value, Tensor)}
    parts = {key: steps_of(part, _at(where, key)) for key, part in _parts(kind, held)}
    return Step(where, SAME.get(name, name), settings, numbers, parts)


def _parts(kind: Kind, held: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, slot in kind.parts.items():
        if slot.many:
            yield from ((f"{key}.{i}", part) for i, part in enumerate(held[key]))
        else:
            yield key, held[key]


def _pair(value: Any) -> tuple[int, int] | None:
    return (value, value) if isinstance(value, int) else value and tuple(value)
