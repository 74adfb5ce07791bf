"""Module 01, Setup: what machine this is, which BLAS multiplies its matrices, and what to tune.

    machine()                 cores, CPU features and memory, with a fingerprint: compare timings within one
    blas()                    the library behind `a @ b`, and the kernel that it picked for this CPU
    tuned_environment(cores)  what to set before NumPy is imported; afterwards it is too late

Nearly all of a network's time goes into matrix products, and NumPy hands those to a BLAS (Basic Linear
Algebra Subprograms), most often OpenBLAS. OpenBLAS carries one hand-written kernel for each family of CPUs
and chooses when it is loaded. The wrong choice can cost half the speed, and nothing warns of it.

Imports NumPy and the standard library only, and starts no process when it is imported.
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

# The instructions that decide how fast a small network runs, narrow to wide, under Linux's names for them.
FEATURES = (
    *("sse4_2", "avx", "fma", "avx2", "f16c", "avx_vnni"),
    *("avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_int8", "amx_bf16"),
    *("neon", "asimd", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme"),
)

UNKNOWN = "unknown"


@dataclass(frozen=True)
class MachineInfo:
    """What timings depend on, apart from the program."""

    cpu: str
    cores: int  # that this process may use, which can be fewer than the machine has
    memory_bytes: int  # that this process may use; 0 where the system does not tell
    system: str  # e.g. "Linux x86_64"
    features: tuple[str, ...]  # those of FEATURES that the CPU has
    fingerprint: str  # 12 hex digits of the SHA-256 of all of the above


@dataclass(frozen=True)
class BlasInfo:
    """The library behind NumPy's matrix products. What it does not tell is "unknown"."""

    library: str  # e.g. "OpenBLAS"
    version: str
    kernel: str  # e.g. "Haswell": the CPU family whose hand-written code is in use
    threads: int | None  # None where the library does not tell


def machine() -> MachineInfo:
    """This machine, as far as timings depend on it.

    Raises nothing: what a system does not tell is "unknown", 0 or ().

    >>> machine().cores >= 1
    True
    """
    system = f"{platform.system()} {platform.machine()}"
    cpu, flags, memory = _read_cpu()
    cores = usable_cores()
    features = tuple(name for name in FEATURES if name in flags)
    gibibytes = round(memory / 2**30)  # a kernel update moves the exact figure by a few megabytes
    facts = repr((cpu, cores, gibibytes, system, features))
    fingerprint = hashlib.sha256(facts.encode()).hexdigest()[:12]
    return MachineInfo(cpu, cores, memory, system, features, fingerprint)


def usable_cores() -> int:
    """Cores that this process may use: its CPU affinity and, in a container, its quota.

    More threads than this only wait for one another.
    """
    if sys.platform != "linux":
        return os.cpu_count() or 1
    cores = len(os.sched_getaffinity(0))
    quota, _, period = _read("/sys/fs/cgroup/cpu.max").partition(" ")  # "200000 100000" is two cores
    if quota.isdigit():
        cores = min(cores, math.ceil(int(quota) / int(period)))
    return max(1, cores)


def _read_cpu() -> tuple[str, set[str], int]:
    """(model, feature names, bytes of memory), asked of each system in its own way."""
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
    """(model, feature names) from the text of /proc/cpuinfo, of x86 ("flags") or of ARM ("Features")."""
    lines = re.findall(r"^([^:\n]+?)[ \t]*:[ \t]*(.*)$", text, re.MULTILINE)
    facts = dict(reversed(lines))  # of many cores, the first
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
    """One value of macOS's sysctl, or "" where it is not known."""
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
    # The numbers that IsProcessorFeaturePresent knows these features by.
    numbers = {"neon": 19, "sse4_2": 38, "avx": 39, "avx2": 40, "avx512f": 41, "asimddp": 43}
    flags = {name for name, number in numbers.items() if kernel32.IsProcessorFeaturePresent(number)}
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    memory = status.total if kernel32.GlobalMemoryStatusEx(ctypes.byref(status)) else 0
    return platform.processor() or UNKNOWN, flags, memory


def _read(path: str) -> str:
    """The text of one of the system's files, or "" where there is none."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


# ---- BLAS


def blas() -> BlasInfo:
    """The BLAS behind `a @ b`, and the kernel that it uses on this CPU.

    NumPy's wheels bring their own OpenBLAS, which answers when asked through ctypes. Of another library
    (Accelerate, MKL, a system's own) this tells name and version, and "unknown" for the rest.
    """
    asked = openblas.functions("get_config", "get_corename", "get_num_threads")
    if asked:
        config, corename, threads = asked
        config.restype = corename.restype = ctypes.c_char_p  # type: ignore[attr-defined]
        words = config().decode().split()  # "OpenBLAS 0.3.31 USE64BITINT DYNAMIC_ARCH ..."
        return BlasInfo("OpenBLAS", words[1] if len(words) > 1 else UNKNOWN, corename().decode(), threads())
    build = np.show_config(mode="dicts")
    known = build.get("Build Dependencies", {}).get("blas", {}) if build else {}
    return BlasInfo(str(known.get("name", UNKNOWN)), str(known.get("version", UNKNOWN)), UNKNOWN, None)


# ---- what to tune


def tuned_environment(cores: int) -> dict[str, str]:
    """The variables to set before NumPy is imported, for a process that may use `cores` cores.

    - Threads: one for each usable core, in every BLAS and OpenMP library alike.
    - OpenBLAS's patience: an idle worker waits for the next product by spinning, 2^26 cycles long unless told
      otherwise, and takes the core from whatever else would run on it. With 2^20 cycles a convolutional network's
      step, whose copies run in threads of their own, measured 1.5 times as fast; an MLP's and a GPT's step were
      as fast as before (and slower with less than 2^20).
    - OpenMP's patience (GCC's, which oneDNN uses): its idle worker spins some 10 ms, on a core that OpenBLAS wants
      next. Where a float32 product by BLAS and an int8 one by oneDNN took turns (16 rows by 512 x 784, two cores), a
      pair took 0.53 ms in the median and 2.2 to 3.4 ms in the mean; with 2,000 turns of spinning 0.14 to 0.24 ms, and
      0.31 to 0.64. oneDNN by itself stayed at 17 us; with no spinning at all it took twice as long.
    - glibc's allocator (Linux): a large array normally gets pages of its own from the kernel, given back as
      soon as it is freed. Each first use of a page is a page fault, and a training step frees and allocates
      the same megabytes over and over: measured at 20% of a convolutional network's step. With the thresholds
      raised (mallopt(3): M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD) the process keeps its pages and uses
      them again, and in return its memory does not shrink.

    Raises SettingError if there is no core to use.

    >>> tuned_environment(2)["OPENBLAS_NUM_THREADS"]
    '2'
    """
    if cores < 1:
        raise SettingError(f"cores must be at least 1, not {cores}")
    libraries = ("OPENBLAS", "OMP", "MKL", "NUMEXPR")
    tuned = {f"{library}_NUM_THREADS": str(cores) for library in libraries}
    tuned["VECLIB_MAXIMUM_THREADS"] = str(cores)  # Apple's Accelerate
    tuned["OPENBLAS_THREAD_TIMEOUT"] = "20"  # the power of two
    tuned["GOMP_SPINCOUNT"] = "2000"
    if sys.platform == "linux":
        tuned |= _ALLOCATOR
    return tuned


_ALLOCATOR: Mapping[str, str] = {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),  # larger than any array of a step
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_TOP_PAD_": str(64 * 2**20),  # grow the heap by this much at once
}
