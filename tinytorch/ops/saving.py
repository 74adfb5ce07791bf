"""`save` and `load` of tensors, state_dicts, and checkpoints: data, never code."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from tinytorch.base.errors import SettingError, StateError
from tinytorch.base.files import load_arrays, save_arrays
from tinytorch.tensor import Array, Tensor

PLAIN = (str, int, float, bool, type(None))


def save(value: Any, path: str | os.PathLike[str]) -> None:
    """Save a tensor, or nested dicts and lists of tensors, arrays, numbers, and texts, as one safetensors file.

    A model is saved by its state: `save(model.state_dict(), path)`.

    Raises:
        SettingError: the value contains anything else, such as a module.
    """
    arrays: dict[str, Array] = {}
    layout = _pack(value, "", arrays)
    save_arrays(path, arrays or {"empty": np.zeros(0, np.float32)}, {"layout": json.dumps(layout)})


def _pack(value: Any, place: str, arrays: dict[str, Array]) -> Any:
    """Return the value with each tensor replaced by its name in `arrays`."""
    if isinstance(value, Tensor | np.ndarray | np.generic):
        name = place or "value"
        if value.dtype.kind not in "biuf" and value.dtype.name != "bfloat16":
            raise SettingError(f"save: {name} has dtype {value.dtype}: expected real numbers or booleans")
        arrays[name] = value.data if isinstance(value, Tensor) else np.asarray(value)
        return {"tensor" if isinstance(value, Tensor) else "array": name}
    if isinstance(value, PLAIN):
        return {"value": value}
    if isinstance(value, dict):
        if not all(isinstance(key, str | int) for key in value):
            raise SettingError(f"save: a dict with keys {list(value)[:3]}: expected texts or integers")
        items = [[key, _pack(item, f"{place}.{key}" if place else str(key), arrays)] for key, item in value.items()]
        return {"dict": items}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_pack(item, f"{place}.{i}" if place else str(i), arrays) for i, item in enumerate(value)]}
    raise SettingError(f"save: {place or 'value'} is a {type(value).__name__}: expected tensors, numbers, texts, or "
                       f"dicts and lists of them; save a model by its state_dict()")  # fmt: skip


def load(path: str | os.PathLike[str], map_location: Any = None, weights_only: bool = True) -> Any:
    """Load a file that `save` wrote, or a state_dict from a safetensors file.

    Raises:
        StateError: the file is missing, damaged, or a pickle, as PyTorch writes; the message says what to do.
    """
    try:
        arrays, metadata = load_arrays(path)
    except StateError:
        first = Path(path).read_bytes()[:2] if Path(path).is_file() else b""
        if first == b"PK" or first[:1] == b"\x80":
            raise StateError(f"{path}: a file of PyTorch's own format, which can contain code; save it in PyTorch with "
                             f"safetensors.torch.save_file(model.state_dict(), path)") from None  # fmt: skip
        raise
    if "layout" not in metadata:
        return {name: Tensor(array) for name, array in arrays.items()}
    return _unpack(json.loads(metadata["layout"]), arrays)


def _unpack(layout: dict[str, Any], arrays: dict[str, Array]) -> Any:
    ((kind, content),) = layout.items()
    if kind == "tensor":
        return Tensor(arrays[content])
    if kind == "array":
        return arrays[content]
    if kind == "value":
        return content
    if kind == "dict":
        return {key: _unpack(item, arrays) for key, item in content}
    items = [_unpack(item, arrays) for item in content]
    return items if kind == "list" else tuple(items)
