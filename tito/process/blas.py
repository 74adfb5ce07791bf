"""Which of OpenBLAS's kernels the children shall use: the faster one, if its products are right.

OpenBLAS picks a kernel by the CPU's model, and falls back to an older one (Haswell) on a CPU that it does
not know or where the environment says so. On AVX-512 machines the SkylakeX kernel can then be twice as fast.
It is chosen only if, measured here and now in fresh processes, its products agree with a float64 reference
and it is at least 5% faster.

    TINYTORCH_BLAS_KERNEL=inherit    leave everything as it is, measure nothing
    TINYTORCH_BLAS_KERNEL=Haswell    that one, if its products are right
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
# Kernels that use AVX-512 already: nothing is gained over them.
AVX512_KERNELS = ("SkylakeX", "Cooperlake", "Sapphirerapids", "Zen5")
ROUNDS = 3  # fresh processes that time each kernel, in alternating order
WORTHWHILE = 1.05
TOLERANCE = 1e-3  # of blas_probe's relative error: rounding gives 5e-5, a wrong entry about 1
SECONDS = 30.0  # a probe takes 0.3 to 0.6

# What OpenBLAS's choice of a kernel and of its block sizes depends on, apart from the CPU.
KERNEL_VARIABLES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


class BlasChoice(Frozen):
    """Which kernels OpenBLAS used in the children, and what it would have used unasked."""

    used: str
    default: str
    speedup: float | None  # used / default, GFLOP/s of one thread; none where the default is used
    why: str


@dataclass(frozen=True)
class KernelChoice:
    """The kernel for the children, and how to make them use it.

    `environment` is all of a child's KERNEL_VARIABLES: those of them that this process has inherited and that
    are not in it must be taken out of the child's environment.
    """

    record: BlasChoice
    environment: dict[str, str]


Question = Literal["error", "gflops"]


@dataclass(frozen=True)
class Probe:
    """What one fresh process told: the error of its products or their speed; or why it told nothing."""

    kernel: str = "unknown"
    error: float = 0.0
    gflops: float = 0.0
    problem: str | None = None


def choose_kernel() -> KernelChoice:
    """The kernel for the children of this run. Takes 2 to 3 s where there is something to try.

    Raises RunError if no kernel gives right products, or if TINYTORCH_BLAS_KERNEL names one that OpenBLAS
    does not have.
    """
    present = blas()
    wanted = os.environ.get(VARIABLE, "")
    if wanted == INHERIT:
        return _keep(present.kernel, f"{VARIABLE}={INHERIT}: nothing else was tried")
    if wanted:
        return _forced(wanted, present.kernel)
    if present.threads is None:
        return _keep(present.kernel, f"NumPy's BLAS here is {present.library}, whose kernel cannot be chosen")
    if "avx512f" not in machine().features:
        return _keep(present.kernel, "OpenBLAS's own choice; the CPU has no AVX-512, nothing else was tried")
    if present.kernel in AVX512_KERNELS:
        return _checked(present.kernel)
    return decide(*_compare(_inherited(), _variables(CANDIDATE)))


def decide(present: list[Probe], candidate: list[Probe]) -> KernelChoice:
    """The choice between the present kernel and the candidate, given what their probes told."""
    kernel, problem = present[0].kernel, _problem(present)
    refusal = _problem(candidate)
    if problem and refusal:
        raise RunError(f"no BLAS kernel can be used: the present one {problem}; {CANDIDATE} {refusal}")
    if refusal:
        return _keep(kernel, f"{CANDIDATE} was refused: it {refusal}")
    if problem:
        record = BlasChoice(used=CANDIDATE, default=kernel, speedup=None, why=f"the present one {problem}")
        return KernelChoice(record, _variables(CANDIDATE))
    gain = _speed(candidate) / _speed(present)
    if gain < WORTHWHILE:
        why = f"{CANDIDATE} was tried: {gain:.2f} times as fast as {kernel} on one thread, too little to change"
        return _keep(kernel, why)
    why = f"{CANDIDATE} is {gain:.1f} times as fast as {kernel} on one thread, and its products are right"
    record = BlasChoice(used=CANDIDATE, default=kernel, speedup=gain, why=why)
    return KernelChoice(record, _variables(CANDIDATE))


def _keep(kernel: str, why: str) -> KernelChoice:
    return KernelChoice(BlasChoice(used=kernel, default=kernel, speedup=None, why=why), _inherited())


def _checked(kernel: str) -> KernelChoice:
    """The present kernel, in which there is nothing to gain, after one process has checked its products."""
    problem = _problem([run_probe(_inherited(), "error")])
    if problem:
        raise RunError(f"the BLAS kernel {kernel} {problem}; {VARIABLE}=Haswell uses another")
    return _keep(kernel, "in use already, its products are right, and no faster one is known")


def _forced(kernel: str, default: str) -> KernelChoice:
    """That kernel, after one process has shown that OpenBLAS has it and that its products are right."""
    told = run_probe(_variables(kernel), "error")
    if told.problem is None and told.kernel.lower() != kernel.lower():
        raise RunError(f"{VARIABLE}={kernel}: OpenBLAS used {told.kernel} instead; is the name right?")
    problem = _problem([told])
    if problem:
        raise RunError(f"{VARIABLE}={kernel}: it {problem}")
    record = BlasChoice(used=told.kernel, default=default, speedup=None, why=f"{VARIABLE}={kernel}")
    return KernelChoice(record, _variables(kernel))


def _inherited() -> dict[str, str]:
    """What this process's own kernel was chosen by."""
    return {name: os.environ[name] for name in KERNEL_VARIABLES if name in os.environ}


def _variables(kernel: str) -> dict[str, str]:
    """What makes OpenBLAS use a kernel. No L2 size: a pinned one was meant for another kernel's blocks."""
    return {"OPENBLAS_CORETYPE": kernel}


def _compare(first: dict[str, str], second: dict[str, str]) -> tuple[list[Probe], list[Probe]]:
    """Probes of both: first whether their products are right, and only then how fast they are.

    The timed ones are interleaved and in alternating order, so that a busy moment meets both alike.
    """
    sides = (first, second)
    told = tuple([run_probe(side, "error")] for side in sides)
    if not any(_problem(probes) for probes in told):
        for round in range(ROUNDS):
            for side in (0, 1) if round % 2 == 0 else (1, 0):
                told[side].append(run_probe(sides[side], "gflops"))
    return told[0], told[1]


def run_probe(kernel_variables: dict[str, str], question: Question) -> Probe:
    """One probe in a fresh process with exactly these of KERNEL_VARIABLES.

    Products are checked with all threads, as suites use them, and timed with one: on a busy machine two threads
    wait for each other, and the ratio of two kernels then says more about the moment than about them (measured
    0.7 to 2.0 with two threads, 1.8 to 2.0 with one).
    """
    root = str(Path(__file__).parents[2])  # where this tinytorch lies, so that the process finds it too
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
        return Probe(problem=f"gave no answer in {SECONDS:.0f} s")
    except OSError as error:
        return Probe(problem=f"could not be started ({error})")
    if done.returncode:
        return Probe(problem=_death(done.returncode, done.stderr))
    try:
        return Probe(**json.loads(done.stdout))
    except (ValueError, TypeError):
        return Probe(problem=f"gave no readable answer ({done.stdout[:60]!r})")


def _death(code: int, stderr: str) -> str:
    """How a process ended, in words."""
    if code < 0:
        return f"crashed ({signal_name(-code)})"
    last = stderr.strip().splitlines()[-1:] or ["no message"]
    return f"ended with code {code} ({last[0]})"


def _problem(probes: list[Probe]) -> str | None:
    """Why a kernel may not be used, or None."""
    for probe in probes:
        if probe.problem:
            return probe.problem
        if not probe.error <= TOLERANCE:  # NaN is wrong too
            return f"gives wrong products (relative error {probe.error:.2g}, at most {TOLERANCE:.0e} is right)"
    return None


def _speed(probes: list[Probe]) -> float:
    """The median over the processes that were timed."""
    return statistics.median(probe.gflops for probe in probes if probe.gflops)
