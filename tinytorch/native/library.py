"""Module 15: oneDNN's shared library: where it is, what it can here, and how many threads it uses.

It uses as many threads as OMP_NUM_THREADS says, where `use_threads` does not make it one. In a forked child it is one,
for OpenMP's other threads do not survive a fork, and it would wait for them forever.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import threading
from ctypes import byref, c_int, c_size_t, c_void_p
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from tinytorch.base.errors import SettingError, TinyTorchError, how_to_install

PACKAGE = "onednn-cpu-gomp"
NOT_INSTALLED = f"oneDNN is not installed: {how_to_install('onednn')}"

_UNIMPLEMENTED = 3  # dnnl_status_t
_STATUS = {1: "out of memory", 2: "invalid arguments", 3: "not implemented", 4: "last implementation reached",
           5: "runtime error", 6: "not required"}  # fmt: skip
_VNNI, _AVX_VNNI, _BF16 = 0x67, 0xF, 0xE7  # dnnl_cpu_isa_t: avx512_core_vnni, avx2_vnni, avx512_core_bf16


class UnsupportedError(TinyTorchError):
    """oneDNN has no kernel for these shapes and dtypes on this CPU: do it another way."""


class Library:
    """The loaded library, its one CPU engine and stream."""

    def __init__(self) -> None:
        self.c = ctypes.CDLL(str(_path()))
        c = self.c
        for name in ("memory_desc_get_size", "primitive_desc_query_md"):
            getattr(c, f"dnnl_{name}").argtypes = [c_void_p, c_int, c_int] if name.startswith("p") else [c_void_p]
        c.dnnl_memory_desc_get_size.restype = c_size_t
        c.dnnl_primitive_desc_query_md.restype = c_void_p
        c.dnnl_memory_desc_clone.argtypes = [c_void_p, c_void_p]
        c.dnnl_memory_desc_equal.argtypes = [c_void_p, c_void_p]
        c.dnnl_memory_set_data_handle.argtypes = [c_void_p, c_void_p]
        c.dnnl_primitive_execute.argtypes = [c_void_p, c_void_p, c_int, c_void_p]
        c.dnnl_stream_wait.argtypes = [c_void_p]
        for name in ("primitive_destroy", "primitive_desc_destroy", "memory_destroy", "memory_desc_destroy"):
            getattr(c, f"dnnl_{name}").argtypes = [c_void_p]
        self.engine, self.stream = c_void_p(), c_void_p()
        check(c.dnnl_engine_create(byref(self.engine), 1, c_size_t(0)), "the CPU engine")
        check(c.dnnl_stream_create(byref(self.stream), self.engine, 1), "its stream")
        self.isa = int(c.dnnl_get_effective_cpu_isa())
        self._openmp = ctypes.CDLL("libgomp.so.1")  # which the library has loaded already
        self._all_threads = int(self._openmp.omp_get_max_threads())
        self._mine = threading.local()

    def use_threads(self, alone: bool) -> None:
        """What this thread calls next runs on one thread, or on all.

        Nobody else sets OpenMP's number, which is each thread's own: what it was set to last is remembered here.
        """
        if alone != getattr(self._mine, "alone", False):
            self._openmp.omp_set_num_threads(1 if alone else self._all_threads)
            self._mine.alone = alone

    def stay_alone(self) -> None:
        """Use one thread from now on, for this is a forked child: the other threads are its parent's.

        A convolution that was prepared before asks for as many threads as there were: no level of OpenMP's parallel
        regions may be active, so that it gets one, and does all the work with it.
        """
        self._all_threads = 1
        self._openmp.omp_set_num_threads(1)
        self._openmp.omp_set_max_active_levels(0)


def _path() -> Path:
    """Where the package put the library.

    Raises:
        PackageNotFoundError: it is not installed. OSError: it is, without a library for this system.
    """
    for file in distribution(PACKAGE).files or []:
        if file.name in ("libdnnl.so.3", "libdnnl.3.dylib", "dnnl.dll"):
            return Path(str(file.locate())).resolve()
    raise OSError(f"the package {PACKAGE} that is installed holds no libdnnl 3 for {sys.platform}")


@cache
def library() -> Library:
    """The library, loaded at the first call.

    Raises:
        SettingError: it is not there, or cannot be loaded; the message says how to get it.
    """
    try:
        return Library()
    except PackageNotFoundError:
        if (sys.platform, platform.machine()) != ("linux", "x86_64"):
            system = f"{platform.system()} {platform.machine()}"
            raise SettingError(f"there is no package of oneDNN for {system}") from None
        raise SettingError(NOT_INSTALLED) from None
    except (OSError, AttributeError, TinyTorchError) as error:
        raise SettingError(f"oneDNN cannot be loaded ({error})") from None


def _after_fork() -> None:
    if library.cache_info().currsize:
        library().stay_alone()


if sys.platform != "win32":  # where there is no fork
    os.register_at_fork(after_in_child=_after_fork)


def why_not() -> str:
    """Why oneDNN cannot be used here, or "" if it can."""
    try:
        library()
    except SettingError as error:
        return str(error)
    return ""


def native_dtypes() -> frozenset[str]:
    """For which dtypes this CPU has instructions of its own, so that a product in them is worth it."""
    isa = library().isa
    return frozenset(
        ["float32"]
        + ["int8"] * (isa & _VNNI == _VNNI or isa & _AVX_VNNI == _AVX_VNNI)
        + ["bfloat16"] * (isa & _BF16 == _BF16)
    )


class _Version(ctypes.Structure):
    _fields_ = (("major", c_int), ("minor", c_int), ("patch", c_int))


def version() -> str:
    """The library's version, e.g. "3.2.0"."""
    function = library().c.dnnl_version
    function.restype = ctypes.POINTER(_Version)
    told = function().contents
    return f"{told.major}.{told.minor}.{told.patch}"


def check(status: int, what: str) -> None:
    """Turn a status that is not success into an error.

    Raises:
        UnsupportedError: there is no such kernel here. SettingError: anything else.
    """
    if status == _UNIMPLEMENTED:
        raise UnsupportedError(f"oneDNN has no kernel for {what}")
    if status:
        raise SettingError(f"oneDNN: {what}: {_STATUS.get(status, status)}")
