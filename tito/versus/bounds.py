"""What bounds a work on this machine: its arithmetic at the measured peak, and its weights on their way from the cache.

A work may have COSTS, measurement -> Cost. The peaks are measured in a fresh process, each as its fastest sample: what
the machine can do without the influence of other programs. What a measurement takes beyond both is spent on calls,
activations, and threads that wait for each other.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from tito.errors import RunError
from tito.process.environment import child_environment

SIZE = 1024  # of the square matrices whose product is timed
PRODUCTS, READS, WARMUP = 60, 300, 20
RUNGS = {"float32": ("BLAS", "oneDNN float32"), "bfloat16": ("oneDNN bfloat16",), "int8": ("oneDNN int8",)}
TIMEOUT = 120.0  # seconds


@dataclass(frozen=True)
class Cost:
    """One unit of a work: multiplications and additions in a dtype, and the bytes of the weights that it reads.

    `reads` says how often it reads all weights, e.g. once for each token.
    """

    operations: float
    bytes: float
    dtype: str = "float32"
    reads: int = 1


@dataclass(frozen=True)
class Peaks:
    """The machine's peaks: operations a second by dtype, and bytes a second by the size of the array that is read."""

    operations: Mapping[str, float]
    reads: Mapping[int, float]

    def bound(self, cost: Cost) -> str:
        """Return one line, e.g. arithmetic 2.5 µs (1.07 million operations at 425 GFLOP/s), cache 31 µs (...)."""
        speed, size = self.operations.get(cost.dtype), int(cost.bytes)
        unit = "GOP/s" if cost.dtype == "int8" else "GFLOP/s"
        arithmetic = f"no native {cost.dtype} here" if speed is None else (
            f"arithmetic {micro(cost.operations / speed)} ({counted(cost.operations)} operations at "
            f"{speed / 1e9:.0f} {unit})"
        )  # fmt: skip
        read = self.reads[size]
        seconds, often = cost.reads * size / read, f"{cost.reads} times " * (cost.reads > 1)
        return f"{arithmetic}, weights {micro(seconds)} ({often}{size / 1e6:.2g} MB at {read / 1e9:.0f} GB/s)"


def counted(number: float) -> str:
    """Return a count in words, e.g. 1.07 million."""
    size, name = (1e9, "billion") if number >= 1e9 else (1e6, "million")
    return f"{number / size:.3g} {name}"


def micro(seconds: float) -> str:
    return f"{seconds * 1e6:,.3g} µs" if seconds < 1e-3 else f"{seconds * 1e3:,.3g} ms"


def dense(sizes: Iterable[tuple[int, int]], rows: int, item: int = 4, passes: int = 1) -> Cost:
    """Return the cost of products with weights of these sizes, for some rows; a training step has three passes."""
    numbers = sum(into * out for into, out in sizes)
    dtype = {4: "float32", 2: "bfloat16", 1: "int8"}[item]
    return Cost(2.0 * numbers * rows * passes, numbers * item, dtype)


def peaks(costs: Iterable[Cost], pinned: Mapping[str, str]) -> Peaks:
    """Measure the peaks in a fresh process.

    Raises:
        RunError: the process failed, or took too long.
    """
    sizes = sorted({int(cost.bytes) for cost in costs})
    command = [sys.executable, "-P", "-m", "tito.versus.bounds", *map(str, sizes)]
    environment = child_environment(pinned)
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise RunError(f"the machine's peaks took longer than {TIMEOUT:g} s to measure") from None
    if done.returncode:
        raise RunError(f"the machine's peaks could not be measured: {(done.stderr.strip() or 'no message')[-200:]}")
    found = json.loads(done.stdout)
    return Peaks(found["operations"], {int(size): speed for size, speed in found["reads"].items()})


def main(sizes: list[int]) -> None:
    """Measure in this process, and print one line of JSON."""
    from tinytorch import acceleration
    from tinytorch.benchmarking import measure

    a, b = acceleration.matrices(SIZE)
    fastest: dict[str, float] = {}
    for rung in acceleration.rungs():
        if rung.name in RUNGS[rung.dtype]:
            x, y = rung.prepare(a, b)
            times = measure(lambda r=rung, x=x, y=y: r.multiply(x, y), samples=PRODUCTS, warmup=WARMUP)  # type: ignore[misc]
            speed = acceleration.operations(SIZE) / float(times.seconds.min())
            fastest[rung.dtype] = max(speed, fastest.get(rung.dtype, 0.0))
    reads = {}
    for size in sizes:
        matrix = np.ones((max(1, size // 4 // SIZE), SIZE), np.float32)
        vector, out = np.ones(SIZE, np.float32), np.empty(len(matrix), np.float32)
        times = measure(lambda m=matrix, v=vector, o=out: np.dot(m, v, o), samples=READS, warmup=WARMUP)  # type: ignore[misc]
        reads[size] = matrix.nbytes / float(times.seconds.min())
    sys.stdout.write(json.dumps({"operations": fastest, "reads": reads}) + "\n")


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]])
