"""`session`: inference with ONNX Runtime, to check an exported model and to compare speeds."""

from __future__ import annotations

import os
from collections.abc import Callable
from inspect import signature
from typing import Any

import numpy as np

from tinytorch.base.errors import InputTypeError, SettingError, ShapeError
from tinytorch.base.words import described
from tinytorch.embeddings import checked_tokens
from tinytorch.environment import machine, usable_cores
from tinytorch.layers import Module
from tinytorch.onnx import document
from tinytorch.onnx.export import exported, is_unicode, vocabulary_of
from tinytorch.onnx.graph import is_integer, shown
from tinytorch.tensor import Array

MOST_THREADS = 1024


def session(
    model: Module | str | os.PathLike[str], *, threads: int | None = None, **settings: Any
) -> Callable[[Array], Array]:
    """Return a function from input array to output array that ONNX Runtime computes on the CPU.

    Args:
        model: a model, which is exported first, or a file that `export` wrote.
        threads: 1 to 1024; by default, those of OMP_NUM_THREADS, as for TinyTorch's own kernels, else as many as
            usable cores.
        settings: for a model, the arguments of `export`.

    Raises:
        InputTypeError: the model is neither a model nor a path; or later, the function is not given an array.
        SettingError: the package onnxruntime is not installed, or it refuses the file, or the number of threads or
            another setting is not allowed; or as in `export`. Later: a token is not in the model's vocabulary, or ONNX
            Runtime refuses the input.
        ShapeError: later, the input of the function has another shape than the model's.
    """
    runtime = package()
    threads = default_threads() if threads is None else checked_threads(threads)
    content = content_of(model, settings)
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4  # errors are raised
    if not {"avx512_vnni", "avx_vnni"} & set(machine().features):
        # Products of int8 and uint8 would saturate at 16 bits. With VNNI, this would only halve the speed: 11.2 ms
        # instead of 4.7 for 64 images and ResNet-8 in INT8
        options.add_session_config_entry("session.x64quantprecision", "1")
    try:
        made = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of its own classes, without a common base
        raise SettingError(f"ONNX Runtime refuses the model: {' '.join(str(error).split())[:300]}") from None
    return runner(made, vocabulary_of(model) if isinstance(model, Module) else None)


def runner(made: Any, vocabulary: int | None) -> Callable[[Array], Array]:
    """Return the function that runs a session, and checks tokens if the vocabulary is known.

    An array of the right dtype is passed on as it is, so that a benchmark does not time our checks; ONNX Runtime itself
    refuses a wrong shape.
    """
    given, outputs = made.get_inputs()[0], [made.get_outputs()[0].name]
    name, shape = given.name, tuple(given.shape)
    dtype = np.dtype("int64" if given.type == "tensor(int64)" else "float32")

    def run(x: Array) -> Array:
        if vocabulary is not None or type(x) is not np.ndarray or x.dtype != dtype:
            check_input(x, shape, dtype)
            x = x.astype(dtype, copy=False) if vocabulary is None else checked_tokens(x, vocabulary).astype(dtype)
        try:
            return made.run(outputs, {name: x})[0]
        except Exception as error:  # of its own classes, without a common base
            check_input(x, shape, dtype)
            raise SettingError(f"ONNX Runtime refuses the input: {' '.join(str(error).split())[:300]}") from None

    return run


def check_input(x: Array, shape: tuple[int | str | None, ...], dtype: np.dtype[Any]) -> None:
    """Raise if an input has another shape than the model's, or a dtype whose conversion would change its values."""
    if not isinstance(x, np.ndarray):
        raise InputTypeError(f"ONNX Runtime: the input is {described(x)}: expected an array")
    if len(shape) != x.ndim or any(isinstance(n, int) and n != size for n, size in zip(shape, x.shape, strict=True)):
        sizes = tuple("?" if size is None else size for size in shape)
        raise ShapeError(f"ONNX Runtime: an input of shape {x.shape}: expected {shown(sizes)}")
    if x.dtype.kind in ("cOSUMm" if dtype.kind == "f" else "cOSUMmfVb"):
        expected = "numbers" if dtype.kind == "f" else "integers, as tokens are"
        raise SettingError(f"ONNX Runtime: an input of dtype {x.dtype}: expected {expected}")


def content_of(model: object, settings: dict[str, Any]) -> bytes | str:
    """Return what ONNX Runtime reads: an exported model, or the path of a file, to which no setting applies."""
    whole = isinstance(model, Module)
    if unknown := sorted(settings.keys() - (signature(exported).parameters if whole else ())):
        expected = "the arguments of export" if whole else "a model, which is exported with it, or no setting"
        raise SettingError(f"session: the setting {', '.join(unknown)}: expected {expected}")
    if isinstance(model, Module):
        return exported(model, **settings)
    path = os.fspath(model) if isinstance(model, str | os.PathLike) else None
    if not isinstance(path, str):
        raise InputTypeError(f"session: model is {described(model)}: expected a Module or the path of a file")
    if not path or "\0" in path or not is_unicode(path):
        raise SettingError(f"session: model is {path!r}: expected the path of a file")
    return path


def checked_threads(threads: int) -> int:
    """Return a number of threads.

    Raises:
        InputTypeError: it is not an integer.
        SettingError: it is not one from 1 to 1024.
    """
    if not is_integer(threads):
        raise InputTypeError(f"session: threads is {described(threads)}: expected an integer")
    if not 1 <= threads <= MOST_THREADS:
        raise SettingError(f"session: threads is {threads}: expected 1 to {MOST_THREADS}")
    return int(threads)


def default_threads() -> int:
    """Return the number of threads that OpenMP's variable sets for this process, or the number of usable cores."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    known = given.isascii() and given.isdigit() and len(given) <= len(str(MOST_THREADS))
    return int(given) if known and 1 <= int(given) <= MOST_THREADS else usable_cores()


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
        SettingError: it is not installed, or cannot be loaded.
    """
    return document.imported("onnxruntime", "ONNX Runtime is not installed", "ONNX Runtime")
