"""Module 01, written as a learner would: the course's proof tests that these answers pass, too."""

from __future__ import annotations

import hashlib
import math
import os
import platform
import sys

from tinytorch.environment import _ALLOCATOR, FEATURES, UNKNOWN, MachineInfo, _read, _read_cpu


def usable_cores() -> int:
    if sys.platform != "linux":
        return os.cpu_count() or 1
    cores = len(os.sched_getaffinity(0))
    words = _read("/sys/fs/cgroup/cpu.max").split()
    if len(words) == 2 and words[0] != "max":
        allowed = math.ceil(int(words[0]) / int(words[1]))
        cores = min(cores, allowed)
    return max(cores, 1)


def parse_cpuinfo(text: str) -> tuple[str, set[str]]:
    facts: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            facts.setdefault(key.strip(), value.strip())
    names = set(facts.get("flags", "").split()) | set(facts.get("Features", "").split())
    model = facts.get("model name", "")
    if not model:
        model = " ".join(f"{key} {facts[key]}" for key in ("CPU implementer", "CPU part") if key in facts)
    if not model:
        model = platform.processor()
    return model or UNKNOWN, names


def machine() -> MachineInfo:
    cpu, flags, memory = _read_cpu()
    cores = usable_cores()
    system = platform.system() + " " + platform.machine()
    features = tuple(name for name in FEATURES if name in flags)
    facts = [cpu, str(cores), str(round(memory / 2**30)), system, *features]
    fingerprint = hashlib.sha256("\n".join(facts).encode()).hexdigest()
    return MachineInfo(
        cpu=cpu,
        cores=cores,
        memory_bytes=memory,
        system=system,
        features=features,
        fingerprint=fingerprint[:12],
    )


def tuned_environment(cores: int) -> dict[str, str]:
    tuned = {
        "OPENBLAS_NUM_THREADS": str(cores),
        "OMP_NUM_THREADS": str(cores),
        "MKL_NUM_THREADS": str(cores),
        "NUMEXPR_NUM_THREADS": str(cores),
        "VECLIB_MAXIMUM_THREADS": str(cores),
        "OPENBLAS_THREAD_TIMEOUT": "20",
        "GOMP_SPINCOUNT": "2000",
    }
    if sys.platform == "linux":
        tuned.update(_ALLOCATOR)
    return tuned
