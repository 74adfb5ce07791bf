"""Records to print, and what is printed of them."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, RenderableType

from tito.bench.record import CaseResult, LatencyRun, Profile, Record, SeedRun, Summary, Throughput, Verdict
from tito.bench.suite import Criterion, Metric
from tito.process.blas import BlasChoice
from tito.process.provenance import Machine, Provenance

ACCURACY = Metric(title="Accuracy", unit="%")


def printed(content: RenderableType, width: int = 160, terminal: bool = False) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, markup=False, highlight=False, force_terminal=terminal, color_system=None)
    console.print(content)
    return out.getvalue()


def criterion(value: float = 0.95, over: str = "mean") -> Criterion:
    return Criterion.model_validate({"metric": "accuracy", "over": over, "direction": "at_least", "value": value})


def case(measured: float | None = 0.9861, met: bool = True, n: int = 3) -> CaseResult:
    sd = 0.0005 if n > 1 else None
    value = measured or 0.0
    run = SeedRun(seed=1, metrics={"accuracy": value, "train_seconds": 19.2}, curve=[], exhibits=[])
    return CaseResult(
        name="mlp",
        title="MLP [bold]784-10[/bold]",
        note="",
        parameters={},
        runs=[run],
        summary={"accuracy": Summary(n=n, mean=value, sd=sd, median=value, min=value, max=value)},
        verdicts=[Verdict(role="gate", criterion=criterion(), measured=measured, met=met)],
    )


def profile() -> Profile:
    return Profile(
        case="mlp",
        parameter_count=535_818,
        model_bytes=2_144_000,
        latency=[LatencyRun(samples_us=[29.0], p50_us=29.04, p90_us=33.0, p99_us=1_250.0)],
        throughput=[
            Throughput(batch=1, samples_per_second=[30_000.0]),
            Throughput(batch=512, samples_per_second=[200_000.0]),
        ],
        memory=None,
        stacks=None,
    )


def record(**changes: Any) -> Record:
    computer = Machine(fingerprint="0" * 12, cpu="CPU", cores=2, memory_bytes=2**33, system="Linux", features=[])
    provenance = Provenance(
        tinytorch="0.1.0",
        commit=None,
        dirty=None,
        python="3.11",
        numpy="2.4",
        suite_sha256="0" * 64,
        machine=computer,
        blas=BlasChoice(used="SkylakeX", default="Haswell", speedup=1.9, why="SkylakeX is faster"),
        environment={},
        command="tito suite run mnist",
    )
    fields: dict[str, Any] = {
        "id": "20250101T000000Z-mnist-abcdef",
        "suite": "mnist",
        "year": 1986,
        "title": "Digits",
        "story": "A story.",
        "created": datetime(2025, 1, 1, tzinfo=UTC),
        "seconds": 61.0,
        "quick": False,
        "status": "passed",
        "reason": None,
        "metrics": {"accuracy": ACCURACY},
        "cases": [case()],
        "profile": profile(),
        "omitted": [],
        "provenance": provenance,
    }
    return Record(**(fields | changes))
