"""One matrix product, computed by one rung of module 16's ladder, compared with three loops in Python."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch import acceleration
from tinytorch.benchmarking import measure

from .tasks import Parameters, Product
from .variant import Variant

LOOPED = 3  # samples of the Python loops: one sample takes a third of a second
SAMPLES = 300


def judge(model: Variant, data: Product, parameters: Parameters) -> dict[str, Any]:
    """Measure the speedup over the loops and the share of exact results."""
    loops, rung = (
        next(r for r in acceleration.RUNGS if r.name == name) for name in ("Python loops", parameters["rung"])
    )
    x, y = rung.prepare(data.a, data.b)
    exact = data.a.astype(np.float64) @ data.b.astype(np.float64)
    own = measure(lambda: rung.multiply(x, y), samples=LOOPED if rung is loops else SAMPLES, warmup=1)
    looped = measure(lambda: loops.multiply(data.a, data.b), samples=LOOPED, warmup=1)
    metrics = {
        "exact": float((rung.multiply(x, y) == exact).mean()),
        "gflops": acceleration.operations(len(exact)) / own.median / 1e9,
        "loops_speedup": looped.median / own.median,
    }
    return {"metrics": metrics, "exhibits": []}
