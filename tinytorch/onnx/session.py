"""`session`: inference with ONNX Runtime, to check an exported model and to compare speeds."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from tinytorch.base.errors import SettingError, how_to_install
from tinytorch.environment import machine, usable_cores
from tinytorch.layers import Module
from tinytorch.onnx import document
from tinytorch.onnx.export import exported
from tinytorch.tensor import Array


def session(
    model: Module | str | os.PathLike[str], *, threads: int | None = None, **settings: Any
) -> Callable[[Array], Array]:
    """Return a function from input array to output array that ONNX Runtime computes on the CPU.

    Args:
        model: a model, which is exported first, or a file that `export` wrote.
        threads: by default, those of OMP_NUM_THREADS, as for TinyTorch's own kernels, else as many as usable cores.
        settings: for a model, the arguments of `export`.

    Raises:
        SettingError: the package onnxruntime is not installed, or it refuses the file; or as in `export`.
    """
    runtime = package()
    content = exported(model, **settings) if isinstance(model, Module) else os.fspath(model)
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads or default_threads(), 1
    options.log_severity_level = 3  # errors only
    if not {"avx512_vnni", "avx_vnni"} & set(machine().features):
        # Products of int8 and uint8 would saturate at 16 bits. With VNNI, this would only halve the speed: 11.2 ms
        # instead of 4.7 for 64 images and ResNet-8 in INT8
        options.add_session_config_entry("session.x64quantprecision", "1")
    try:
        made = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of its own classes, without a common base
        raise SettingError(f"ONNX Runtime refuses the model: {' '.join(str(error).split())[:300]}") from None
    given, outputs = made.get_inputs()[0], [made.get_outputs()[0].name]
    name, dtype = given.name, np.dtype(np.int64 if given.type == "tensor(int64)" else np.float32)

    def run(x: Array) -> Array:
        return made.run(outputs, {name: x if x.dtype == dtype else x.astype(dtype)})[0]

    return run


def default_threads() -> int:
    """Return the number of threads that OpenMP's variable sets for this process, or the number of usable cores."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) else usable_cores()


def why_not() -> str | None:
    """Return why a model cannot be run with ONNX Runtime, in one line; None if it can."""
    try:
        document.package()
        package()
    except SettingError as error:
        return str(error)
    return None


def package() -> Any:
    """Import the package onnxruntime.

    Raises:
        SettingError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise SettingError(f"ONNX Runtime is not installed ({error}): {how_to_install('onnx')}") from None
    return onnxruntime
