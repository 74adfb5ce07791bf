"""Checks of an untrusted model.json: JSON is turned into a plan of what to build, or into one line about the problem.

The package's docstring describes the file; `table` lists what it may contain. The checks allocate only the plan.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import numpy as np

from tinytorch.base.errors import StateError
from tinytorch.layers import Module
from tinytorch.saved.folder import MAX_BYTES
from tinytorch.saved.kinds import Kind, PlannedLayer, Slot, TensorSpec
from tinytorch.saved.table import CACHE, KINDS
from tinytorch.tensor import Array

FORMAT, VERSION = "tinytorch model", 1
MAX_NODES = 10_000
MAX_DEPTH = 32
ANYWHERE = Slot()
PARTS_OF = {"bitmask": ("", ".mask"), "deflate": ("",)}  # suffixes of a packed tensor's arrays


@dataclass
class Plan:
    """The checks of a description's nodes, and the tensors and bytes that the nodes require."""

    specs: dict[str, TensorSpec] = field(default_factory=dict)
    nodes: int = 0
    derived_bytes: int = 0

    def read(self, node: Any, where: str, prefix: str, depth: int = 1, slot: Slot = ANYWHERE) -> PlannedLayer:
        """Check one node, the content of `slot`, and all nodes below it."""
        self.nodes += 1
        if depth > MAX_DEPTH or self.nodes > MAX_NODES:
            raise StateError(f"{where}: expected at most {MAX_NODES} parts, at most {MAX_DEPTH} deep")
        if not isinstance(node, dict):
            raise StateError(f"{where} is {short(node)}: expected an object with a type")
        name = node.get("type")
        if not isinstance(name, str) or name not in KINDS:
            raise StateError(f"{where}.type is {short(name)}: expected a known type")
        if slot.types and name not in slot.types:
            raise StateError(f"{where}.type is {name}: expected {' or '.join(slot.types)}")
        kind = KINDS[name]
        _check_keys(node, where, ("type", *kind.settings, *kind.parts))
        for key, setting in kind.settings.items():
            if not setting.fits(node[key]):
                raise StateError(f"{where}.{key} is {short(node[key])}: expected {setting.expected}")
        settings = {key: tuple(v) if isinstance(v := node[key], list) else v for key in kind.settings}
        if problem := kind.problem(settings):
            raise StateError(f"{where}: {problem}")
        if slot.apart and not kind.apart(settings):
            raise StateError(f"{where}: a {name} may mix positions: expected a layer that uses only the last "
                             f"dimension")  # fmt: skip
        self.specs |= {prefix + key: spec for key, spec in kind.tensors(settings).items()}
        self.derived_bytes += kind.derived_bytes(settings)
        layer = PlannedLayer(kind, settings, prefix, self.parts(node, kind, where, prefix, depth + 1, slot.apart))
        if clash := kind.clash(layer):
            raise StateError(f"{where}: {clash}")
        return layer

    def parts(
        self, node: dict[str, Any], kind: Kind, where: str, prefix: str, depth: int, apart: bool
    ) -> dict[str, Any]:
        """Check the parts of a node."""
        parts: dict[str, Any] = {}
        for key, own in kind.parts.items():
            slot = replace(own, apart=own.apart or apart)
            stem, place = prefix + (f"{key}." if slot.named else ""), f"{where}.{key}"
            if not slot.many:
                parts[key] = self.read(node[key], place, stem, depth, slot)
                continue
            if not isinstance(node[key], list) or len(node[key]) < slot.least:
                raise StateError(f"{place} is {short(node[key])}: expected a list of at least {slot.least}")
            below = enumerate(node[key])
            parts[key] = [self.read(part, f"{place}[{i}]", f"{stem}{i}.", depth, slot) for i, part in below]
        return parts


@dataclass(frozen=True)
class Document:
    """A checked model.json."""

    root: PlannedLayer
    specs: dict[str, TensorSpec]
    derived_bytes: int
    encodings: dict[str, dict[str, Any]]
    shared: dict[str, str]
    cache: dict[str, Any] | None


def parse(text: bytes) -> Document:
    """Check the text of a model.json and return its contents.

    Raises:
        StateError: the file is invalid; the message says what is wrong and where.
    """
    try:
        document = json.loads(text.decode("utf-8"), object_pairs_hook=_unique_keys, parse_constant=_reject_constant)
    except (ValueError, RecursionError) as error:
        if isinstance(error, StateError):
            raise
        raise StateError(f"not JSON in UTF-8 ({error})") from None
    if not isinstance(document, dict):
        raise StateError(f"is {short(document)}: expected an object")
    given = [key for key in ("encodings", "shared", "cache") if key in document]
    _check_keys(document, "", ("format", "version", "model", *given))
    for key, value in (("format", FORMAT), ("version", VERSION)):
        if type(document[key]) is not type(value) or document[key] != value:
            raise StateError(f"{key} is {short(document[key])}: expected {value!r}")
    plan = Plan()
    root = plan.read(document["model"], "model", "")
    if not (isinstance(root.kind.make, type) and issubclass(root.kind.make, Module)):
        raise StateError("model.type: expected a layer, not a function")
    shared = _shared(document.get("shared", {}), plan.specs)
    encodings = _encodings(document.get("encodings", {}), plan.specs, shared)
    cache = check_cache(document["cache"], root) if "cache" in document else None
    return Document(root, plan.specs, plan.derived_bytes, encodings, shared, cache)


def check_cache(given: Any, root: PlannedLayer) -> dict[str, Any]:
    """Return the settings of a key-value cache after checking that they fit the model and the memory limit."""
    if root.kind is not KINDS["GPT"]:
        raise StateError("cache: expected only for a GPT")
    if not isinstance(given, dict):
        raise StateError(f"cache is {short(given)}: expected an object")
    _check_keys(given, "cache", tuple(CACHE))
    for key, setting in CACHE.items():
        if not setting.fits(given[key]):
            raise StateError(f"cache.{key} is {short(given[key])}: expected {setting.expected}")
    block, transformer = root.settings["block_size"], root.parts["transformer"]
    if given["hop"] > block:
        raise StateError(f"cache.hop is {given['hop']}: expected at most the block size, {block}")
    width = transformer.parts["wpe"].settings["embedding_dim"]
    elements = 2 * len(transformer.parts["h"]) * given["batch_size"] * block * width
    check_total(elements * np.dtype(given["dtype"]).itemsize, "cache: keys and values")
    return given


def _shared(given: Any, specs: Mapping[str, TensorSpec]) -> dict[str, str]:
    """Check that each name and the first name of its tensor belong to the model and have the same specification."""
    if not isinstance(given, dict):
        raise StateError(f"shared is {short(given)}: expected an object")
    for name, first in given.items():
        if name not in specs or not isinstance(first, str) or first not in specs or first in given:
            raise StateError(f"shared.{short(name)} is {short(first)}: expected two names of the model's tensors")
        if specs[name] != specs[first]:
            raise StateError(f"shared.{name}: {first} has another shape or kind")
    return given


def _encodings(given: Any, specs: Mapping[str, TensorSpec], shared: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Check that each entry is for a tensor of the model, with its shape and an allowed dtype."""
    if not isinstance(given, dict):
        raise StateError(f"encodings is {short(given)}: expected an object")
    for name, entry in given.items():
        where = f"encodings.{short(name)}"
        if name not in specs or name in shared:
            raise StateError(f"{where}: not a tensor with its own values")
        if not isinstance(entry, dict):
            raise StateError(f"{where} is {short(entry)}: expected an object")
        _check_keys(entry, where, ("encoding", "dtype", "shape"))
        if entry["encoding"] not in tuple(PARTS_OF):
            raise StateError(f"{where}.encoding is {short(entry['encoding'])}: expected one of {', '.join(PARTS_OF)}")
        shape = entry["shape"]
        if not isinstance(shape, list) or any(type(n) is not int for n in shape):
            raise StateError(f"{where}.shape is {short(shape)}: expected a list of numbers")
        check_spec(where, entry["dtype"], tuple(shape), specs[name])
    return given


def _check_keys(node: Mapping[str, Any], where: str, expected: tuple[str, ...]) -> None:
    for key in node:
        if key not in expected:
            raise StateError(f"{where}: unknown key {short(key)}: expected {', '.join(expected)}".lstrip(": "))
    for key in expected:
        if key not in node:
            raise StateError(f"{where}: {key} is missing".lstrip(": "))


def check_spec(where: str, dtype: Any, shape: tuple[int, ...], spec: TensorSpec) -> None:
    """Raise if a tensor's dtype or shape is not the one its layer requires."""
    if dtype not in spec.dtypes:
        raise StateError(f"{where}: dtype {short(dtype)}: expected {' or '.join(spec.dtypes)}")
    if shape != spec.shape:
        raise StateError(f"{where}: shape {short(list(shape))}: expected {list(spec.shape)} from its layer's settings")


def check_values(where: str, array: Array, spec: TensorSpec) -> None:
    """Raise if an element is smaller or larger than allowed, or NaN where the range is limited."""
    if spec.least is not None and not array.min() >= spec.least:
        raise StateError(f"{where}: an element is {array.min()}: expected at least {spec.least:.9g}")
    if spec.most is not None and not array.max() <= spec.most:
        raise StateError(f"{where}: an element is {array.max()}: expected at most {spec.most:.9g}")


def check_total(total: int, what: str = "tensors") -> None:
    """Raise if the number of bytes exceeds the limit."""
    if total > MAX_BYTES:
        raise StateError(f"{what} of {total} bytes in total: expected at most {MAX_BYTES}")


def short(value: Any) -> str:
    """Return a value for a message, shortened to a part of one line; for a nested value, only its type."""
    if isinstance(value, list) and not all(isinstance(v, (int, float)) for v in value[:9]):
        return "a list"
    if value is not None and not isinstance(value, (str, int, float, list)):
        return "an object" if isinstance(value, dict) else type(value).__name__
    text = ascii(value[:9] if isinstance(value, list) else value)
    return text if len(text) <= 60 else text[:57] + "..."


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the JSON object as a dict; a duplicate key is an error."""
    found = dict(pairs)
    if len(found) < len(pairs):
        [(key, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise StateError(f"key {short(key)} occurs twice")
    return found


def _reject_constant(name: str) -> NoReturn:
    raise StateError(f"{name}: expected finite numbers")
