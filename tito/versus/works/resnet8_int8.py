"""INT8 inference with MLPerf Tiny's image classifier; ONNX Runtime runs the same integers, exported as QDQ.

ONNX Runtime also rounds both branches of each residual sum to 8 bits: its integer convolutions return integers.
"""

from __future__ import annotations

from typing import Any

from tito.versus.bounds import Cost
from tito.versus.contender import Contender
from tito.versus.rivals import threads
from tito.versus.works import resnet8

TITLE = "ResNet-8, inference in INT8 on 32 x 32 images"
BARS = {"onnxruntime": {"one image": 1.0, "64 images": 1.0}}
COSTS = {
    "one image": Cost(resnet8.OPERATIONS, resnet8.NUMBERS, "int8"),
    "64 images": Cost(resnet8.BATCH * resnet8.OPERATIONS, resnet8.NUMBERS, "int8"),
}
TOLERANCE = 0.05  # of the logits: a last bit may round to the neighboring integer, in each of nine layers


def model() -> Any:
    """Quantize the FP32 model with its own images as calibration data."""
    from tinytorch.quantized import quantize_static

    return quantize_static(resnet8.model(), [resnet8.images()])


def tinytorch() -> Contender:
    from tinytorch.inference import predictor

    return resnet8.contender(predictor(model()))


def onnxruntime() -> Contender:
    from tinytorch.onnx import session

    settings = {"input_shape": (3, 32, 32), "batches": [resnet8.images()]}
    return resnet8.contender(session(model(), threads=threads(), **settings))
