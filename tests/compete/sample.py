"""Receipts for tests: test material drawn from a random generator, never a measurement."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np

from tito.compete.receipt import (
    LEVELS,
    Child,
    Ground,
    Layer,
    Quality,
    Ratio,
    Receipt,
    SelfTest,
    Times,
    pack_items,
)
from tito.process.provenance import Machine

START = datetime(2031, 1, 1, 12, tzinfo=UTC)
REFERENCE_US = 32.0
ITEMS = 10_000


def make_ground(**changes: str) -> Ground:
    fields = {
        "machine": "test-machine",
        "backend": "onednn 3.9.9",
        "kernel": "SkylakeX",
        "numpy": "2.4.0",
        "tinytorch_sha256": "ab" * 32,
        "rules_sha256": "cd" * 32,
    }
    return Ground(**fields | changes)


def make_machine() -> Machine:
    return Machine(
        fingerprint="test-machine",
        cpu="Test CPU 9000",
        cores=2,
        memory_bytes=8 * 10**9,
        system="Linux 6.1",
        features=["avx2", "avx512f"],
    )


def make_times(rng: np.random.Generator, middle: float) -> Times:
    quantiles = middle * (1 + 0.004 * (np.array(LEVELS) - 50) / 50 + 0.3 * (np.array(LEVELS) / 100) ** 40)
    return Times(
        p50_us=middle,
        p90_us=float(quantiles[-3]),
        p99_us=float(quantiles[-1]),
        batch_us=middle * float(rng.normal(7.5, 0.05)),
        quantiles_us=[round(float(value), 3) for value in quantiles],
    )


def make_children(
    rng: np.random.Generator,
    speedup: float,
    children: int = 11,
    noise: float = 0.01,
    reference_us: float = REFERENCE_US,
) -> list[Child]:
    """Children in which the entry is `speedup` times as fast as the reference, with relative noise in both."""
    return [
        Child(
            round=i,
            own=make_times(rng, reference_us / speedup * float(np.exp(rng.normal(0, noise)))),
            reference=make_times(rng, reference_us * float(np.exp(rng.normal(0, noise)))),
            load_average=round(float(rng.gamma(2, 0.2)), 2),
            steal=0.0,
            context_switches=int(rng.integers(0, 40)),
            cpu_per_wall=1.98,
        )
        for i in range(children)
    ]


def make_quality(
    rng: np.random.Generator, lost: float, items: int = ITEMS, metric: Literal["accuracy", "loss"] = "accuracy"
) -> Quality:
    """Quality that is worse than the reference's by about `lost`, on items that are hard for both."""
    if metric == "accuracy":
        reference = np.arange(items) >= round(0.0103 * items)
        own = reference.copy()
        own[items - max(0, round(lost * items)) :] = False
        own[: max(0, round(-lost * items))] = True
        own, reference = own[(order := rng.permutation(items))].astype(float), reference[order].astype(float)
        sign = 1.0
    else:
        reference = rng.normal(3.4, 0.5, items).astype("<f4").astype(float)
        own = (reference + lost + rng.normal(0, 0.02, items)).astype("<f4").astype(float)
        sign = -1.0
    return Quality(
        metric=metric,
        value=float(own.mean()),
        reference=float(reference.mean()),
        lost=sign * float(reference.mean() - own.mean()),
        items=items,
        own_items=pack_items(metric, own),
        reference_items=pack_items(metric, reference),
    )


def make_receipt(
    entry: str = "alice/int8",
    *,
    seed: int = 0,
    speedup: float = 2.5,
    lost: float = 0.001,
    noise: float = 0.01,
    items: int = ITEMS,
    metric: Literal["accuracy", "loss"] = "accuracy",
    age: int = 0,
    **changes: Any,
) -> Receipt:
    """A verified receipt; `age` in minutes makes it older, `changes` replaces its fields."""
    rng = np.random.default_rng(seed)
    fields: dict[str, Any] = {
        "id": f"receipt-{entry.replace('/', '-')}-{seed}",
        "entry": entry,
        "track": "mnist",
        "division": "closed",
        "title": "INT8, calibrated",
        "authors": ["Alice Example"],
        "licence": "MIT",
        "techniques": ["int8"],
        "techniques_checked": ["int8"],
        "model_sha256": "12" * 32,
        "ground": make_ground(),
        "machine": make_machine(),
        "created": START - timedelta(minutes=age),
        "seconds": 40.0,
        "status": "verified",
        "quality": make_quality(rng, lost, items, metric),
        "quality_gate_met": lost <= 0.01,
        "times": make_children(rng, speedup, noise=noise),
        "file_bytes": 542_000,
        "reference_bytes": 2_144_900,
        "memory_bytes": 1_200_000,
        "reference_memory_bytes": 4_300_000,
        "layers": make_layers(),
        "self_test": make_self_test(),
        "command": f"tito verify {entry} --again",
    }
    return Receipt(**fields | changes)


def make_layers() -> list[Layer]:
    sizes = [(784, 512), (512, 256), (256, 10)]
    layers = [Layer(name="0", kind="Flatten", dtypes=[], parameters=0, bytes=0)]
    for i, (inputs, outputs) in enumerate(sizes, start=1):
        count = inputs * outputs
        layers.append(
            Layer(
                name=str(i),
                kind="QuantizedLinear",
                dtypes=["int8", "float32"],
                parameters=count + outputs,
                bytes=count + 8 * outputs,
            )
        )
    return layers


def make_self_test() -> SelfTest:
    return SelfTest(
        created=START,
        children=11,
        same=Ratio(ratio=1.002, low=0.994, high=1.009, verdict="tie"),
        slowed=Ratio(ratio=0.91, low=0.905, high=0.916, verdict="slower"),
    )
