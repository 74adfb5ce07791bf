"""The choice of OpenBLAS's kernel for the children: the faster one, if its products are correct.

OpenBLAS picks a kernel by the CPU's model. It falls back to an older kernel (Haswell) on an unknown CPU or if the
environment says so. On AVX-512 machines the SkylakeX kernel can then be twice as fast. It is chosen only if its
products agree with a float64 reference and it is at least 5% faster, measured in fresh processes before the run.

    TINYTORCH_BLAS_KERNEL=inherit    leave everything as it is, measure nothing
    TINYTORCH_BLAS_KERNEL=Haswell    use this kernel, if its products are correct
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tinytorch.environment import blas, machine, tuned_environment
from tito.errors import RunError
from tito.process.documents import Frozen
from tito.process.environment import signal_name

VARIABLE = "TINYTORCH_BLAS_KERNEL"
INHERIT = "inherit"
CANDIDATE = "SkylakeX"
# Kernels that already use AVX-512: the candidate gains nothing over them.
AVX512_KERNELS = ("SkylakeX", "Cooperlake", "Sapphirerapids", "Zen5")
ROUNDS = 3  # fresh processes that time each kernel, in alternating order
WORTHWHILE = 1.05
TOLERANCE = 1e-3  # of blas_probe's relative error: rounding causes 5e-5, a wrong entry about 1
SECONDS = 30.0  # a probe takes 0.3 to 0.6

# The variables that OpenBLAS's choice of a kernel and of its block sizes depends on, apart from the CPU.
KERNEL_VARIABLES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


class BlasChoice(Frozen):
    """The kernel that OpenBLAS used in the children, and its default."""

    used: str
    default: str
    speedup: float | None  # used / default, in GFLOP/s of one thread; None if the default is used
    why: str


@dataclass(frozen=True)
class KernelChoice:
    """The kernel for the children, and how to make them use it.

    `environment` holds all of a child's KERNEL_VARIABLES. Inherited ones that it lacks must be removed from the child's
    environment.
    """

    record: BlasChoice
    environment: dict[str, str]


Question = Literal["error", "gflops", "seconds"]


@dataclass(frozen=True)
class Probe:
    """The answer of one fresh process: its products' error, speed, or mean time; or why there is none."""

    kernel: str = "unknown"
    error: float = 0.0
    gflops: float = 0.0
    seconds: float = 0.0
    problem: str | None = None


def choose_kernel() -> KernelChoice:
    """Choose the kernel for the children of this run. Takes 2 to 3 s if there is a candidate to try.

    Raises:
        RunError: no kernel computes correct products, or TINYTORCH_BLAS_KERNEL names one that OpenBLAS lacks.
    """
    present = blas()
    wanted = os.environ.get(VARIABLE, "")
    if wanted == INHERIT:
        return _keep(present.kernel, f"{VARIABLE}={INHERIT}: nothing else was tried")
    if wanted:
        return _forced(wanted, present.kernel)
    if present.threads is None:
        return _keep(present.kernel, f"NumPy's BLAS here is {present.library}, which has no choice of kernels")
    if "avx512f" not in machine().features:
        return _keep(present.kernel, "OpenBLAS's default; the CPU has no AVX-512, so nothing else was tried")
    if present.kernel in AVX512_KERNELS:
        return _checked(present.kernel)
    return decide(*_compare(_inherited(), _variables(CANDIDATE)))


def decide(present: list[Probe], candidate: list[Probe]) -> KernelChoice:
    """Choose between the current kernel and the candidate, given their probes."""
    kernel, problem = present[0].kernel, _problem(present)
    refusal = _problem(candidate)
    if problem and refusal:
        raise RunError(f"no BLAS kernel can be used: the current one {problem}; {CANDIDATE} {refusal}")
    if refusal:
        return _keep(kernel, f"{CANDIDATE} was rejected: it {refusal}")
    if problem:
        record = BlasChoice(used=CANDIDATE, default=kernel, speedup=None, why=f"the current one {problem}")
        return KernelChoice(record, _variables(CANDIDATE))
    gain = _speed(candidate) / _speed(present)
    if gain < WORTHWHILE:
        why = f"{CANDIDATE} was tried: {gain:.2f} times as fast as {kernel} on one thread, too little to switch"
        return _keep(kernel, why)
    why = f"{CANDIDATE} is {gain:.1f} times as fast as {kernel} on one thread, and its products are correct"
    record = BlasChoice(used=CANDIDATE, default=kernel, speedup=gain, why=why)
    return KernelChoice(record, _variables(CANDIDATE))


def _keep(kernel: str, why: str) -> KernelChoice:
    return KernelChoice(BlasChoice(used=kernel, default=kernel, speedup=None, why=why), _inherited())


def _checked(kernel: str) -> KernelChoice:
    """Keep the current kernel, which has no faster candidate, after one process has checked its products."""
    problem = _problem([run_probe(_inherited(), "error")])
    if problem:
        raise RunError(f"the BLAS kernel {kernel} {problem}; {VARIABLE}=Haswell uses another")
    return _keep(kernel, "already in use; its products are correct, and no faster kernel is known")


def _forced(kernel: str, default: str) -> KernelChoice:
    """Use the named kernel, after one process has shown that OpenBLAS has it and that its products are correct."""
    told = run_probe(_variables(kernel), "error")
    if told.problem is None and told.kernel.lower() != kernel.lower():
        raise RunError(f"{VARIABLE}={kernel}: OpenBLAS used {told.kernel} instead; is the name correct?")
    problem = _problem([told])
    if problem:
        raise RunError(f"{VARIABLE}={kernel}: it {problem}")
    record = BlasChoice(used=told.kernel, default=default, speedup=None, why=f"{VARIABLE}={kernel}")
    return KernelChoice(record, _variables(kernel))


def _inherited() -> dict[str, str]:
    """Return the variables that this process's own kernel was chosen by."""
    return {name: os.environ[name] for name in KERNEL_VARIABLES if name in os.environ}


def _variables(kernel: str) -> dict[str, str]:
    """Return the variables that make OpenBLAS use a kernel; an inherited L2 size is dropped."""
    return {"OPENBLAS_CORETYPE": kernel}  # no L2 size: an inherited one was meant for another kernel's blocks


def _compare(first: dict[str, str], second: dict[str, str]) -> tuple[list[Probe], list[Probe]]:
    """Probe both kernels: first whether their products are correct, and only then their speed.

    The timed probes are interleaved in alternating order, so that a busy moment affects both alike.
    """
    sides = (first, second)
    told = tuple([run_probe(side, "error")] for side in sides)
    if not any(_problem(probes) for probes in told):
        for round in range(ROUNDS):
            for side in (0, 1) if round % 2 == 0 else (1, 0):
                told[side].append(run_probe(sides[side], "gflops"))
    return told[0], told[1]


def run_probe(kernel_variables: dict[str, str], question: Question) -> Probe:
    """Run one probe in a fresh process with exactly these of KERNEL_VARIABLES, and any others that are given.

    Products are checked with all threads, as suites use them, and timed with one. On a busy machine two threads wait
    for each other, and the ratio of two kernels then depends more on the load than on the kernels (measured 0.7 to 2.0
    with two threads, 1.8 to 2.0 with one).
    """
    root = str(Path(__file__).parents[2])  # the folder of this tinytorch, so that the process finds it too
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    inherited = {name: value for name, value in os.environ.items() if name not in KERNEL_VARIABLES}
    tuned = tuned_environment(machine().cores if question == "error" else 1)
    command = [sys.executable, "-P", str(Path(__file__).with_name("blas_probe.py")), question]
    try:
        done = subprocess.run(
            command,
            env=inherited | tuned | kernel_variables | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Probe(problem=f"did not answer within {SECONDS:.0f} s")
    except OSError as error:
        return Probe(problem=f"could not be started ({error})")
    if done.returncode:
        return Probe(problem=_death(done.returncode, done.stderr))
    try:
        return Probe(**json.loads(done.stdout))
    except (ValueError, TypeError):
        return Probe(problem=f"printed no readable answer ({done.stdout[:60]!r})")


def _death(code: int, stderr: str) -> str:
    """Return how a process failed."""
    if code < 0:
        return f"crashed ({signal_name(-code)})"
    last = stderr.strip().splitlines()[-1:] or ["no message"]
    return f"exited with code {code} ({last[0]})"


def _problem(probes: list[Probe]) -> str | None:
    """Return why a kernel cannot be used, or None."""
    for probe in probes:
        if probe.problem:
            return probe.problem
        if not probe.error <= TOLERANCE:  # NaN is wrong, too
            return f"computes wrong products (relative error {probe.error:.2g}, expected at most {TOLERANCE:.0e})"
    return None


def _speed(probes: list[Probe]) -> float:
    """Return the median speed over the timed processes."""
    return statistics.median(probe.gflops for probe in probes if probe.gflops)
