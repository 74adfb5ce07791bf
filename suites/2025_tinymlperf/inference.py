"""A variant beside its reference: what the file's model answers, how soon, and from how many bytes."""

from __future__ import annotations

import tempfile
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from tinytorch import quantization
from tinytorch.benchmarking import Measurement, measure_interleaved, peak_memory
from tinytorch.saving import load_model, save_model, saved_bytes

from .tasks import Parameters, Plays, Predict, Trained, inputs, quality
from .variant import Variant, predictor_of

SAMPLES = 700  # of a latency: p99 needs 662
BATCH = 64  # of the throughput


def judge(model: Variant, data: Trained, parameters: Parameters) -> dict[str, Any]:
    """A variant beside its reference: what the file's model answers, how soon, and from how many bytes."""
    own, fp32 = predictor_of(model.served), predictor_of(data.reference)
    asked = inputs(data)
    check(model, parameters, asked[:4])
    own_quality, fp32_quality = quality(data, model.served, own), quality(data, data.reference, fp32)
    before = np.concatenate([own(asked[i : i + 1]) for i in range(50)])
    own_time, fp32_time = paired_latency(own, fp32, asked)
    if not np.array_equal(before, np.concatenate([own(asked[i : i + 1]) for i in range(50)])):
        raise ValueError("the model answered otherwise after it was timed than before")
    batch = asked[:BATCH]
    own_batch, fp32_batch = measure_interleaved(lambda: own(batch), lambda: fp32(batch), samples=15, warmup=3)
    lost = own_quality - fp32_quality if isinstance(data, Plays) else fp32_quality - own_quality
    names = ("val_loss", "loss_added") if isinstance(data, Plays) else ("accuracy", "points_lost")
    metrics = {
        names[0]: own_quality,
        names[1]: lost,
        **times(own_time),
        "speedup": fp32_time.median / own_time.median,
        "throughput": BATCH / own_batch.median,
        "batch_speedup": fp32_batch.median / own_batch.median,
        "file_bytes": model.file_bytes,
        "file_share": model.file_bytes / reference_bytes(data),
        "memory_bytes": memory(model, asked[:1]),
    }
    return {"metrics": metrics, "exhibits": [distributions(own_time, fp32_time)]}


def check(model: Variant, parameters: Parameters, example: np.ndarray) -> None:
    """A case that calls itself INT8 is refused unless its layers hold int8 and their sums are exact integers."""
    if "int8" in parameters["technique"]:
        problems = quantization.verify_quantized(model.served, example)
        if problems:
            raise ValueError(f"not the INT8 model that it is called: {'; '.join(problems)}")


def reference_bytes(data: Trained) -> int:
    with tempfile.TemporaryDirectory() as folder:
        return saved_bytes(save_model(data.reference, Path(folder) / "model"))


def paired_latency(own: Predict, fp32: Predict, asked: np.ndarray) -> tuple[Measurement, Measurement]:
    """One query at a time, the two models in turn, fresh queries for each."""
    singles = [asked[i : i + 1] for i in range(len(asked))]
    turns = cycle(singles), cycle(singles)
    return measure_interleaved(lambda: own(next(turns[0])), lambda: fp32(next(turns[1])), samples=SAMPLES, warmup=50)


def times(latency: Measurement) -> dict[str, float]:
    return {f"p{q}_us": latency.percentile(q) * 1e6 for q in (50, 90, 99)}


def memory(model: Variant, query: np.ndarray) -> int:
    """The most memory that loading the model and answering one query take, in NumPy's arrays."""
    with tempfile.TemporaryDirectory() as folder:
        saved = save_model(model.served, Path(folder) / "model")
        return peak_memory(lambda: predictor_of(load_model(saved))(query))


def distributions(own: Measurement, fp32: Measurement) -> dict[str, Any]:
    """Both latencies as curves: the share of queries answered within a time."""
    series = []
    for name, latency in (("this case", own), ("FP32 reference", fp32)):
        ordered = np.sort(latency.seconds * 1e6)[: int(0.99 * len(latency.seconds))]
        share = np.arange(1, len(ordered) + 1) / len(latency.seconds)
        series.append({"name": name, "x": ordered[::5].round(2).tolist(), "y": share[::5].round(4).tolist()})
    title = "Latency of one query, taken in turn with the reference"
    return {"kind": "lines", "title": title, "x_title": "µs", "y_title": "share of queries", "series": series}
