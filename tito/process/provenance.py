"""Where a record comes from: versions, commit, machine, and environment."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
from pydantic import Field

import tinytorch
from tinytorch.environment import machine
from tito.process.backend import BackendChoice
from tito.process.blas import BlasChoice
from tito.process.documents import Frozen
from tito.process.environment import inherited_names, recorded_environment
from tito.process.threads import ThreadChoice


class Machine(Frozen):
    fingerprint: str  # hash of the following fields; only records with the same one may be compared
    cpu: str
    cores: int
    memory_bytes: int
    system: str
    features: list[str]  # SIMD features that matter, e.g. avx512f


class Provenance(Frozen):
    tinytorch: str
    commit: str | None
    dirty: bool | None
    python: str
    numpy: str
    suite_sha256: str
    machine: Machine
    blas: BlasChoice
    backend: BackendChoice | None = None  # None in records older than this choice, which all used NumPy
    environment: dict[str, str]  # variables set in the children before NumPy was imported, and how they were scheduled
    inherited: list[str] = Field(default=[])  # names of further variables that the children got from the shell
    threads: ThreadChoice | None = None  # None if nothing was tried, because the machine was idle
    command: str  # the command that repeats the run


def provenance(
    *,
    suite_sha256: str,
    blas: BlasChoice,
    backend: BackendChoice,
    pinned: Mapping[str, str],
    command: str,
    threads: ThreadChoice | None = None,
) -> Provenance:
    """Return the provenance of the imported code and of children that had `pinned` set."""
    commit, dirty = git_state(Path(tinytorch.__file__).parent)
    return Provenance(
        tinytorch=_version(),
        commit=commit,
        dirty=dirty,
        python=platform.python_version(),
        numpy=np.__version__,
        suite_sha256=suite_sha256,
        machine=this_machine(),
        blas=blas,
        backend=backend,
        environment=dict(pinned) | recorded_environment() | scheduling(),
        inherited=inherited_names(),
        command=command,
        threads=threads,
    )


def this_machine() -> Machine:
    """Return the machine that this process runs on."""
    return Machine(**asdict(machine()) | {"features": list(machine().features)})


def this_host() -> str:
    """Return what tells this host from others of the same kind: 12 hexadecimal digits.

    The SHA-256 of its name and its machine-id (machine-id(5)), which itself must not be published.
    """
    try:
        identity = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        identity = ""  # not systemd; the name has to do
    return hashlib.sha256(f"tinytorch {platform.node()} {identity}".encode()).hexdigest()[:12]


def git_state(folder: Path) -> tuple[str | None, bool | None]:
    """Return the commit of a folder's checkout, and whether anything differs from it.

    (None, None) without git, and if the folder itself is not tracked: an installed package inside another repository
    has nothing to do with that repository's commit.
    """
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None, None
    commit, changes = _git(folder, "rev-parse", "HEAD"), _git(folder, "status", "--porcelain")
    return commit, None if changes is None else changes != ""


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None  # no git, no repository, or no answer
    return answer.stdout.strip()


def _version() -> str:
    try:
        return importlib.metadata.version("tinytorch-bench")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout without installation
        return tinytorch.__version__


def scheduling() -> dict[str, str]:
    """Return what the children inherit apart from variables, as far as the system reports it (Linux).

    The cores that they may use, a priority other than the default, and the system's settings of pages and clocks.
    """
    found = {"NICE": str(priority)} if (priority := os.getpriority(os.PRIO_PROCESS, 0)) else {}
    if sys.platform != "linux":
        return found
    found["CPU_AFFINITY"] = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        names = {os.SCHED_BATCH: "batch", os.SCHED_IDLE: "idle", os.SCHED_FIFO: "fifo", os.SCHED_RR: "rr"}
        found["SCHEDULER"] = names.get(os.sched_getscheduler(0), "another")
    if pages := re.search(r"\[(\w+)\]", _text("/sys/kernel/mm/transparent_hugepage/enabled")):
        found["HUGE_PAGES"] = pages[1]
    if governor := _text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip():
        found["CPU_GOVERNOR"] = governor
    return found


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
