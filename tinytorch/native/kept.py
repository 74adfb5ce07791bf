"""Kernels for training: prepared once for their shapes and kept for each thread, because each does one run at a time.

A batch is split between threads as in `arrays.parallel`, and oneDNN computes each part on one thread. OpenMP could
split the batch inside oneDNN, but its threads wait for each other by spinning, dozens of times in a training step: with
another program on one of two cores, a step took 60 times as long.
If oneDNN has no kernel, the functions raise `library.UnsupportedError`, and the caller computes the result another way.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from ctypes import byref, c_char_p
from typing import Any, TypeVar

import numpy as np
from numpy import ndarray as Array

from tinytorch.native import primitives as dnn
from tinytorch.native.library import UnsupportedError, check, library

Made = TypeVar("Made")
_IMPLEMENTATION_NAME = 8  # dnnl_query_impl_info_str
KEPT = 512  # prepared kernels that each thread keeps; a network needs a few dozen
_INFINITY_BITS, _NEGATIVE_INFINITY_BITS = 0x7F80, 0xFF80  # of bfloat16; larger bits are NaN


class Kernel(dnn.Primitive):
    """An operation with an optimized kernel. oneDNN falls back to plain loops, "ref", which are 1,000 times as slow."""

    def __init__(self, function: str, arguments: Sequence[Any], arrays: Mapping[int, dnn.Descriptor | None]) -> None:
        super().__init__(function, arguments, arrays, dnn.ONE_THREAD)
        name = c_char_p()
        status = library().c.dnnl_primitive_desc_query(self.hint, _IMPLEMENTATION_NAME, 0, byref(name))
        check(status, "a kernel's name")
        if (name.value or b"").startswith(b"ref"):
            raise UnsupportedError(f"oneDNN has no kernel for {function}, only plain loops")


class Copier:
    """A prepared conversion of arrays from one layout and dtype to another."""

    def __init__(self, source: dnn.Descriptor, target: dnn.Descriptor) -> None:
        engine, self._size = library().engine, target.size
        arrays = {dnn.SRC: source, dnn.DST: target}
        what = source, engine, target, engine, None
        self._primitive = dnn.Primitive("reorder", what, arrays, dnn.ONE_THREAD)

    def __call__(self, array: Array, out: Array | None = None) -> Array:
        out = dnn.aligned(self._size) if out is None else out
        self._primitive.run({dnn.SRC: array, dnn.DST: out})
        return out


class _Mine(threading.local):
    """This thread's kernels, by function and settings."""

    def __init__(self) -> None:
        self.made: dict[Hashable, Any] = {}


_mine = _Mine()


def kernel(make: Callable[..., Made], *settings: Hashable) -> Made:
    """Return `make(*settings)`, kept from an earlier call if possible."""
    made, key = _mine.made, (make, *settings)
    if key not in made:
        if len(made) >= KEPT:
            made.pop(next(iter(made)))
        made[key] = make(*settings)
    return made[key]


def reject_nan(x: Array) -> None:
    """Raise UnsupportedError if x contains NaN: oneDNN's maximum of NaN and a number is the number, hiding a failure.

    Read as unsigned integers, negative NaNs of 16 bits are the largest values; read as signed integers, positive NaNs
    are. The two passes take 1% of a training step, a tenth of the time of `isnan`. In float32, NumPy's maximum is NaN
    if any value is.
    """
    if x.dtype == np.float32:
        found = bool(np.isnan(x.max(initial=-np.inf)))
    else:
        found = x.view(np.uint16).max(initial=0) > _NEGATIVE_INFINITY_BITS
        found = found or x.view(np.int16).max(initial=0) > _INFINITY_BITS
    if found:
        raise UnsupportedError("oneDNN's maximum ignores NaN")


def require_float32(array: Array) -> None:
    if array.dtype != np.float32:  # the other byte order compares unequal, too
        raise UnsupportedError(f"parameters of {array.dtype}: expected float32")


def float32(array: Array) -> Array:
    """Return the array as contiguous float32; another dtype is an error."""
    require_float32(array)
    return np.ascontiguousarray(array)
