"""A variant compared with its reference: quality, latency, throughput, file size, and memory of the saved model."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tinytorch.benchmarking import Measurement, compare, measure, measure_interleaved, peak_memory
from tinytorch.checks import check_answers, check_causal, verify_quantized
from tinytorch.saved import save_model, saved_bytes
from tinytorch.transformers import GPT

from . import runtime
from .tasks import Parameters, Plays, Predict, Trained, item_results, new_inputs, quality, raw_of
from .variant import Variant, loaded, predictor_of, tolerance_of

SAMPLES, SINGLES = 700, 750  # latency samples (p99 needs 662), and queries including the warm-up
BATCH, BATCHES = 64, 18  # for throughput; three of the batches are warm-up


def judge(model: Variant, data: Trained, parameters: Parameters) -> dict[str, Any]:
    """Measure quality on the whole test split, times on inputs that are used only once, and the size of the file."""
    own, fp32 = predictor_of(model.served), predictor_of(data.reference)
    asked = new_inputs(data, 2 * SINGLES + BATCHES * BATCH)
    check(model, parameters, asked[:4])
    results = item_results(data, model.served, own)
    own_quality, fp32_quality = float(results.mean()), quality(data, data.reference, fp32)
    singles, batches = np.split(asked[: 2 * SINGLES], 2 * SINGLES), np.split(asked[2 * SINGLES :], BATCHES)
    own_time, fp32_time = paired(own, fp32, singles[:SINGLES], SAMPLES, warmup=SINGLES - SAMPLES)
    alone = measured_alone(own, singles[SINGLES:])
    own_batch, fp32_batch = paired(own, fp32, batches, BATCHES - 3, warmup=3)
    check_answers(model.served, own, asked, tolerance_of(model.served))
    if isinstance(model.served, GPT):
        check_causal(model.served, asked[:4], tolerance=1e-4)
    lost = own_quality - fp32_quality if isinstance(data, Plays) else fp32_quality - own_quality
    names = ("val_loss", "loss_added") if isinstance(data, Plays) else ("accuracy", "points_lost")
    metrics = {
        names[0]: own_quality,
        names[1]: lost,
        **times(own_time),
        "alone_p50_us": alone.median * 1e6,
        "speedup": fp32_time.median / own_time.median,
        "throughput": BATCH / own_batch.median,
        "batch_speedup": fp32_batch.median / own_batch.median,
        "file_bytes": model.file_bytes,
        "file_share": model.file_bytes / reference_bytes(data),
        "memory_bytes": memory(model, asked[:1]),
    }
    if "held_out" not in parameters:  # a recipe is chosen by what TinyTorch itself measures
        metrics |= runtime.times(model, data, fp32)
    found = compare(own_time.seconds, fp32_time.seconds)
    raw = raw_of(results) | {"speedup_interval": [found.interval.low, found.interval.high]}
    return {"metrics": metrics, "exhibits": [distributions(own_time, fp32_time, alone)], "raw": raw}


def check(model: Variant, parameters: Parameters, example: np.ndarray) -> None:
    """Raise ValueError if a case called INT8 has layers without int8 weights or without exact integer sums."""
    if "int8" in parameters["technique"]:
        problems = verify_quantized(model.served, example)
        if problems:
            raise ValueError(f"not a valid INT8 model: {'; '.join(problems)}")


def reference_bytes(data: Trained) -> int:
    with tempfile.TemporaryDirectory() as folder:
        return saved_bytes(save_model(data.reference, Path(folder) / "model"))


def paired(
    own: Predict, fp32: Predict, asked: list[np.ndarray], samples: int, warmup: int
) -> tuple[Measurement, Measurement]:
    """Time both models on the same inputs, alternating, and never repeat an input."""
    a, b = iter(asked), iter(asked)
    return measure_interleaved(lambda: own(next(a)), lambda: fp32(next(b)), samples=samples, warmup=warmup)


def measured_alone(own: Predict, asked: list[np.ndarray]) -> Measurement:
    """Time the model by itself, without repeating an input: each query finds its weights in the processor's cache."""
    inputs = iter(asked)
    return measure(lambda: own(next(inputs)), samples=SAMPLES, warmup=len(asked) - SAMPLES)


def times(latency: Measurement) -> dict[str, float]:
    return {f"p{q}_us": latency.percentile(q) * 1e6 for q in (50, 90, 99)}


def memory(model: Variant, query: np.ndarray) -> int:
    """Measure the peak memory of NumPy arrays while the model is loaded and answers one query."""
    with tempfile.TemporaryDirectory() as folder:
        saved = model.write(Path(folder))
        return peak_memory(lambda: predictor_of(loaded(saved)[0])(query))


def distributions(own: Measurement, fp32: Measurement, alone: Measurement) -> dict[str, Any]:
    """Show the latencies as curves: the share of queries answered within a given time."""
    series = []
    for name, latency in (("this case, in turn", own), ("FP32 reference, in turn", fp32), ("this case, alone", alone)):
        ordered = np.sort(latency.seconds * 1e6)[: int(0.99 * len(latency.seconds))]
        share = np.arange(1, len(ordered) + 1) / len(latency.seconds)
        series.append({"name": name, "x": ordered[::5].round(2).tolist(), "y": share[::5].round(4).tolist()})
    title = "Latency of one query, in turn with the reference"
    return {"kind": "lines", "title": title, "x_title": "µs", "y_title": "share of queries", "series": series}
