"""A graph of ONNX operations while it is being built: nodes, stored arrays, and the shape of each value.

It does not import the package onnx: `document` converts a finished graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinytorch.base.errors import SettingError
from tinytorch.layers import Module
from tinytorch.tensor import Array, Tensor

Size = int | str  # a number, or the name of a size that is known only when the model runs
Shape = tuple[Size, ...]
FLOATS = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class Value:
    """The output of a node.

    Attributes:
        integers: "uint8" or "int8" if the value holds the integers of a quantized layer; None for float32.
        scale: the scale of these integers, which the layer that returned them has.
    """

    name: str
    shape: Shape
    integers: str | None = None
    scale: Array | None = None


@dataclass(frozen=True)
class Node:
    op: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Any]


@dataclass
class Graph:
    """Nodes in the order in which they run, and the arrays that they read.

    Attributes:
        opset: the version of ONNX's operations; some exist only in later ones.
        names: id of a tensor -> its name in the model's state_dict, which its stored array keeps.
        ranges: id of a layer -> dtype and scale for the floats that it returns, if they were measured.
        where: the part of the model that is being exported, for messages.
        next_token: whether a GPT returns only the logits of the next token.
        emit: adds the nodes of a layer, by its type; `export` sets it, because containers need it.
    """

    opset: int
    names: Mapping[int, str]
    ranges: Mapping[int, tuple[str, Array]] = field(default_factory=dict)
    where: str = "model"
    next_token: bool = False
    nodes: list[Node] = field(default_factory=list)
    arrays: dict[str, Array] = field(default_factory=dict)
    known: dict[tuple[object, ...], str] = field(default_factory=dict)
    emit: Callable[[Graph, object, Value], Value] = lambda graph, layer, x: x

    def add(self, op: str, *inputs: str | None, **attributes: Any) -> str:
        """Add a node, and return the name of its output. The same node is added once."""
        given = tuple("" if name is None else name for name in inputs)
        key = (op, given, tuple(sorted((name, repr(value)) for name, value in attributes.items())))
        if key not in self.known:
            self.known[key] = f"{op}_{len(self.nodes)}"
            self.nodes.append(Node(op, given, self.known[key], attributes))
        return self.known[key]

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """Store a small array of a given dtype, and return its name. Equal arrays are stored once."""
        array = np.asarray(value, dtype)
        key = ("constant", array.dtype.name, array.shape, array.tobytes())
        if key not in self.known:
            self.known[key] = self.store(f"constant_{len(self.arrays)}", array)
        return self.known[key]

    def store(self, name: str, array: Array) -> str:
        """Store an array, and return its name. If another array has the name already, it gets a number."""
        chosen, count = name, 1
        while chosen in self.arrays and not same(self.arrays[chosen], array):
            chosen, count = f"{name}_{count}", count + 1
        self.arrays.setdefault(chosen, np.ascontiguousarray(array).reshape(array.shape))
        return chosen

    def weight(self, tensor: Tensor, name: str = "") -> str:
        """Return a tensor of the model as float32. 16-bit weights are stored in 16 bits, and widened by a node.

        Raises:
            SettingError: the tensor has another dtype.
        """
        dtype = tensor.data.dtype.name
        if dtype not in FLOATS:
            raise self.refuse(f"weights of dtype {dtype}: expected {', '.join(FLOATS)}")
        stored = self.stored(tensor, name)
        return stored if dtype == "float32" else self.cast(stored, "float32")

    def stored(self, tensor: Tensor, name: str = "") -> str:
        """Store a tensor of the model, whatever its dtype, under its name in the state_dict."""
        known = self.names.get(id(tensor), name or f"tensor_{id(tensor)}")
        return known if known in self.arrays else self.store(known, tensor.data)

    def cast(self, name: str, dtype: str) -> str:
        """Convert a value to another dtype. `document` knows the numbers of ONNX's dtypes."""
        return self.add("Cast", name, to=dtype)

    def refuse(self, problem: str) -> SettingError:
        """Return the error for a part that cannot be exported."""
        return SettingError(f"ONNX export: {self.where}: {problem}")


def floats(graph: Graph, x: Value, reader: str) -> Value:
    """Return x, after checking that it holds floats.

    Raises:
        SettingError: a quantized layer returned integers, and the reader computes with floats.
    """
    if x.integers:
        raise graph.refuse(f"{reader} gets the integers of a quantized layer: expected floats")
    return x


def ranked(graph: Graph, x: Value, rank: int, reader: str) -> Value:
    """Return x, after checking its number of dimensions."""
    if len(x.shape) != rank:
        raise graph.refuse(f"{reader} gets an input of shape {shown(x.shape)}: expected {rank} dimensions")
    return x


def shown(shape: Shape) -> str:
    """Return a shape as text, e.g. (batch, 3, 32, 32)."""
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def same(x: Array, y: Array) -> bool:
    """Return whether arrays have the same dtype, shape, and values."""
    return x.dtype == y.dtype and np.array_equal(x, y)


def numbers(graph: Graph, name: str, sizes: Any, least: int) -> tuple[int, int]:
    """Return a setting for both directions: one number stands for two.

    Raises:
        SettingError: it is neither an integer of at least `least` nor a pair of them.
    """
    pair = (sizes, sizes) if isinstance(sizes, int | np.integer) else sizes
    if not (isinstance(pair, tuple | list) and len(pair) == 2 and all(is_integer(n) and n >= least for n in pair)):
        raise graph.refuse(f"{name} {sizes}: expected an integer of at least {least}, or a pair of them")
    return int(pair[0]), int(pair[1])


def is_integer(value: object) -> bool:
    """Return whether a value is an integer of Python or NumPy, and not a bool."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def named(model: Module) -> dict[int, str]:
    """Return the first name of each tensor of a model, by the tensor's id."""
    names: dict[int, str] = {}
    for name, tensor in model.named_tensors():
        names.setdefault(id(tensor), name)
    return names
