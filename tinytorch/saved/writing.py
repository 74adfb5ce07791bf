"""Saving of a model to a folder: its description and its tensors, packed where that is smaller, replaced together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinytorch.base.errors import StateError
from tinytorch.caching import KVCache
from tinytorch.layers import Module
from tinytorch.saved.document import (
    FORMAT,
    MAX_DEPTH,
    VERSION,
    Plan,
    check_cache,
    check_spec,
    check_total,
    check_values,
    short,
)
from tinytorch.saved.folder import (
    MAX_HEADER,
    FolderLike,
    check_replaceable,
    replace_folder,
)
from tinytorch.saved.kinds import Kind, Settings
from tinytorch.saved.packing import pack_array, smallest_encoding
from tinytorch.saved.table import KINDS, kind_name
from tinytorch.tensor import Array, Tensor


def save_model(model: Module, folder: FolderLike, compress: bool = False, cache: KVCache | None = None) -> Path:
    """Write the model's description and tensors to `folder`; `load_model` restores the values bit for bit.

    The files hold values only. A frozen parameter (requires_grad False) is trainable after loading; gradients, an
    optimizer's state, and the mode are not saved. Loaded arrays are in C order: if an array had another memory layout,
    the last bits of products may differ.

    The files are written to a temporary folder next to `folder`, which is then renamed, so `folder` holds the
    complete old or the complete new model. Replacing a model takes two renames. If the process is killed between them,
    `folder` is missing, and the old model is in a hidden folder next to it.

    Args:
        folder: a new folder, or one that contains only a saved model, which is replaced.
        compress: store each tensor in the encoding that takes the fewest bytes.
        cache: a cache of the GPT; its settings are saved, but not its contents.

    Raises:
        StateError: a part is not of a known type, or its attributes are not exactly those of its type; the message says
            which part. Or the model is too large, or the folder contains other files.
        OSError: an error of the operating system (no space, no permission). The folder is unchanged.
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


def _describe(thing: object, where: str, prefix: str, tensors: dict[str, Tensor], depth: int = 1) -> dict[str, Any]:
    """Return the node of a layer or function, and add its tensors to `tensors` under their full names."""
    name = kind_name(thing)
    if name is None:
        what = getattr(thing, "__qualname__", type(thing).__qualname__)
        raise StateError(f"{where}: {what} is not one of the layers and functions that can be saved")
    if depth > MAX_DEPTH:
        raise StateError(f"{where}: parts nested more than {MAX_DEPTH} deep")
    kind = KINDS[name]
    held = {key: value for key, value in vars(thing).items() if key != "training"}
    for key in sorted(held.keys() ^ set(kind.attributes)):
        raise StateError(f"{where}: this {name} {'has' if key in held else 'lacks'} the attribute {key}, unlike others")
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
    """Return the settings of a layer as JSON values."""
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
    """Convert tuples to lists, and NumPy's integers to Python's."""
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return int(value) if isinstance(value, np.integer) else value


def _check(
    root: dict[str, Any], cache: dict[str, Any] | None, tensors: Mapping[str, Tensor], plain: Mapping[str, Array]
) -> None:
    """Check that the tensors to be saved are those that the description requires when it is loaded."""
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
    """Return the encodings that reduce the size, and the arrays to store."""
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
