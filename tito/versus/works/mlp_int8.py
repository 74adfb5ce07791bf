"""INT8 inference with the competition's MLP 784-512-256-10; ONNX Runtime runs the same integers, exported as QDQ."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from tito.versus.bounds import dense
from tito.versus.contender import Contender
from tito.versus.rivals import threads
from tito.versus.works import mlp_inference

TITLE = "MLP 784-512-256-10, inference in INT8"
BARS = {"onnxruntime": {"one image": 1 / 0.9, "64 images": 1 / 0.9}}
COSTS = {
    "one image": dense(pairwise(mlp_inference.SIZES), 1, item=1),
    "64 images": dense(pairwise(mlp_inference.SIZES), mlp_inference.BATCH, item=1),
}
TOLERANCE = 0.02  # of the logits: a last bit may round to the neighboring integer


def model() -> Any:
    """Quantize the FP32 model with its own images as calibration data."""
    from tinytorch.quantized import quantize_static

    return quantize_static(mlp_inference.model(), [mlp_inference.images()])


def tinytorch() -> Contender:
    from tinytorch.inference import predictor

    return mlp_inference.contender(predictor(model()))


def onnxruntime() -> Contender:
    from tinytorch.onnx import session

    return mlp_inference.contender(session(model(), threads=threads()))
