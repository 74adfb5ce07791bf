"""`export`: a trained model as an ONNX file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinytorch.base.errors import SettingError
from tinytorch.base.files import atomic_write
from tinytorch.layers import Module
from tinytorch.onnx import integers, layers, transformers
from tinytorch.onnx.document import to_bytes
from tinytorch.onnx.graph import Graph, Shape, Size, Value, named
from tinytorch.saved.table import KINDS, kind_name
from tinytorch.tensor import Array

OPSETS = range(17, 22)  # LayerNormalization begins with 17; the tests run each of them
OPSET = 20  # the first with Gelu; ONNX Runtime supports it since 1.17
ROWS = {**layers.ROWS, **integers.ROWS, **transformers.ROWS}
TOKENS = ("Embedding", "QuantizedEmbedding")
IMAGES = ("Conv2d", "QuantizedConv2d", "BatchNorm2d")
SEQUENCES = ("MultiHeadAttention", "LearnedPositions", "SinusoidalPositions", "QuantizedPositions")
FIRST = {"BasicBlock": "conv1", "TransformerBlock": "ln_1", "MultiHeadAttention": "c_attn", "MLP": "c_fc",
         "GPT": "transformer", "Transformer": "wte"}  # fmt: skip


def export(
    model: Module,
    path: str | os.PathLike[str],
    *,
    input_shape: Sequence[int] | None = None,
    batches: Iterable[Array] = (),
    opset: int = OPSET,
    next_token: bool = False,
    input_name: str | None = None,
    output_name: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write a model as an ONNX file that computes what the model computes in evaluation mode.

    The size of the batch is left open. So is the length of a text, and the size of images unless `input_shape` is
    given. Weights keep their names of the state_dict. 16-bit weights are stored in 16 bits and used as float32. INT8
    layers are stored as integers with their scales (QDQ); `integers` says how they compute. The model is not changed.

    Args:
        path: the file, which is replaced as a whole.
        input_shape: the shape of one input, without the batch, e.g. (28, 28). It is needed if the first layer does not
            determine it, as Flatten.
        batches: for an INT8 model with residual blocks: inputs, as for `quantize_static`. The ranges of both branches
            are measured on them, so that runtimes add integers; otherwise, they add floats, which is slower.
        opset: the version of ONNX's operations, 17 to 21.
        next_token: only for a GPT: return only the logits of the next token, (B, V), as `GPT.next_logits` does.
        input_name, output_name: by default "tokens" and "logits" for a GPT, otherwise "input" and "output".
        metadata: texts to store with the model, next to TinyTorch's version and the kind of model.

    Raises:
        SettingError: the package onnx is not installed, the opset is not supported, or a part of the model cannot be
            exported; the message says which.
        OSError: an error of the operating system (no space, no permission).
    """
    content = exported(
        model,
        input_shape=input_shape,
        batches=batches,
        opset=opset,
        next_token=next_token,
        input_name=input_name,
        output_name=output_name,
        metadata=metadata,
    )
    return atomic_write(path, content)


def exported(
    model: Module,
    *,
    input_shape: Sequence[int] | None = None,
    batches: Iterable[Array] = (),
    opset: int = OPSET,
    next_token: bool = False,
    input_name: str | None = None,
    output_name: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """Return the content of the file that `export` writes, with its arguments and errors."""
    if not isinstance(model, Module):
        raise SettingError(f"ONNX export: {type(model).__name__}: expected a Module")
    if opset not in OPSETS:
        raise SettingError(f"ONNX export: opset {opset}: expected {OPSETS[0]} to {OPSETS[-1]}")
    language = kind_name(model) == "GPT"
    if next_token and not language:
        raise SettingError(f"ONNX export: next_token with a {type(model).__name__}: expected a GPT")
    graph = Graph(opset, named(model), integers.measured(model, batches), next_token=next_token, emit=emit)
    shape, tokens = input_of(graph, model, input_shape)
    names = ("tokens", "logits") if language else ("input", "output")
    x = Value(names[0] if input_name is None else input_name, shape)
    y = emit(graph, model, x)
    return to_bytes(
        graph,
        given=(x, "int64" if tokens else "float32"),
        result=y,
        output_name=names[1] if output_name is None else output_name,
        metadata={"tinytorch.model": description(model), **(metadata or {})},
    )


def emit(graph: Graph, layer: object, x: Value) -> Value:
    """Add the nodes of any layer or function.

    Raises:
        SettingError: it is not of a known type, or has attributes that its type does not have.
    """
    name = kind_name(layer)
    if name not in ROWS:
        raise unknown(graph, layer)
    held = vars(layer).keys() - {"training"}
    for key in sorted(held ^ set(KINDS[name].attributes)):
        verb = "has" if key in held else "lacks"
        raise graph.refuse(f"this {name} {verb} the attribute {key}, unlike others")
    return ROWS[name](graph, layer, x)


def unknown(graph: Graph, layer: object) -> SettingError:
    """Return the error for a layer that is not in the table."""
    what = getattr(layer, "__qualname__", type(layer).__qualname__)
    more = "; call quantized.convert first" if kind_name(layer) == "FakeQuantized" else ""
    return graph.refuse(f"{what} is not one of the layers and functions that can be exported{more}")


def input_of(graph: Graph, model: Module, given: Sequence[int] | None) -> tuple[Shape, bool]:
    """Return the shape of the input, with the batch, and whether it holds tokens."""
    first = first_of(model)
    if first is None:
        raise graph.refuse("it has no layer")
    name = kind_name(first)
    if name not in ROWS:
        raise unknown(graph, first)
    if given is not None:
        sizes = tuple(given)
        if not all(isinstance(size, int | np.integer) and size > 0 for size in sizes):
            raise SettingError(f"ONNX export: input_shape {sizes}: expected positive integers, without the batch")
        return ("batch", *map(int, sizes)), name in TOKENS
    if name in TOKENS:
        return ("batch", "sequence"), True
    if name in IMAGES:
        channels = first.num_features if name == "BatchNorm2d" else first.weight.shape[1] * first.groups
        return ("batch", channels, "height", "width"), False
    sequence: list[Size] = ["sequence"] if any(kind_name(part) in SEQUENCES for part in model.modules()) else []
    if name in ("Linear", "QuantizedLinear", "LayerNorm"):
        return ("batch", *sequence, first.weight.shape[-1]), False
    if name in SEQUENCES and name != "MultiHeadAttention":
        return ("batch", "sequence", first.weight.shape[1]), False
    raise graph.refuse(f"the first layer, {name}, does not say the shape of an input: pass input_shape")


def first_of(layer: Any) -> Any:
    """Return the first layer that has weights of its own, or the first one that changes the shape."""
    name = kind_name(layer)
    if name == "Sequential":
        parts = (first_of(part) for part in layer.layers if kind_name(part) != "Dropout")
        return next((part for part in parts if part is not None), None)
    return first_of(getattr(layer, FIRST[name])) if name in FIRST else layer


def description(model: Module) -> str:
    """Return the kind of model in one line, e.g. Sequential, INT8, 109386 parameters."""
    tensors = {id(tensor): tensor.data for _, tensor in model.named_tensors()}.values()
    dtypes = sorted({array.dtype.name for array in tensors if array.ndim > 1})
    return f"{type(model).__name__}, {' and '.join(dtypes)}, {sum(array.size for array in tensors)} numbers"
