"""Module 01: setup. The machine, the BLAS that computes matrix products, and the settings that tune it.

    machine()                 cores, CPU features, memory, and a fingerprint; compare timings only if it is equal
    blas()                    the library behind `a @ b`, and the kernel it selected for this CPU
    tuned_environment(cores)  the variables to set before NumPy is imported; setting them later has no effect

A network spends nearly all of its time in matrix products, which NumPy passes to a BLAS (Basic Linear Algebra
Subprograms) library, most often OpenBLAS. OpenBLAS contains one hand-written kernel for each CPU family and selects
one when it is loaded. The wrong kernel can cost half the speed, and no warning is printed.

This module imports only NumPy and the standard library, and importing it starts no process.
"""

from __future__ import annotations

import ctypes
import hashlib
import math
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinytorch.base import openblas
from tinytorch.base.errors import SettingError

__all__ = ["BlasInfo", "MachineInfo", "blas", "machine", "tuned_environment", "usable_cores"]

# The instruction sets that determine how fast a small network runs, from narrow to wide, by their Linux names.
FEATURES = (
    *("sse4_2", "avx", "fma", "avx2", "f16c", "avx_vnni"),
    *("avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_int8", "amx_bf16"),
    *("neon", "asimd", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme"),
)

UNKNOWN = "unknown"


@dataclass(frozen=True)
class MachineInfo:
    """The properties of a machine that affect timings."""

    cpu: str
    cores: int  # available to this process, which can be fewer than the machine has
    memory_bytes: int  # available to this process; 0 if the system does not report it
    system: str  # e.g. "Linux x86_64"
    features: tuple[str, ...]  # the names in FEATURES that the CPU supports
    fingerprint: str  # 12 hex digits of the SHA-256 of all of the above


@dataclass(frozen=True)
class BlasInfo:
    """The library behind NumPy's matrix products. Values that it does not report are "unknown"."""

    library: str  # e.g. "OpenBLAS"
    version: str
    kernel: str  # e.g. "Haswell": the CPU family whose hand-written code is in use
    threads: int | None  # None if the library does not report it


def machine() -> MachineInfo:
    """Return the properties of this machine that affect timings (see `MachineInfo`).

    CPU, flags, and memory are read by `_read_cpu`. `features` has the names in FEATURES, in that order, that are among
    the flags; `system` is the names of the system and of the processor type, from `platform`: "Linux x86_64". The
    fingerprint is the same in every process on this machine. The memory enters it rounded to GiB (2^30 bytes), because
    a kernel update changes the exact figure by a few megabytes.

    This never raises: a value that the system does not report is "unknown", 0, or ().

    >>> machine().cores >= 1
    True
    """
    system = f"{platform.system()} {platform.machine()}"
    cpu, flags, memory = _read_cpu()
    cores = usable_cores()
    features = tuple(name for name in FEATURES if name in flags)
    gibibytes = round(memory / 2**30)  # a kernel update changes the exact figure by a few megabytes
    facts = repr((cpu, cores, gibibytes, system, features))
    fingerprint = hashlib.sha256(facts.encode()).hexdigest()[:12]
    return MachineInfo(cpu, cores, memory, system, features, fingerprint)


def usable_cores() -> int:
    """Return the number of cores this process may use: its CPU affinity, limited by a container's quota; at least 1.

    On Linux, `os.sched_getaffinity(0)` is the set of cores, and the file /sys/fs/cgroup/cpu.max, read by `_read`, has
    the quota: "150000 100000" allows 150,000 µs of computing in every 100,000 µs, which are 1.5 cores and count as 2.
    "max 100000", or a file that cannot be read (""), is no limit. On other systems, it is `os.cpu_count()`, which may
    be None.

    More threads than this only wait for each other.
    """
    if sys.platform != "linux":
        return os.cpu_count() or 1
    cores = len(os.sched_getaffinity(0))
    quota, _, period = _read("/sys/fs/cgroup/cpu.max").partition(" ")  # "200000 100000" is two cores
    if quota.isdigit():
        cores = min(cores, math.ceil(int(quota) / int(period)))
    return max(1, cores)


def _read_cpu() -> tuple[str, set[str], int]:
    """Return (model, feature names, bytes of memory), read in the way that each system provides."""
    if sys.platform == "linux":
        return _read_linux()
    if sys.platform == "darwin":
        return _read_macos()
    if sys.platform == "win32":
        return _read_windows()
    return platform.processor() or UNKNOWN, set(), 0


def _read_linux() -> tuple[str, set[str], int]:
    cpuinfo = _read("/proc/cpuinfo")
    model, flags = parse_cpuinfo(cpuinfo)
    found = re.search(r"^MemTotal:\s+(\d+) kB", _read("/proc/meminfo"), re.MULTILINE)
    memory = int(found.group(1)) * 1024 if found else 0
    limit = _read("/sys/fs/cgroup/memory.max").strip()  # "max", or a container's limit in bytes
    return model, flags, min(memory, int(limit)) if limit.isdigit() else memory


def parse_cpuinfo(text: str) -> tuple[str, set[str]]:
    """Return (model, feature names) from the text of /proc/cpuinfo, on x86 ("flags") or ARM ("Features").

    Each line is `key : value`, with tabs or spaces around the colon; a block of lines for each core. The first core's
    values count. The names are separated by spaces. The model is the value of "model name". ARM has none: there, it is
    "CPU implementer 0x41 CPU part 0xd40", with those of the two keys that exist. Without either of them, it is
    `platform.processor()`, or UNKNOWN if that is empty.
    """
    lines = re.findall(r"^([^:\n]+?)[ \t]*:[ \t]*(.*)$", text, re.MULTILINE)
    facts = dict(reversed(lines))  # the first core's values
    flags = set(f"{facts.get('flags', '')} {facts.get('Features', '')}".split())
    arm = " ".join(f"{key} {facts[key]}" for key in ("CPU implementer", "CPU part") if key in facts)
    return facts.get("model name") or arm or platform.processor() or UNKNOWN, flags


def _read_macos() -> tuple[str, set[str], int]:
    names = ("machdep.cpu.brand_string", "hw.memsize", "machdep.cpu.features", "machdep.cpu.leaf7_features")
    model, memory, *flags = (_sysctl(name) for name in names)
    found = set(" ".join(flags).lower().replace("avx1.0", "avx").replace("sse4.2", "sse4_2").split())
    if platform.machine() == "arm64":
        found |= {"neon", "asimd"}  # every Apple processor has them
        optional = {"asimddp": "FEAT_DotProd", "i8mm": "FEAT_I8MM", "bf16": "FEAT_BF16", "sme": "FEAT_SME"}
        found |= {name for name, key in optional.items() if _sysctl(f"hw.optional.arm.{key}") == "1"}
    return model or platform.processor() or UNKNOWN, found, int(memory) if memory.isdigit() else 0


def _sysctl(name: str) -> str:
    """Return one value of macOS's sysctl, or "" if it is not available."""
    try:
        done = subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of the Windows API."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        *((name, ctypes.c_uint64) for name in ("total", "free", "pages", "free_pages", "virtual")),
        *((name, ctypes.c_uint64) for name in ("free_virtual", "free_extended")),
    )


def _read_windows() -> tuple[str, set[str], int]:
    kernel32 = ctypes.CDLL("kernel32")
    # The numbers that IsProcessorFeaturePresent uses for these features.
    numbers = {"neon": 19, "sse4_2": 38, "avx": 39, "avx2": 40, "avx512f": 41, "asimddp": 43}
    flags = {name for name, number in numbers.items() if kernel32.IsProcessorFeaturePresent(number)}
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    memory = status.total if kernel32.GlobalMemoryStatusEx(ctypes.byref(status)) else 0
    return platform.processor() or UNKNOWN, flags, memory


def _read(path: str) -> str:
    """Return the text of a system file, or "" if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


# ---- BLAS


def blas() -> BlasInfo:
    """Return the BLAS behind `a @ b` and the kernel it uses on this CPU.

    NumPy's wheels include their own OpenBLAS, which is queried through ctypes. For any other library (Accelerate, MKL,
    or a system BLAS), only the name and version are reported: `kernel` is "unknown" and `threads` is None.
    """
    functions = openblas.functions("get_config", "get_corename", "get_num_threads")
    if functions:
        config, corename, threads = functions
        config.restype = corename.restype = ctypes.c_char_p  # type: ignore[attr-defined]
        words = config().decode().split()  # "OpenBLAS 0.3.31 USE64BITINT DYNAMIC_ARCH ..."
        return BlasInfo("OpenBLAS", words[1] if len(words) > 1 else UNKNOWN, corename().decode(), threads())
    build = np.show_config(mode="dicts")
    known = build.get("Build Dependencies", {}).get("blas", {}) if build else {}
    return BlasInfo(str(known.get("name", UNKNOWN)), str(known.get("version", UNKNOWN)), UNKNOWN, None)


# ---- Tuning


def tuned_environment(cores: int) -> dict[str, str]:
    """Return the variables to set before NumPy is imported, for a process that may use `cores` cores.

    - Thread count: one thread for each usable core, in every BLAS and OpenMP library: OPENBLAS_NUM_THREADS,
      OMP_NUM_THREADS, MKL_NUM_THREADS, NUMEXPR_NUM_THREADS, and VECLIB_MAXIMUM_THREADS (Apple's Accelerate).
    - OpenBLAS's spin time (OPENBLAS_THREAD_TIMEOUT, as an exponent of 2): an idle worker waits for the next product by
      spinning, for 2^26 cycles by default, and keeps other threads off its core. With 2^20 cycles, a training step of a
      convolutional network, whose copies run in separate threads, was 1.5 times as fast. The steps of an MLP and a GPT
      were as fast as before, and slower with fewer than 2^20 cycles.
    - OpenMP's spin time (GOMP_SPINCOUNT; GCC's runtime, which oneDNN uses): an idle worker spins for about 10 ms on a
      core that OpenBLAS needs next. For alternating float32 products by BLAS and int8 products by oneDNN (16 rows by
      512 x 784, two cores), a pair took 0.53 ms in the median and 2.2 to 3.4 ms in the mean. With a spin count of
      2,000, it took 0.14 to 0.24 ms in the median and 0.31 to 0.64 ms in the mean. oneDNN alone stayed at 17 µs;
      without any spinning, it took twice as long.
    - glibc's allocator (only on Linux; `_ALLOCATOR`): by default, a large array gets its own pages from the kernel,
      which are returned as soon as the array is freed. The first access to each page is a page fault, and a training
      step frees and allocates the same megabytes over and over: measured at 20% of a convolutional network's step. With
      higher thresholds (mallopt(3): M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD), the process keeps and reuses its
      pages. In return, its memory does not shrink. M_TRIM_THRESHOLD must exceed all that a step frees: with 1 GiB, a
      step of the CIFAR-10 record, which needs 3.3 GB, took 5.9 s instead of 5.0 s.

    All values are strings. Raises SettingError if `cores` is less than 1.

    >>> tuned_environment(2)["OPENBLAS_NUM_THREADS"]
    '2'
    """
    if cores < 1:
        raise SettingError(f"cores must be at least 1, not {cores}")
    libraries = ("OPENBLAS", "OMP", "MKL", "NUMEXPR")
    tuned = {f"{library}_NUM_THREADS": str(cores) for library in libraries}
    tuned["VECLIB_MAXIMUM_THREADS"] = str(cores)  # Apple's Accelerate
    tuned["OPENBLAS_THREAD_TIMEOUT"] = "20"  # 2^20 cycles
    tuned["GOMP_SPINCOUNT"] = "2000"
    if sys.platform == "linux":
        tuned |= _ALLOCATOR
    return tuned


_ALLOCATOR: Mapping[str, str] = {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),  # larger than any array in a training step
    "MALLOC_TRIM_THRESHOLD_": str(2**40),  # more than any step frees
    "MALLOC_TOP_PAD_": str(64 * 2**20),  # grow the heap by this much at once
}
