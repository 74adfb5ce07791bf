"""The same model in ONNX Runtime, if it is installed: what one would use instead, as a column next to the speedups."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch.benchmarking import measure_interleaved
from tinytorch.checks import check_same
from tinytorch.onnx.session import session, why_not
from tinytorch.transformers import GPT

from .tasks import Plays, Predict, Trained, calibration, new_inputs
from .variant import Variant, is_quantized, predictor_of

SAMPLES, WARMUP = 200, 50
BATCH, BATCHES, BATCH_WARMUP = 64, 18, 3
ROUNDED = 0.1  # relative to the largest output; ONNX Runtime also rounds the sums of residual branches to 8 bits


def times(model: Variant, data: Trained, reference: Predict) -> dict[str, float]:
    """Return the median time of one query, and the throughput with batches of 64; nothing if it is not installed.

    It alternates with the FP32 reference, as the model itself did, so that it finds the caches in the same state. The
    reference's times do not count here: ONNX Runtime's threads still spin while it runs. Therefore, this comes last.

    Raises:
        CheckError: its outputs are not those of the model.
    """
    if why_not():
        return {}
    count = SAMPLES + WARMUP
    asked = new_inputs(data, count + BATCH * BATCHES, seed=2)
    singles, batches = np.split(asked[:count], count), np.split(asked[count:], BATCHES)
    run = exported(model, data, asked.shape[1:])
    tolerance = ROUNDED if is_quantized(model.served) else 1e-3
    check_same(run(batches[0]), predictor_of(model.served)(batches[0]), tolerance, "by ONNX Runtime")
    one = alternating(run, reference, singles, WARMUP)
    many = alternating(run, reference, batches, BATCH_WARMUP)
    return {"onnxruntime_us": one * 1e6, "onnxruntime_throughput": BATCH / many}


def exported(model: Variant, data: Trained, shape: tuple[int, ...]) -> Predict:
    """Export the model, with the scales for its residual branches from calibration data."""
    if isinstance(data, Plays):
        return session(model.served, next_token=isinstance(model.served, GPT))
    batches: list[Any] = calibration(data)[:2] if is_quantized(model.served) else []
    return session(model.served, input_shape=shape, batches=batches)


def alternating(run: Predict, reference: Predict, inputs: list[np.ndarray], warmup: int) -> float:
    """Return the median seconds of a query, asked once for each input."""
    a, b = iter(inputs), iter(inputs)
    samples = len(inputs) - warmup
    found, _ = measure_interleaved(lambda: run(next(a)), lambda: reference(next(b)), samples=samples, warmup=warmup)
    return found.median
