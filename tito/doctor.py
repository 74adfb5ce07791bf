"""`tito doctor`: whether this machine is ready and as fast as it can be, and if not, what to do.

Each finding is checked when the command runs; nothing is read from earlier runs.
"""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from tinytorch.base.errors import SettingError, how_to_install
from tinytorch.datasets.downloads import cache_folder
from tinytorch.environment import MachineInfo, blas, machine
from tinytorch.native import backend
from tinytorch.native.library import NOT_INSTALLED, WITHOUT
from tito.bench.probes import find_py_spy
from tito.data import list_data
from tito.errors import TitoError
from tito.process.backend import choose_backend
from tito.process.blas import choose_kernel
from tito.process.neighbors import Neighbors, look
from tito.report import units

State = Literal["ok", "note", "bad"]

OLDEST_PYTHON = (3, 11)
OLDEST_NUMPY = 2
LITTLE_MEMORY = 2 * 10**9  # the suites' limits are at most 4 GB; training MNIST takes less than 1
LITTLE_DISK = 10**9  # all data sets, with room to unpack them
WITHOUT_PTRACE = "suites still run; only the flame graph is left out"


@dataclass(frozen=True)
class Finding:
    """The result of one check: `bad` prevents suites from running, a `note` costs speed or a part of the report."""

    name: str
    state: State
    value: str
    advice: str = ""


def examine() -> Iterator[Finding]:
    """Yield each finding as it is made; the kernels and py-spy take a few seconds."""
    info = machine()
    yield python_finding(sys.version_info[:3])
    yield numpy_finding(np.__version__)
    features = ", ".join(info.features) or "no known SIMD features"
    yield Finding("machine", "ok", f"{info.cpu}, {info.system}; {features}")
    yield cores_finding(info, blas().threads)
    yield load_finding(look())
    yield memory_finding(info.memory_bytes)
    yield kernel_finding()
    yield backend_finding()
    yield stacks_finding()
    yield from data_findings()
    yield disk_finding(cache_folder())
    yield torch_finding()


def python_finding(version: tuple[int, ...]) -> Finding:
    """Check Python's version."""
    value = ".".join(map(str, version))
    if version < OLDEST_PYTHON:
        return Finding("Python", "bad", value, f"at least {'.'.join(map(str, OLDEST_PYTHON))} is required")
    return Finding("Python", "ok", f"{value} ({platform.python_implementation()})")


def numpy_finding(version: str) -> Finding:
    """Check NumPy's version and the BLAS that comes with it."""
    if int(version.split(".")[0]) < OLDEST_NUMPY:
        return Finding("NumPy", "bad", version, f"at least {OLDEST_NUMPY} is required: {how_to_install()}")
    library = blas()
    return Finding("NumPy", "ok", f"{version} with {library.library} {library.version}")


def cores_finding(info: MachineInfo, threads: int | None) -> Finding:
    """Check the number of cores, and whether NumPy's BLAS uses as many threads."""
    value = f"{info.cores} available"
    if threads is not None and threads != info.cores:
        advice = f"this process has {threads} BLAS threads; suites themselves set {info.cores}"
        return Finding("cores", "note", value, advice)
    return Finding("cores", "ok", value)


def load_finding(found: Neighbors) -> Finding:
    """Check whether something else uses the cores, so that figures measured now would be marked as noisy."""
    if not found.noise.noisy:
        return Finding("load", "ok", found.line)
    advice = "a record of a run that starts now is marked as noisy: end those processes, or wait for them"
    return Finding("load", "note", found.line, advice)


def memory_finding(count: int) -> Finding:
    """Check the memory that this process may use."""
    if count == 0:
        return Finding("memory", "note", "not reported by the system", "2 GB are enough for MNIST")
    if count < LITTLE_MEMORY:
        return Finding("memory", "note", units.size(count), "larger suites may run out of memory and be killed")
    return Finding("memory", "ok", units.size(count))


def kernel_finding() -> Finding:
    """Check the BLAS kernel, and measure whether another one is faster."""
    try:
        choice = choose_kernel().record
    except TitoError as error:
        return Finding("BLAS kernel", "bad", str(error), "try another build of NumPy")
    if choice.used == choice.default:
        return Finding("BLAS kernel", "ok", f"{choice.used}; {choice.why}")
    advice = f"suites use {choice.used} automatically; elsewhere set `OPENBLAS_CORETYPE={choice.used}`"
    return Finding(
        "BLAS kernel", "note", f"{choice.default}; {choice.why} (measured just now)", f"{advice} before Python starts"
    )


def backend_finding() -> Finding:
    """Check the kernel backend, and say how to get a faster one."""
    try:
        choice = choose_backend()
    except SettingError as error:
        return Finding("backend", "bad", str(error), f"unset the variable {backend.VARIABLE}")
    if choice.why == NOT_INSTALLED:
        advice = f"{WITHOUT}; to install it: {how_to_install('onednn')}"
        return Finding("backend", "note", "NumPy; oneDNN is not installed", advice)
    return Finding("backend", "ok", choice.line)


def stacks_finding() -> Finding:
    """Check whether py-spy can read a process, by trying it."""
    executable = find_py_spy()
    if executable is None:
        return Finding("stacks", "note", "py-spy is not installed", f"{how_to_install()}; {WITHOUT_PTRACE}")
    refusal = _try_py_spy(executable)
    if refusal is None:
        return Finding("stacks", "ok", "py-spy can read processes (tried just now)")
    return Finding("stacks", "note", f"py-spy cannot read processes: {refusal}", ptrace_advice())


def _try_py_spy(executable: str) -> str | None:
    """Return why py-spy could not dump the stacks of a child process, or None if it could."""
    code = "import sys; print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as target:
        try:
            assert target.stdout is not None
            target.stdout.readline()  # it is running
            dump = [executable, "dump", "--pid", str(target.pid)]
            done = subprocess.run(dump, capture_output=True, text=True, timeout=20, check=False)
        except subprocess.TimeoutExpired:
            return "no answer within 20 s"
        except OSError as error:
            return f"{executable} could not be started ({error.strerror})"
        finally:
            target.kill()
    if done.returncode == 0:
        return None
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return lines[0].removeprefix("Error: ") if lines else f"it exited with code {done.returncode}"


def ptrace_advice() -> str:
    """Return what allows py-spy to read processes on this system."""
    if sys.platform == "darwin":
        return f"macOS allows it only for root: `sudo tito suite run NAME`; {WITHOUT_PTRACE}"
    yama = Path("/proc/sys/kernel/yama/ptrace_scope")
    if yama.is_file() and yama.read_text().strip() in ("2", "3"):
        return f"{yama} forbids it; an administrator can write 1 to it; {WITHOUT_PTRACE}"
    return f"in a container, start the container with `--cap-add SYS_PTRACE`; {WITHOUT_PTRACE}"


def data_findings() -> Iterator[Finding]:
    """Check whether each data set is in the cache."""
    for state in list_data():
        name = f"data: {state.name}"
        if state.present:
            yield Finding(name, "ok", f"{units.size(state.bytes)} in {state.folder}")
        else:
            advice = f"a suite that needs it fetches it; to fetch it now: `tito data fetch {state.name}`"
            yield Finding(name, "note", "not in the cache yet", advice)


def disk_finding(folder: Path) -> Finding:
    """Check the free space for data sets."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not there.is_dir():
        return Finding("disk", "bad", f"{there}: not a folder", "set the variable TINYTORCH_DATA to a folder")
    free = shutil.disk_usage(there).free
    if free < LITTLE_DISK:
        advice = "free some space, or set the variable TINYTORCH_DATA to another folder"
        return Finding("disk", "note", f"{units.size(free)} free in {there}", advice)
    return Finding("disk", "ok", f"{units.size(free)} free for data in {folder}")


def torch_finding() -> Finding:
    """Check for PyTorch, which only the comparison with it needs."""
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return Finding("PyTorch", "ok", "not installed; only `nox -s versus` needs it, and installs it")
    return Finding("PyTorch", "ok", f"{version}, for `nox -s versus`")
