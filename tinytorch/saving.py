"""Module 19: models as data. A folder of two files holds all of a model, and loading it runs nothing from there.

`model.json` says what the model is made of, `model.safetensors` holds its tensors under the state_dict's names:

    {"format": "tinytorch model", "version": 1,
     "model": {"type": "Sequential", "layers": [{"type": "Linear", "in_features": 4, "out_features": 2, "bias": true},
                                                {"type": "ReLU"}]},
     "encodings": {"0.weight": {"encoding": "deflate", "dtype": "float32", "shape": [2, 4]}},
     "shared": {"2.weight": "0.weight"},
     "cache": {"batch_size": 1, "hop": 16, "dtype": "float32"}}

The types are those of `saved_types`, each with exactly its settings. A layer's parts are described one by one, so
that a part which was replaced (by a quantized one, by one with fewer channels) comes back as it is. `encodings` names
the tensors that are packed (see `packing`), `shared` those that are another one under a second name, `cache` the
settings of a GPT's `KVCache`; all three may be left out.

A folder may come from anybody. All of model.json is checked, then the header of model.safetensors against the sizes
that follow from it, and only then is anything built; the limits of `saved_files` and `saved_document` bound what it
can cost. Whether layers of a Sequential fit one another shows when the model runs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinytorch.caching import KVCache
from tinytorch.errors import SettingError, StateError
from tinytorch.layers import Module, Parameter
from tinytorch.packing import pack_array, smallest_encoding, unpack_array
from tinytorch.saved_document import (
    FORMAT,
    MAX_DEPTH,
    PARTS_OF,
    VERSION,
    Document,
    Plan,
    check_cache,
    check_spec,
    check_total,
    check_values,
    parse,
    short,
)
from tinytorch.saved_files import (
    DESCRIPTION,
    MAX_BYTES,
    MAX_HEADER,
    TENSORS,
    FolderLike,
    Stored,
    as_array,
    check_replaceable,
    numpy_dtype,
    read_both,
    replace_folder,
    saved_bytes,
    stored_arrays,
)
from tinytorch.saved_kinds import Kind, PlannedLayer, Settings
from tinytorch.saved_types import KINDS, kind_name
from tinytorch.tensor import Array, Tensor
from tinytorch.transformers import GPT

__all__ = ["load_cache", "load_model", "save_model", "saved_bytes"]


def save_model(model: Module, folder: FolderLike, compress: bool = False, cache: KVCache | None = None) -> Path:
    """Write the model's description and tensors into `folder`; `load_model` gives it back to the bit.

    Files hold values only: a frozen parameter (requires_grad False) comes back trainable, and gradients, an optimizer's
    state and the mode are not kept. Arrays come back in C order: one that lay otherwise may give products with other
    last bits.

    The files are written beside the folder and put into place by renaming, so that it holds the old model or the new
    one, whole. Killed between the two renames that replacing takes, it is gone, and the old one is beside it.

    Args:
        folder: a new one, or one that holds a saved model and nothing else, which is replaced.
        compress: store each tensor in the encoding that takes the fewest bytes.
        cache: a GPT's; its settings are saved, not what it holds.

    Raises:
        StateError: a part is not of a known type, or has attributes that its type has not; the message says which
            and where. The model is too large, or the folder holds other files.
        OSError: as the system gives it (no space, no permission). The folder is as it was.
    """
    folder = Path(folder).resolve()
    check_replaceable(folder)
    if not isinstance(model, Module):
        raise StateError(f"model is {type(model).__name__}: expected a Module")
    tensors: dict[str, Tensor] = {}
    root = _describe(model, "model", "", tensors)
    first: dict[int, str] = {}
    shared = {name: first[id(t)] for name, t in tensors.items() if first.setdefault(id(t), name) != name}
    plain = {name: tensor.data for name, tensor in tensors.items() if name not in shared}
    settings = None if cache is None else cache.settings()
    _check(root, settings, tensors, plain)
    encodings, arrays = _pack(plain) if compress else ({}, plain)
    document: dict[str, Any] = {"format": FORMAT, "version": VERSION, "model": root}
    document |= {key: v for key, v in (("encodings", encodings), ("shared", shared), ("cache", settings)) if v}
    text = json.dumps(document, allow_nan=False, separators=(",", ":")).encode() + b"\n"
    if len(text) > MAX_HEADER:
        raise StateError(f"model: a description of {len(text)} bytes: expected at most {MAX_HEADER}")
    replace_folder(folder, text, arrays)
    return folder


def load_model(folder: FolderLike) -> Module:
    """The model that `save_model` wrote, in eval mode, all its parameters trainable.

    A language model is causal by construction: nothing in it but causal attention mixes positions.

    Both files must be plain ones, not links; other files in the folder are left alone.

    Raises:
        StateError: anything is missing, cut, unknown, out of its range or too large; one line that names the file
            and the place in it.
    """
    folder = Path(folder)
    text, content = read_both(folder)
    saved = _parsed(folder, text)
    try:
        tensors = _tensors(content, saved)
    except StateError as error:
        raise StateError(f"{folder / TENSORS}: {error}") from None
    model: Module = _build(saved.root, tensors)
    return model.eval()


def load_cache(folder: FolderLike, model: GPT) -> KVCache | None:
    """An empty cache with the settings that were saved with the model; None where none were.

    Raises:
        StateError: as `load_model`, or the cache does not fit the model.
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


# From a model to its description ------------------------------------------------------------------------


def _describe(thing: object, where: str, prefix: str, tensors: dict[str, Tensor], depth: int = 1) -> dict[str, Any]:
    """The node of a layer or function; its tensors are added to `tensors`, under their full names."""
    name = kind_name(thing)
    if name is None:
        what = getattr(thing, "__qualname__", type(thing).__qualname__)
        raise StateError(f"{where}: {what} is not one of the layers and functions that can be saved")
    if depth > MAX_DEPTH:
        raise StateError(f"{where}: parts more than {MAX_DEPTH} deep")
    kind = KINDS[name]
    held = {key: value for key, value in vars(thing).items() if key != "training"}
    for key in sorted(held.keys() ^ set(kind.attributes)):
        raise StateError(
            f"{where}: this {name} {'has' if key in held else 'has not'} the attribute {key}, unlike others"
        )
    tensors |= {prefix + key: value for key, value in held.items() if isinstance(value, Tensor)}
    node: dict[str, Any] = {"type": name, **_settings(thing, name, kind, where)}
    for key, slot in kind.parts.items():
        stem = f"{key}." if slot.named else ""
        if slot.many:
            if not isinstance(held[key], (list, tuple)):
                raise StateError(f"{where}.{key} is {type(held[key]).__name__}: expected a list")
            node[key] = [
                _describe(part, f"{where}.{key}[{i}]", f"{prefix}{stem}{i}.", tensors, depth + 1)
                for i, part in enumerate(held[key])
            ]
        else:
            node[key] = _describe(held[key], f"{where}.{key}", prefix + stem, tensors, depth + 1)
    return node


def _settings(thing: object, name: str, kind: Kind, where: str) -> Settings:
    """The settings of a layer as JSON values."""
    try:
        found = kind.read(thing)
    except (AttributeError, IndexError, TypeError):
        raise StateError(f"{where}: its tensors are not those of a {name}") from None
    for key in kind.settings.keys() - found.keys():
        found[key] = getattr(thing, key) is not None if key in kind.optional else getattr(thing, key)
    settings = {key: _plain(found[key]) for key in kind.settings}
    for key, setting in kind.settings.items():
        if not setting.fits(settings[key]):
            raise StateError(f"{where}.{key} is {short(settings[key])}: expected {setting.expected}")
    return settings


def _plain(value: Any) -> Any:
    """Tuples as lists, NumPy's integers as Python's."""
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return int(value) if isinstance(value, np.integer) else value


def _check(
    root: dict[str, Any], cache: dict[str, Any] | None, tensors: Mapping[str, Tensor], plain: Mapping[str, Array]
) -> None:
    """What is being saved must be what its description will ask for."""
    plan = Plan()
    planned = plan.read(root, "model", "")
    if cache is not None:
        check_cache(cache, planned)
    for name in sorted(plan.specs.keys() ^ tensors.keys()):
        raise StateError(f"{name}: {'missing' if name in plan.specs else 'not a tensor of its layer'}")
    for name, spec in plan.specs.items():
        check_spec(name, tensors[name].dtype.name, tensors[name].shape, spec)
        check_values(name, tensors[name].data, spec)
    check_total(sum(array.nbytes for array in plain.values()) + plan.derived_bytes)


def _pack(plain: Mapping[str, Array]) -> tuple[dict[str, Any], dict[str, Array]]:
    """The encodings that pay, and the arrays to store."""
    encodings: dict[str, Any] = {}
    arrays: dict[str, Array] = {}
    for name, array in plain.items():
        encoding = smallest_encoding(array)
        if encoding == "plain":
            arrays[name] = array
        else:
            arrays |= {name + suffix: part for suffix, part in pack_array(array, encoding).items()}
            encodings[name] = {"encoding": encoding, "dtype": array.dtype.name, "shape": list(array.shape)}
    return encodings, arrays


# From a description to its model ------------------------------------------------------------------------


def _tensors(content: bytes, saved: Document) -> dict[str, Tensor]:
    """All tensors by their full names, exactly those that the description asks for."""
    names: dict[str, list[str]] = {}  # a tensor's -> those of its arrays in the file
    for name in saved.specs:
        if name not in saved.shared:
            encoding = saved.encodings.get(name)
            names[name] = [name + suffix for suffix in PARTS_OF[encoding["encoding"]]] if encoding else [name]
    # a few more than there should be, so that the message can name one
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
        tensors[name] = _tensor(array, spec.trained)
    return tensors | {name: tensors[first] for name, first in saved.shared.items()}


def _checked_dtype(name: str, parts: list[str], stored: Stored, saved: Document) -> str:
    """The dtype of a tensor, if its arrays in the file are as they should be."""
    if name not in saved.encodings:
        entry = stored[name]
        check_spec(name, entry["dtype"], tuple(entry["shape"]), saved.specs[name])
        return entry["dtype"]
    for part in parts:
        if stored[part]["dtype"] != "uint8":
            raise StateError(f"{part}: dtype {stored[part]['dtype']}: expected uint8, as it is packed")
    return saved.encodings[name]["dtype"]


def _unpack(name: str, arrays: list[Array], entry: Mapping[str, Any]) -> Array:
    parts = dict(zip(PARTS_OF[entry["encoding"]], arrays, strict=True))
    try:
        return unpack_array(parts, entry["encoding"], numpy_dtype(entry["dtype"]), entry["shape"], MAX_BYTES)
    except StateError as error:
        raise StateError(f"{name}: {error}") from None


def _tensor(array: Array, trained: bool) -> Tensor:
    """A leaf around the array. Tensor's constructor would refuse bfloat16, which to NumPy is not a float."""
    tensor = Parameter.__new__(Parameter) if trained else Tensor.__new__(Tensor)
    tensor.data, tensor.grad, tensor.node, tensor.requires_grad = array, None, None, trained
    return tensor


def _build(node: PlannedLayer, tensors: Mapping[str, Tensor]) -> Any:
    """The layer or function of a checked node."""
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
    return layer
