"""Devices and the names of dtypes, for programs written for PyTorch. All arrays are in main memory: "cpu"."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch.base.dtypes import numpy_dtype
from tinytorch.base.errors import InputTypeError, SettingError
from tinytorch.base.words import described

# PyTorch's names of dtypes, and NumPy's
DTYPES = {
    "float": "float32", "double": "float64", "half": "float16", "int": "int32", "long": "int64", "short": "int16",
    "float16": "float16", "float32": "float32", "float64": "float64", "bfloat16": "bfloat16", "bool": "bool",
    "int8": "int8", "int16": "int16", "int32": "int32", "int64": "int64",
    "uint8": "uint8", "uint16": "uint16", "uint32": "uint32", "uint64": "uint64",
}  # fmt: skip


class device:  # noqa: N801 (PyTorch's name)
    """The place of a tensor's values: always the CPU.

    Raises:
        SettingError: any other device.

    >>> device("cpu")
    device(type='cpu')
    """

    type = "cpu"
    index = None

    def __init__(self, name: str | device = "cpu", index: int | None = None) -> None:
        text = str(name)
        if text.split(":")[0] != "cpu":
            raise SettingError(f"device {text!r}: TinyTorch computes on the CPU only; expected 'cpu'")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) or other == "cpu"

    def __hash__(self) -> int:
        return hash("cpu")

    def __str__(self) -> str:
        return "cpu"

    def __repr__(self) -> str:
        return "device(type='cpu')"


CPU = device()


def is_device(value: Any) -> bool:
    """Return whether a value names a device: a `device`, "cpu", "cuda:0", "mps"."""
    return isinstance(value, device) or (
        isinstance(value, str) and value.split(":")[0] in ("cpu", "cuda", "mps", "xpu")
    )


def as_dtype(value: Any) -> np.dtype[Any] | None:
    """Return the NumPy dtype for a dtype, its name in PyTorch or NumPy, or None."""
    if value is None:
        return None
    if isinstance(value, str):
        value = value.removeprefix("torch.")
    try:
        dtype = numpy_dtype(DTYPES.get(value, value)) if isinstance(value, str) else np.dtype(value)
    except (TypeError, ValueError):
        dtype = np.dtype(object)
    if dtype.kind in "OSUMm" or dtype.type is np.void:  # bfloat16 is also of kind V, but has a type of its own
        raise InputTypeError(f"dtype is {described(value)}: expected one such as np.float32")
    return dtype


def target(*given: Any, **named: Any) -> np.dtype[Any] | None:
    """Return the dtype that the arguments of `to` ask for, or None; check the device.

    `to(dtype)`, `to(device)`, `to(device, dtype)`, `to(other_tensor)`; `non_blocking` and `copy` have no effect.

    Raises:
        SettingError: the device is not the CPU.
    """
    dtype = as_dtype(named.get("dtype"))
    if named.get("device") is not None:
        device(named["device"])
    for value in given:
        if is_device(value):
            device(value)
        elif isinstance(value, bool) or value is None:  # non_blocking, copy
            continue
        elif hasattr(value, "requires_grad"):
            dtype = value.dtype
        else:
            dtype = as_dtype(value)
    return dtype
