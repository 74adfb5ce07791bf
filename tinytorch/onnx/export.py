"""`export`: a trained model as an ONNX file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tinytorch.base.errors import InputTypeError, SettingError, TinyTorchError
from tinytorch.base.files import atomic_write, writable_path
from tinytorch.base.words import RAW, described, explained
from tinytorch.layers import Module
from tinytorch.onnx import integers, layers, transformers
from tinytorch.onnx.document import to_bytes
from tinytorch.onnx.graph import Graph, Shape, Size, Value, is_integer, named
from tinytorch.saved.table import KINDS, NAMES, kind_name
from tinytorch.tensor import Array, Tensor

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
    batches: Iterable[Array | Tensor] = (),
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
        InputTypeError: an argument has the wrong type.
        SettingError: the package onnx is not installed, the opset is not supported, or a part of the model cannot be
            exported; the message says which.
        PathError: the path is not that of a file that can be written, or the operating system refuses the write (no
            space, no permission). It is an OSError, too.
    """
    writable_path(path)
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
    batches: Iterable[Array | Tensor] = (),
    opset: int = OPSET,
    next_token: bool = False,
    input_name: str | None = None,
    output_name: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """Return the content of the file that `export` writes, with its arguments and errors."""
    given: dict[str, Any] = {"input_shape": input_shape, "batches": batches, "opset": opset, "next_token": next_token,
                             "input_name": input_name, "output_name": output_name, "metadata": metadata}  # fmt: skip
    check_arguments(model, given)
    language = kind_name(model) == "GPT"
    if next_token and not language:
        raise SettingError(f"ONNX export: next_token with a {type(model).__name__}: expected a GPT")
    names = ("tokens", "logits") if language else ("input", "output")
    try:
        graph = Graph(int(opset), named(model), integers.measured(model, batches), next_token=next_token, emit=emit)
        x, dtype, y = built(graph, model, input_shape, names[0] if input_name is None else input_name)
    except RecursionError:
        raise SettingError("ONNX export: the model contains itself, or its parts are nested too deep") from None
    return to_bytes(
        graph,
        given=(x, dtype),
        result=y,
        output_name=names[1] if output_name is None else output_name,
        metadata={"tinytorch.model": description(model), **(metadata or {})},
    )


def check_arguments(model: Module, given: dict[str, Any]) -> None:
    """Check the arguments of `export` that do not depend on the model.

    Raises:
        InputTypeError: an argument has the wrong type.
        SettingError: the opset is not supported, a size is not a positive integer, or a text cannot be stored.
    """
    if not isinstance(model, Module):
        raise InputTypeError(f"ONNX export: {type(model).__name__}: expected a Module")
    shape, opset, metadata = given["input_shape"], given["opset"], given["metadata"]
    if isinstance(shape, Sequence) and not all(is_integer(size) and size > 0 for size in shape):
        raise SettingError(f"ONNX export: input_shape {shape!r}: expected positive integers, without the batch")
    pairs = dict(metadata) if isinstance(metadata, Mapping) else {}
    for key, value in pairs.items():
        if not (isinstance(key, str) and isinstance(value, str)):
            raise InputTypeError(f"export: metadata has {described(key)} with {described(value)}: expected two texts")
    if wrong := explained(export, (model, ""), given):
        raise wrong
    if opset not in OPSETS:
        raise SettingError(f"ONNX export: opset {opset}: expected {OPSETS[0]} to {OPSETS[-1]}")
    for text in (given["input_name"] or "", given["output_name"] or "", *pairs, *pairs.values()):
        if not is_unicode(text) or "\0" in text:
            raise SettingError(f"ONNX export: the text {described(text)}: expected characters of UTF-8, and no \\0")


def is_unicode(text: str) -> bool:
    """Return whether UTF-8 can encode a text: half of a surrogate pair has no code."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def built(graph: Graph, model: Module, input_shape: Sequence[int] | None, name: str) -> tuple[Value, str, Value]:
    """Add the nodes of a model; return its input, the input's dtype, and its output.

    Raises:
        SettingError: a part cannot be exported.
    """
    try:
        shape, tokens = input_of(graph, model, input_shape)
        x = Value(name, shape)
        return x, "int64" if tokens else "float32", emit(graph, model, x)
    except TinyTorchError:
        raise
    except RAW as error:
        raise graph.refuse(f"a setting or part of this layer does not fit ({error})") from None


def emit(graph: Graph, layer: object, x: Value) -> Value:
    """Add the nodes of any layer or function.

    Raises:
        SettingError: it is not of a known type, or its attributes are not those of its type.
    """
    return ROWS[known(graph, layer)](graph, layer, x)


def known(graph: Graph, layer: object) -> str:
    """Return the name of a layer's row, after checking the layer's attributes and tensors.

    Raises:
        SettingError: it has no row, or other attributes or tensors than its row says.
    """
    name = kind_name(layer)
    if name not in ROWS:
        raise unknown(graph, layer)
    kind, held = KINDS[name], {key: value for key, value in vars(layer).items() if key != "training"}
    for key in sorted(held.keys() ^ set(kind.attributes)):
        verb = "has" if key in held else "lacks"
        raise graph.refuse(f"this {name} {verb} the attribute {key}, unlike others")
    try:
        settings = {**held, **{key: held[key] is not None for key in kind.optional}, **kind.read(layer)}
    except (AttributeError, IndexError, TypeError):
        raise graph.refuse(f"its tensors are not those of a {name}") from None
    for key, spec in kind.tensors(settings).items():
        tensor = held[key]
        if not isinstance(tensor, Tensor):
            raise graph.refuse(f"{key} is {described(tensor)}: expected a Tensor of shape {spec.shape}")
        if tensor.shape != spec.shape:
            raise graph.refuse(f"{key} has shape {tensor.shape}: expected {spec.shape}")
        if not spec.trained and tensor.data.dtype.name not in spec.dtypes:
            raise graph.refuse(f"{key} of dtype {tensor.data.dtype}: expected {' or '.join(spec.dtypes)}")
    return name


def unknown(graph: Graph, layer: object) -> SettingError:
    """Return the error for a layer that is not in the table."""
    kind = type(layer)
    what = getattr(layer, "__qualname__", kind.__qualname__)
    more = "; call quantized.convert first" if kind_name(layer) == "FakeQuantized" else ""
    if kind.__module__.startswith("tinytorch.nn."):
        what = f"tinytorch.nn.{what}"
        bases = [NAMES[base] for base in kind.__mro__[1:] if base in NAMES]
        more = f": it has a setting that the course's {bases[0]} lacks" if bases else ""
    return graph.refuse(f"{what} is not one of the layers and functions that can be exported{more}")


def input_of(graph: Graph, model: Module, given: Sequence[int] | None) -> tuple[Shape, bool]:
    """Return the shape of the input, with the batch, and whether it holds tokens."""
    first = first_of(model)
    if first is None:
        raise graph.refuse("it has no layer that computes anything")
    name = known(graph, first)
    if given is not None:
        return ("batch", *map(int, given)), name in TOKENS
    # One row of positions would be added to texts of any length
    length: Size = 1 if any(getattr(part, "max_length", 0) == 1 for part in model.modules()) else "sequence"
    if name in TOKENS:
        return ("batch", length), True
    if name in IMAGES:
        channels = first.num_features if name == "BatchNorm2d" else first.weight.shape[1] * first.groups
        return ("batch", channels, "height", "width"), False
    sequence = [length] if any(kind_name(part) in SEQUENCES for part in model.modules()) else []
    if name in ("Linear", "QuantizedLinear", "LayerNorm"):
        return ("batch", *sequence, first.weight.shape[-1]), False
    if name in SEQUENCES and name != "MultiHeadAttention":
        return ("batch", length, first.weight.shape[1]), False
    raise graph.refuse(f"the first layer, {name}, does not say the shape of an input: pass input_shape")


def first_of(layer: Any) -> Any:
    """Return the first layer that has weights of its own, or the first one that changes the shape."""
    name = kind_name(layer)
    if name == "Sequential":
        parts = (first_of(part) for part in layer.layers if kind_name(part) != "Dropout")
        return next((part for part in parts if part is not None), None)
    return first_of(getattr(layer, FIRST[name])) if name in FIRST else layer


def vocabulary_of(model: Module) -> int | None:
    """Return the number of tokens that a model knows; None if its input does not hold tokens."""
    first = first_of(model)
    return int(first.num_embeddings) if kind_name(first) in TOKENS else None


def description(model: Module) -> str:
    """Return the kind of model in one line, e.g. Sequential, INT8, 109386 parameters."""
    tensors = {id(tensor): tensor.data for _, tensor in model.named_tensors()}.values()
    dtypes = sorted({array.dtype.name for array in tensors if array.ndim > 1})
    return f"{type(model).__name__}, {' and '.join(dtypes)}, {sum(array.size for array in tensors)} numbers"
