"""Module 15: oneDNN's shared library. Where it is, which dtypes this CPU supports, and how many threads it uses.

The library uses OMP_NUM_THREADS threads, or one thread after `use_threads(alone=True)`. A forked child process uses one
thread: OpenMP's other threads do not survive a fork, and the library would wait for them forever.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import byref, c_int, c_size_t, c_void_p
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from tinytorch.base.errors import SettingError, TinyTorchError, how_to_install

PACKAGE = "onednn-cpu-gomp"
NOT_INSTALLED = f"oneDNN is not installed: {how_to_install('onednn')}"
WITHOUT = (
    "without it, NumPy computes int8 and bfloat16 in float32: correct, but 0.5 to 0.7 times as fast as float32 itself"
)

_UNIMPLEMENTED = 3  # dnnl_status_t
_STATUS = {1: "out of memory", 2: "invalid arguments", 3: "not implemented", 4: "last implementation reached",
           5: "runtime error", 6: "not required"}  # fmt: skip
_VNNI, _AVX_VNNI, _BF16 = 0x67, 0xF, 0xE7  # dnnl_cpu_isa_t: avx512_core_vnni, avx2_vnni, avx512_core_bf16


class UnsupportedError(TinyTorchError):
    """oneDNN has no kernel for these shapes and dtypes on this CPU. The caller computes the result another way."""


class Library:
    """The loaded library with its CPU engine and stream."""

    def __init__(self) -> None:
        with _short_spin():
            self.c = ctypes.CDLL(str(_path()))
            self._openmp = ctypes.CDLL("libgomp.so.1")  # already loaded by the library
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
        self.execute = c.dnnl_primitive_execute
        self._all_threads = int(self._openmp.omp_get_max_threads())
        self._mine = threading.local()

    def use_threads(self, alone: bool) -> None:
        """Run this thread's next calls on one thread (`alone`), or on all threads.

        OpenMP stores the number for each calling thread, and only this method sets it, so the last value is kept here
        and an unchanged one is not set again.
        """
        if alone != getattr(self._mine, "alone", False):
            self._openmp.omp_set_num_threads(1 if alone else self._all_threads)
            self._mine.alone = alone

    def stay_alone(self) -> None:
        """Use one thread from now on, in a forked child: the other threads exist only in the parent process.

        A convolution that was prepared before the fork requests the previous number of threads. With no active level
        of OpenMP's parallel regions allowed, it gets one thread, which does all the work.
        """
        self._all_threads = 1
        self._openmp.omp_set_num_threads(1)
        self._openmp.omp_set_max_active_levels(0)


@contextmanager
def _short_spin() -> Iterator[None]:
    """Let OpenMP's threads, if it is loaded now, wait for each other by spinning for 70 µs at most, and sleep then.

    By default they spin for 10 to 18 ms. If another program occupies the core of the second thread, the first one
    keeps it from running at all on its own core: an MLP took 28 ms for one image instead of 20 µs, and with this
    setting 145 µs. `environment.tuned_environment` sets the same value for the processes of a benchmark.
    """
    if {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & set(os.environ):
        yield
        return
    os.environ["GOMP_SPINCOUNT"] = "2000"
    try:
        yield
    finally:
        del os.environ["GOMP_SPINCOUNT"]


def _path() -> Path:
    """Return the path of the library in the installed package.

    Raises:
        PackageNotFoundError: the package is not installed.
        OSError: the installed package contains no library for this system.
    """
    for file in distribution(PACKAGE).files or []:
        if file.name in ("libdnnl.so.3", "libdnnl.3.dylib", "dnnl.dll"):
            return Path(str(file.locate())).resolve()
    raise OSError(f"the installed package {PACKAGE} contains no libdnnl 3 for {sys.platform}")


@cache
def library() -> Library:
    """Return the library, loading it at the first call.

    Raises:
        SettingError: it is not installed or cannot be loaded; the message says how to install it.
    """
    try:
        return Library()
    except PackageNotFoundError:
        if (sys.platform, platform.machine()) != ("linux", "x86_64"):
            system = f"{platform.system()} {platform.machine()}"
            raise SettingError(f"no oneDNN package exists for {system}") from None
        raise SettingError(NOT_INSTALLED) from None
    except (OSError, AttributeError, TinyTorchError) as error:
        raise SettingError(f"oneDNN cannot be loaded ({error})") from None


def _after_fork() -> None:
    if library.cache_info().currsize:
        library().stay_alone()


if sys.platform != "win32":  # which has no fork
    os.register_at_fork(after_in_child=_after_fork)


def why_not() -> str:
    """Return the reason why oneDNN cannot be used here, or "" if it can."""
    try:
        library()
    except SettingError as error:
        return str(error)
    return ""


def native_dtypes() -> frozenset[str]:
    """Return the dtypes for which this CPU has instructions, so that products in them are fast."""
    isa = library().isa
    return frozenset(
        ["float32"]
        + ["int8"] * (isa & _VNNI == _VNNI or isa & _AVX_VNNI == _AVX_VNNI)
        + ["bfloat16"] * (isa & _BF16 == _BF16)
    )


class _Version(ctypes.Structure):
    _fields_ = (("major", c_int), ("minor", c_int), ("patch", c_int))


def version() -> str:
    """Return the library's version, e.g. "3.2.0"."""
    function = library().c.dnnl_version
    function.restype = ctypes.POINTER(_Version)
    found = function().contents
    return f"{found.major}.{found.minor}.{found.patch}"


def check(status: int, what: str) -> None:
    """Raise an error unless the status is success.

    Raises:
        UnsupportedError: oneDNN has no such kernel on this CPU.
        SettingError: any other failure.
    """
    if status == _UNIMPLEMENTED:
        raise UnsupportedError(f"oneDNN has no kernel for {what}")
    if status:
        raise SettingError(f"oneDNN: {what}: {_STATUS.get(status, status)}")
