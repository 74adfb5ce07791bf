"""One matrix product in eight ways, each timed at the sizes that suit it.

There is nothing to learn: "training" measures the rungs of the ladder. The model is one factor of the product.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import tinytorch as tt
from tinytorch import acceleration
from tinytorch.benchmarking import measure
from tinytorch.native import backend, products

FEWEST, MOST = 3, 200  # samples


class Reading(NamedTuple):
    rung: acceleration.Rung
    size: int
    gflops: float  # 1e9 operations per second in the best sample, which other programs disturb least
    right: bool  # equal to the float64 product


class Product(tt.Module):
    """The product x W, and its measurements."""

    def __init__(self, weight: np.ndarray) -> None:
        self.weight = tt.Parameter(weight)
        self.readings: list[Reading] = []


def load(parameters: dict[str, Any]) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Return two square matrices of each size."""
    return {size: acceleration.matrices(size) for size in parameters["sizes"]}


def build(parameters: dict[str, Any], seed: int) -> Product:
    """Build a weight of the size that all rungs share."""
    return Product(acceleration.matrices(parameters["common"], seed)[1])


def train(
    model: Product,
    data: dict[int, tuple[np.ndarray, np.ndarray]],
    parameters: dict[str, Any],
    seed: int,
    report: tt.training.Report,
) -> list[dict[str, float]]:
    """Time every rung of this machine at every size up to its largest."""
    todo = [(rung, size) for rung in acceleration.rungs() for size in data if size <= rung.largest]
    for done, (rung, size) in enumerate(todo, start=1):
        model.readings.append(read(rung, *data[size], parameters["seconds"]))
        report(done, len(todo), gflops=model.readings[-1].gflops)
    return []


def read(rung: acceleration.Rung, a: np.ndarray, b: np.ndarray, seconds: float) -> Reading:
    """Check one product, then time it for about `seconds`."""
    x, y = rung.prepare(a, b)
    right = np.array_equal(rung.multiply(x, y), a.astype(np.float64) @ b.astype(np.float64))
    pilot = float(measure(lambda: rung.multiply(x, y), samples=2, warmup=1).seconds.min())
    samples = int(min(max(seconds / pilot, FEWEST), MOST))
    best = float(measure(lambda: rung.multiply(x, y), samples=samples, warmup=0).seconds.min())
    return Reading(rung, len(a), acceleration.operations(len(a)) / best / 1e9, bool(right))


def evaluate(model: Product, data: dict[int, Any], parameters: dict[str, Any]) -> dict[str, Any]:
    """Compare each rung with the loops and with the peak."""
    common = {r.rung.name: r.gflops for r in model.readings if r.size == parameters["common"]}
    best = {r.rung.name: r for r in sorted(model.readings, key=lambda r: r.gflops)}  # keeps the fastest of each
    peak = max((r for r in best.values() if r.rung.dtype == "float32"), key=lambda r: r.gflops)
    loops = common["Python loops"]
    return {
        "metrics": {
            "blas": common["BLAS"] / loops,
            "vectorised": max(common["broadcast"], common["blocked"]) / loops,
            "right": sum(r.right for r in model.readings) / len(model.readings),
            "peak": peak.gflops,
            "fastest": max(r.gflops for r in model.readings),
        },
        "exhibits": [
            bars(common, best, parameters["common"]),
            curves(model.readings),
            table(common, best, peak, parameters["common"]),
            reasons(list(common)),
        ],
    }


def bars(common: dict[str, float], best: dict[str, Reading], size: int) -> dict[str, Any]:
    """Show all rungs at one size, and each rung at its best size."""
    groups = {f"{size} x {size}": list(common.values()), "at its best size": [best[name].gflops for name in common]}
    return {
        "kind": "bars",
        "title": "The ladder (best samples)",
        "y_title": "GFLOP/s (int8: GOP/s)",
        "names": list(common),
        "groups": groups,
        "logarithmic": True,
    }


def curves(readings: list[Reading]) -> dict[str, Any]:
    """Show the speed of each rung by size."""
    series = []
    for name in dict.fromkeys(reading.rung.name for reading in readings):
        own = [reading for reading in readings if reading.rung.name == name]
        series.append({"name": name, "x": [float(r.size) for r in own], "y": [r.gflops for r in own]})
    return {
        "kind": "lines",
        "title": "Speed by matrix size (best samples)",
        "x_title": "rows and columns of each matrix",
        "y_title": "GFLOP/s (int8: GOP/s)",
        "series": series,
        "logarithmic": True,
    }


def table(common: dict[str, float], best: dict[str, Reading], peak: Reading, size: int) -> dict[str, Any]:
    """Tabulate the same figures, relative to the loops and to the peak."""
    rows: list[list[Any]] = [
        [
            name,
            gflops,
            gflops / common["Python loops"],
            best[name].gflops,
            best[name].size,
            100 * best[name].gflops / peak.gflops,
        ]
        for name, gflops in common.items()
    ]
    return {
        "kind": "table",
        "title": f"Peak: the fastest float32 product of this run, {peak.gflops:.0f} GFLOP/s with {peak.rung.name}",
        "columns": ["rung", f"GFLOP/s at {size}", "speedup over loops", "best GFLOP/s", "at size", "% of peak"],
        "rows": rows,
    }


def reasons(names: list[str]) -> dict[str, Any]:
    """Explain what makes each rung faster than the one before, and why rungs are left out on this machine."""
    rows = [[rung.name, rung.why] for rung in acceleration.RUNGS if rung.name in names]
    if acceleration.left_out():
        rows.append(["left out", acceleration.left_out()])
    return {"kind": "table", "title": "What makes a rung faster", "columns": ["rung", "reason"], "rows": rows}


def predictor(model: Product) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from int8 rows (N, K) to their products with the weight (N, N).

    It uses native int8 kernels if they are available, otherwise BLAS.
    """
    weight = model.weight.data
    if backend.native(np.int8):
        return products.pack(weight.T.astype(np.int8)).product
    return lambda x: x.astype(np.float32) @ weight


def queries(data: dict[int, Any], parameters: dict[str, Any]) -> np.ndarray:
    """Return the rows of the other factor, of the shared size."""
    return data[parameters["common"]][0].astype(np.int8)
