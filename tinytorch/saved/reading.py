"""Loading of a saved model from an untrusted folder: everything is checked before anything is built."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinytorch.base.dtypes import numpy_dtype
from tinytorch.base.errors import SettingError, StateError
from tinytorch.caching import KVCache
from tinytorch.layers import Module, Parameter
from tinytorch.quantized.layers import IntegerWeight
from tinytorch.saved.document import (
    PARTS_OF,
    Document,
    check_spec,
    check_total,
    check_values,
    parse,
    short,
)
from tinytorch.saved.folder import (
    DESCRIPTION,
    MAX_BYTES,
    TENSORS,
    FolderLike,
    Stored,
    as_array,
    read_both,
    stored_arrays,
)
from tinytorch.saved.kinds import PlannedLayer, TensorSpec
from tinytorch.saved.packing import unpack_array
from tinytorch.tensor import Array, Tensor
from tinytorch.transformers import GPT


def load_model(folder: FolderLike) -> Module:
    """Load a model that `save_model` wrote, in eval mode and with all parameters trainable.

    A loaded language model is causal by construction: only causal attention mixes positions in it.

    Both files must be regular files, not links. Other files in the folder are ignored.

    Raises:
        StateError: something is missing, truncated, unknown, out of range, or too large. The message is one line that
            names the file and the place in it.
    """
    folder = Path(folder)
    text, content = read_both(folder)
    saved = _parsed(folder, text)
    try:
        return build_model(saved, content)
    except StateError as error:
        raise StateError(f"{folder / TENSORS}: {error}") from None


def build_model(saved: Document, content: bytes) -> Module:
    """Build the model of a description that was checked, from the content of its model.safetensors, in eval mode.

    Raises:
        StateError: the content is not that of the description.
    """
    model: Module = _build(saved.root, _tensors(content, saved))
    return model.eval()


def load_cache(folder: FolderLike, model: GPT) -> KVCache | None:
    """Return an empty cache with the settings that were saved with the model; None if none were saved.

    Raises:
        StateError: as for `load_model`, or the cache does not fit the model.
    """
    folder = Path(folder)
    settings = _parsed(folder, read_both(folder)[0]).cache
    try:
        return None if settings is None else KVCache(model, **settings)
    except SettingError as error:
        raise StateError(f"{folder / DESCRIPTION}: cache: {error}") from None


def _parsed(folder: Path, text: bytes) -> Document:
    try:
        return parse(text)
    except StateError as error:
        raise StateError(f"{folder / DESCRIPTION}: {error}") from None


def _tensors(content: bytes, saved: Document) -> dict[str, Tensor]:
    """Read all tensors by their full names, exactly those that the description requires."""
    names: dict[str, list[str]] = {}  # name of a tensor -> names of its arrays in the file
    for name in saved.specs:
        if name not in saved.shared:
            encoding = saved.encodings.get(name)
            names[name] = [name + suffix for suffix in PARTS_OF[encoding["encoding"]]] if encoding else [name]
    # Allow a few more entries than expected, so that the error message below can name one of them.
    stored = stored_arrays(content, most=sum(map(len, names.values())) + 100)
    for part in sorted(stored.keys() ^ {part for parts in names.values() for part in parts}):
        raise StateError(f"{short(part)}: {'not a tensor of the model' if part in stored else 'missing'}")
    total = saved.derived_bytes
    for name, parts in names.items():
        dtype = _checked_dtype(name, parts, stored, saved)
        total += math.prod(saved.specs[name].shape) * numpy_dtype(dtype).itemsize
    check_total(total)
    tensors: dict[str, Tensor] = {}
    for name, parts in names.items():
        arrays = [as_array(stored.pop(part)) for part in parts]
        encoding, spec = saved.encodings.get(name), saved.specs[name]
        array = _unpack(name, arrays, encoding) if encoding else arrays[0]
        check_values(name, array, spec)
        tensors[name] = _tensor(array, _class_of(name, spec, array))
    return tensors | {name: tensors[first] for name, first in saved.shared.items()}


def _checked_dtype(name: str, parts: list[str], stored: Stored, saved: Document) -> str:
    """Return the dtype of a tensor after checking its arrays in the file."""
    if name not in saved.encodings:
        entry = stored[name]
        check_spec(name, entry["dtype"], tuple(entry["shape"]), saved.specs[name])
        return entry["dtype"]
    for part in parts:
        if stored[part]["dtype"] != "uint8":
            raise StateError(f"{part}: dtype {stored[part]['dtype']}: expected uint8, because it is packed")
    return saved.encodings[name]["dtype"]


def _unpack(name: str, arrays: list[Array], entry: Mapping[str, Any]) -> Array:
    parts = dict(zip(PARTS_OF[entry["encoding"]], arrays, strict=True))
    try:
        return unpack_array(parts, entry["encoding"], numpy_dtype(entry["dtype"]), entry["shape"], MAX_BYTES)
    except StateError as error:
        raise StateError(f"{name}: {error}") from None


def _class_of(name: str, spec: TensorSpec, array: Array) -> type[Tensor]:
    if spec.trained:
        return Parameter
    return IntegerWeight if array.dtype == np.int8 and name.rpartition(".")[2] == "weight" else Tensor


def _tensor(array: Array, made: type[Tensor]) -> Tensor:
    """Wrap the array in a leaf tensor. Tensor's constructor would reject bfloat16, which is not a float for NumPy."""
    tensor = made.__new__(made)
    if isinstance(tensor, IntegerWeight):
        tensor.scale = None  # set by its layer
    tensor.data, tensor.grad, tensor.node, tensor.requires_grad = array, None, None, made is Parameter
    return tensor


def _build(node: PlannedLayer, tensors: Mapping[str, Tensor]) -> Any:
    """Build the layer or function of a checked node."""
    kind = node.kind
    if not isinstance(kind.make, type):
        return kind.make
    values = node.settings | dict.fromkeys(kind.optional) | kind.derived(node.settings)
    values |= {name: tensors[node.prefix + name] for name in kind.tensors(node.settings)}
    for name, part in node.parts.items():
        values[name] = [_build(p, tensors) for p in part] if isinstance(part, list) else _build(part, tensors)
    layer: Any = object.__new__(kind.make)
    for name in kind.attributes:
        setattr(layer, name, values[name])
    if isinstance(layer, Module):
        layer.note_buffers()
    return layer
