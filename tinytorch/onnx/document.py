"""A finished graph as an ONNX file, checked by the package onnx."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from tinytorch.base.errors import SettingError, how_to_install
from tinytorch.onnx.graph import Graph, Shape, Value
from tinytorch.tensor import Array

MOST_BYTES = 2**31 - 2**20  # a protobuf message has less than 2 GiB
OPEN = ("batch", "sequence", "height", "width")  # names of sizes that an input leaves open


def package() -> Any:
    """Import the package onnx.

    Raises:
        SettingError: it is not installed, or cannot be loaded.
    """
    return imported("onnx", "ONNX export needs the package onnx", "The package onnx")


def imported(name: str, missing: str, title: str) -> Any:
    """Import a package; the errors begin with `missing` if it is not installed, or else with its title.

    Raises:
        SettingError: it is not installed, or cannot be loaded.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        absent, reason = error.name == name, str(error)
    except Exception as error:  # of a broken installation: a library that is missing, another version of NumPy, ...
        absent, reason = False, str(error)
    problem = missing if absent else f"{title} cannot be loaded"
    raise SettingError(f"{problem} ({reason}): {how_to_install('onnx')}")


def to_bytes(
    graph: Graph, given: tuple[Value, str], result: Value, output_name: str, metadata: Mapping[str, str]
) -> bytes:
    """Return the file's content.

    Raises:
        SettingError: the package onnx is not installed or refuses the graph, a name is used twice, or the file would
            be too large.
    """
    onnx = package()
    value, dtype = given
    taken = [value.name, output_name, *graph.arrays, *(node.output for node in graph.nodes)]
    for name in (value.name, output_name):
        if not name or taken.count(name) > 1:
            raise SettingError(f"ONNX export: the name {name!r} for an input or output: expected one that is not used")
    size = sum(array.nbytes for array in graph.arrays.values())
    if size > MOST_BYTES:
        raise SettingError(f"ONNX export: {size} bytes of weights: expected at most {MOST_BYTES}, which one file holds")
    make = onnx.helper
    nodes = [make.make_node(n.op, n.inputs, [n.output], name=n.output, **attributes(onnx, n)) for n in graph.nodes]
    nodes.append(make.make_node("Identity", [result.name], [output_name], name="output"))
    made = make.make_graph(
        nodes,
        "tinytorch",
        [make.make_tensor_value_info(value.name, number_of(onnx, dtype), opened(value.shape))],
        [make.make_tensor_value_info(output_name, number_of(onnx, result.integers or "float32"), opened(result.shape))],
        [tensor_of(onnx, name, array) for name, array in graph.arrays.items()],
    )
    opsets = [make.make_opsetid("", graph.opset)]
    model = make.make_model(made, opset_imports=opsets, ir_version=make.find_min_ir_version_for(opsets))
    model.producer_name, model.producer_version = "tinytorch", import_module("tinytorch").__version__
    make.set_model_props(model, dict(metadata))
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = " ".join(str(error).split())[:300]
        raise SettingError(f"ONNX export: the layers do not fit together: {reason}") from None
    return bytes(model.SerializeToString())


def attributes(onnx: Any, node: Any) -> dict[str, Any]:
    """Return a node's attributes, with the numbers of ONNX's dtypes in place of their names."""
    return {name: number_of(onnx, v) if name == "to" else v for name, v in node.attributes.items()}


def number_of(onnx: Any, dtype: str) -> int:
    """Return ONNX's number of a dtype.

    >>> number_of(package(), "float32")
    1
    """
    names = {"float32": "FLOAT", "bool": "BOOL", "bfloat16": "BFLOAT16", "float16": "FLOAT16"}
    return int(getattr(onnx.TensorProto, names.get(dtype, dtype.upper())))


def tensor_of(onnx: Any, name: str, array: Array) -> Any:
    little = array.astype(array.dtype.newbyteorder("<"), copy=False) if array.dtype.kind in "iuf" else array
    return onnx.helper.make_tensor(name, number_of(onnx, array.dtype.name), array.shape, little.tobytes(), raw=True)


def opened(shape: Shape) -> list[int | str | None]:
    """Return a shape for the file: other names of sizes than those of the input are unknown sizes."""
    return [size if isinstance(size, int) or size in OPEN else None for size in shape]
