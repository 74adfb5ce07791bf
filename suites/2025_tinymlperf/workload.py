"""TinyMLPerf: each way of making a model smaller or faster, beside the FP32 reference that it was made from.

A case takes a trained reference, applies a technique, writes the result to a folder (`save_model`), loads it again
and judges only what was loaded: what the file does not hold cannot help it. Quality is that of the whole test split,
times are taken in turn with the reference's in one process, sizes are those of the files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import generation, inference, precision, products
from .tasks import Digits, Parameters, Photos, Plays, Predict, Product, Report, Task, Trained, new_inputs
from .techniques import TECHNIQUES
from .variant import Variant, predictor_of


def load(parameters: Parameters) -> Task:
    """The reference of the case's track, and its data."""
    track, held_out = parameters["track"], parameters.get("held_out", 0)
    if track == "MNIST":
        return Digits(held_out)
    if track.startswith("CIFAR-10"):
        return Photos(held_out)
    return Plays(parameters["windows"]) if track == "TinyGPT" else Product(parameters["size"])


def build(parameters: Parameters, seed: int) -> Variant:
    return Variant()


def train(model: Variant, data: Task, parameters: Parameters, seed: int, report: Report) -> list[dict[str, float]]:
    """Apply the case's technique; a product and a training step need none."""
    if parameters["technique"] == "mixed_precision":
        assert isinstance(data, Photos)
        return precision.train_twice(model, data, parameters, seed, report)
    technique = parameters["technique"].removesuffix("_kv_cache")
    if technique in TECHNIQUES:
        made = TECHNIQUES[technique](data, parameters, report)
        model.take(made, compress=parameters.get("compress", False))
    return []


def evaluate(model: Variant, data: Task, parameters: Parameters) -> dict[str, Any]:
    judge: Callable[..., dict[str, Any]] = MEASURES.get(parameters["technique"], inference.judge)
    return judge(model, data, parameters)


def predictor(model: Variant) -> Predict:
    return predictor_of(model.served)


def queries(data: Trained, parameters: Parameters) -> np.ndarray:
    return new_inputs(data, 2000)


MEASURES = {
    "fp32_kv_cache": generation.judge,
    "int8_dynamic_kv_cache": generation.judge,
    "mixed_precision": precision.judge_quality,
    "mixed_precision_step": precision.judge_step,
    "product": products.judge,
}
