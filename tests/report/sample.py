"""Records for the tests of the report: test material drawn from a random generator, never a measurement."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from tito.bench.record import (
    Bars,
    CaseResult,
    Confusion,
    Exhibit,
    Heatmaps,
    LatencyRun,
    Lines,
    MemorySample,
    MemoryTrace,
    Omission,
    Phase,
    Picture,
    Pictures,
    Points,
    Profile,
    Record,
    SeedRun,
    Series,
    Stacks,
    Summary,
    Table,
    Texts,
    Throughput,
    Verdict,
)
from tito.bench.suite import Criterion, Metric
from tito.process.backend import BackendChoice
from tito.process.blas import BlasChoice
from tito.process.provenance import Machine, Provenance
from tito.report.pieces import Plot

START = datetime(2021, 1, 1, 12, tzinfo=UTC)
DIGITS = [str(digit) for digit in range(10)]


def make_record(**changes: Any) -> Record:
    """A whole record of a suite named "sample"; `changes` replaces its fields."""
    rng = np.random.default_rng(7)
    number = int(changes.pop("number", 0))
    machine = str(changes.pop("fingerprint", "test-machine"))
    fields: dict[str, Any] = {
        "id": f"sample-{number}",
        "suite": "sample",
        "year": 1986,
        "title": "Test material: backpropagation reads handwriting",
        "story": "Every figure of this page comes from a random generator in the tests of the report, so that "
        "the page can be looked at.",
        "created": START + timedelta(days=number),
        "seconds": 154.2,
        "quick": False,
        "status": "passed",
        "reason": None,
        "metrics": {"accuracy": Metric(title="Test accuracy", unit="%")},
        "cases": [make_case(rng, shift=0.0005 * number)],
        "profile": make_profile(rng, number),
        "omitted": [Omission(what="USS on this system", why="psutil tells no USS for this process")],
        "provenance": make_provenance(machine),
    }
    return Record(**{**fields, **changes})


def profile_of(record: Record) -> Profile:
    """Return a record's profile, which it must have."""
    assert record.profile is not None
    return record.profile


def plot(piece: object) -> Plot:
    """Return the piece of a page, which must be a plot."""
    assert isinstance(piece, Plot), piece
    return piece


def make_case(
    rng: np.random.Generator, seeds: int = 3, name: str = "mlp", shift: float = 0.0, solved: bool = False
) -> CaseResult:
    runs = [make_run(rng, seed, shift, solved, exhibits=seed == 1) for seed in range(1, seeds + 1)]
    summary = {key: summarise([run.metrics[key] for run in runs]) for key in ("accuracy", "train_seconds")}
    mean = summary["accuracy"].mean
    gate = Criterion(metric="accuracy", direction="at_least", value=0.95)
    aim = Criterion(metric="accuracy", direction="at_least", value=0.985)
    fast = Criterion(metric="train_seconds", over="max", direction="at_most", value=60)
    return CaseResult(
        name=name,
        title="MLP 784-512-256-10" if name == "mlp" else name,
        note="",
        parameters={"epochs": 15, "hidden": [512, 256]},
        runs=runs,
        summary=summary,
        verdicts=[
            Verdict(role="gate", criterion=gate, measured=mean, met=gate.met_by(mean)),
            Verdict(role="aim", criterion=aim, measured=mean, met=aim.met_by(mean)),
            Verdict(role="aim", criterion=fast, measured=summary["train_seconds"].max, met=True),
        ],
    )


def summarise(values: list[float]) -> Summary:
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Summary(
        n=len(values),
        mean=float(np.mean(values)),
        sd=sd,
        median=float(np.median(values)),
        min=min(values),
        max=max(values),
    )


def make_run(rng: np.random.Generator, seed: int, shift: float, solved: bool, exhibits: bool) -> SeedRun:
    noise = rng.normal(0, 0.0006, 15)
    curve = [
        {
            "epoch": float(epoch),
            "train_loss": float(0.35 * np.exp(-epoch / 3) + 0.004 + abs(noise[epoch - 1])),
            "validation_loss": float(0.2 * np.exp(-epoch / 3) + 0.06 + noise[epoch - 1]),
            "train_accuracy": float(1 - 0.09 * np.exp(-epoch / 3)),
            "accuracy": float(0.983 - 0.06 * np.exp(-epoch / 3) + noise[epoch - 1]),
        }
        for epoch in range(1, 16)
    ]
    accuracy = float(rng.random() < 0.9) if solved else float(0.9825 + shift + noise.mean() + noise[-1])
    metrics = {"accuracy": accuracy, "train_seconds": float(rng.uniform(36, 41)), "load_seconds": 0.4}
    return SeedRun(seed=seed, metrics=metrics, curve=curve, exhibits=all_exhibits(rng) if exhibits else [])


def all_exhibits(rng: np.random.Generator) -> list[Exhibit]:
    """One exhibit of each kind (two of those that have two faces)."""
    counts = rng.poisson(1.4, (10, 10))
    counts[np.diag_indices(10)] = rng.integers(880, 1130, 10)
    x = np.linspace(0, 1, 400)
    lines = [Series(name=name, x=x.tolist(), y=(x**power).tolist()) for name, power in (("a", 1), ("b", 2))]
    return [
        Lines(title="Loss by position", x_title="position", y_title="loss (bits)", series=lines),
        Confusion(title="Confusion matrix", classes=DIGITS, counts=counts.tolist()),
        make_points(rng),
        Bars(
            title="Time by layer",
            y_title="ms",
            names=["conv1", "conv2"],
            groups={"forward": [1, 2], "backward": [2, 4]},
        ),
        Bars(
            title="Weights by layer",
            y_title="thousands",
            names=[f"blocks.{i}.attention.weight" for i in range(5)],
            groups={"weights": [3, 1, 4, 1, 5]},
        ),
        Bars(
            title="Speed by rung",
            y_title="GFLOP/s",
            names=["Python loops", "BLAS"],
            groups={"small": [0.04, 110], "large": [0.05, 420]},
            logarithmic=True,
        ),
        Table(
            title="Layers",
            columns=["layer", "parameters", "MFLOP", "share"],
            rows=[["fc1", 401920, 0.8, 0.751], ["fc2", 131328, 0.26, 0.245], ["fc3", 2570, None, 0.004]],
        ),
        Pictures(title="Worst mistakes", pictures=[make_picture(rng, i) for i in range(20)]),
        Pictures(title="First filters", pictures=[make_picture(rng, i, colour=True) for i in range(8)]),
        Heatmaps(
            title="Attention",
            x_title="key position",
            y_title="query position",
            names=[f"layer {i // 4}, head {i % 4}" for i in range(8)],
            matrices=[np.tril(rng.random((24, 24))).tolist() for _ in range(8)],
        ),
        Heatmaps(
            title="Weights", x_title="in", y_title="out", names=["w"], matrices=[rng.normal(size=(6, 9)).tolist()]
        ),
        Texts(
            title="Samples", texts=[("after 100 steps", "qwe rtz\n\tuio"), ("after 2,000 steps", "To be, or not to be")]
        ),
    ]


def make_points(rng: np.random.Generator) -> Points:
    x, y = rng.normal(0, 1, 120), rng.normal(0, 1, 120)
    side = np.linspace(-3, 3, 40)
    grid = 1 / (1 + np.exp(-4 * np.outer(side, side)))
    return Points(
        title="Points and decision surface",
        x=x.tolist(),
        y=y.tolist(),
        label=(x * y > 0).astype(int).tolist(),
        grid_x=side.tolist(),
        grid_y=side.tolist(),
        grid=grid.tolist(),
    )


def make_picture(rng: np.random.Generator, number: int, colour: bool = False) -> Picture:
    shape = (7, 7, 3) if colour else (28, 28)
    return picture(f"is {number % 10}, called {(number + 3) % 10}", rng.integers(0, 256, shape).tolist())


def picture(caption: str, pixels: Any) -> Picture:
    """A picture of a workload, which returns lists of numbers."""
    return Picture.model_validate({"caption": caption, "pixels": pixels})


def make_profile(rng: np.random.Generator, number: int = 0) -> Profile:
    return Profile(
        case="mlp",
        parameter_count=535818,
        model_bytes=2143712,
        latency=[make_latency(rng, 18 + number) for _ in range(3)],
        throughput=[
            Throughput(
                batch=batch,
                samples_per_second=(rng.uniform(0.95, 1.05, 3) * 4e5 * batch / (batch + 7)).tolist(),
            )
            for batch in (1, 8, 64, 512, 2048)
        ],
        memory=make_memory(rng),
        stacks=make_stacks(),
    )


def make_latency(rng: np.random.Generator, middle: float) -> LatencyRun:
    samples = middle + rng.gamma(2, 0.5, 2000)
    samples[rng.integers(0, 2000, 12)] *= rng.uniform(3, 20, 12)
    p50, p90, p99 = np.percentile(samples, [50, 90, 99]).tolist()
    return LatencyRun(samples_us=samples.tolist(), p50_us=p50, p90_us=p90, p99_us=p99)


def make_memory(rng: np.random.Generator) -> MemoryTrace:
    times = np.arange(0, 42, 0.05)
    rss = 48e6 + 190e6 * np.clip((times - 0.5) / 0.8, 0, 1) + 60e6 * (times > 2) + rng.normal(0, 1e6, len(times))
    return MemoryTrace(
        case="mlp",
        seed=1,
        baseline=48_200_000,
        peak=int(rss.max()),
        interval=0.05,
        samples=[MemorySample(seconds=float(t), rss=int(r), uss=int(r * 0.9)) for t, r in zip(times, rss, strict=True)],
        phases=[
            Phase(name="load", start=0.5, end=2.0),
            Phase(name="build", start=2.0, end=2.05),
            Phase(name="train", start=2.05, end=39.0),
            Phase(name="evaluate", start=39.0, end=42.0),
        ],
    )


def make_stacks() -> Stacks:
    head = "main (tito/bench/jobs.py:40);train (suites/1986_mnist/workload.py:31)"
    step = f"{head};fit (tinytorch/training.py:210)"
    return Stacks(
        tool="py-spy",
        rate_hz=200,
        seconds=5.0,
        collapsed=[
            (f"{step};forward (tinytorch/layers.py:88);matmul (tinytorch/tensor.py:140)", 310),
            (f"{step};forward (tinytorch/layers.py:88);relu (tinytorch/activations.py:20)", 90),
            (f"{step};backward (tinytorch/autograd.py:61);matmul (tinytorch/tensor.py:140)", 420),
            (f"{step};step (tinytorch/optimizers.py:77)", 130),
            (f"{head};__iter__ (tinytorch/dataloader.py:55);take (numpy/_core/fromnumeric.py:190)", 49),
            (f"{head};rare (tinytorch/rare.py:1)", 1),
        ],
    )


def make_provenance(fingerprint: str) -> Provenance:
    machine = Machine(
        fingerprint=fingerprint,
        cpu="Test CPU 9000",
        cores=2,
        memory_bytes=8 * 10**9,
        system="Linux 6.1",
        features=["avx2", "avx512f"],
    )
    return Provenance(
        tinytorch="0.1.0",
        commit="0123456789abcdef",
        dirty=True,
        python="3.13.1",
        numpy="2.4.0",
        suite_sha256="ab" * 32,
        machine=machine,
        blas=BlasChoice(used="SkylakeX", default="Haswell", speedup=1.86, why="OpenBLAS did not know this CPU"),
        backend=BackendChoice(name="onednn", version="3.9.9", native=["float32", "int8"], why="it is installed"),
        environment={"OMP_NUM_THREADS": "2", "OPENBLAS_CORETYPE": "SkylakeX"},
        command="tito suite run sample",
    )
