"""TinyMLPerf: techniques that make a model smaller or faster, compared with its FP32 reference.

A case applies a technique to a trained reference, writes the result to a folder (`save_model`), loads it again, and
evaluates only the loaded model: nothing outside the file can contribute. Quality is measured on the whole test split,
times alternate with the reference's in one process, and sizes are those of the files.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from . import entry, generation, inference, precision, products
from .tasks import Digits, Parameters, Photos, Plays, Predict, Product, Report, Task, Trained, new_inputs
from .techniques import TECHNIQUES
from .variant import Variant, predictor_of


def load(parameters: Parameters) -> Task:
    """Load the reference and the data of the case's track."""
    if parameters["technique"] == "entry":
        return entry.load(parameters)
    track, held_out = parameters["track"], parameters.get("held_out", 0)
    if track == "MNIST":
        return Digits(held_out)
    if track.startswith("CIFAR-10"):
        return Photos(held_out)
    return Plays(parameters["windows"]) if track == "TinyGPT" else Product(parameters["size"])


def build(parameters: Parameters, seed: int) -> Variant:
    return Variant()


def train(model: Variant, data: Task, parameters: Parameters, seed: int, report: Report) -> list[dict[str, float]]:
    """Apply the case's technique, or read the entry. A product and a training step have none."""
    if parameters["technique"] == "entry":
        assert not isinstance(data, Product)
        entry.read(model, data, parameters, seed)
        return []
    if parameters["technique"] == "mixed_precision":
        assert isinstance(data, Photos)
        return precision.train_twice(model, data, parameters, seed, report)
    technique = parameters["technique"].removesuffix("_kv_cache")
    if technique in TECHNIQUES:
        made = TECHNIQUES[technique](data, parameters, report)
        cached = parameters["technique"].endswith("_kv_cache")
        model.take(made, parameters.get("compress", False), generation.HOP if cached else None)
    return []


def evaluate(model: Variant, data: Task, parameters: Parameters) -> dict[str, Any]:
    return MEASURES.get(parameters["technique"], inference.judge)(model, data, parameters)


def predictor(model: Variant) -> Predict:
    return predictor_of(model.served)


def queries(data: Trained, parameters: Parameters) -> np.ndarray:
    return new_inputs(data, 2000)


def prepare(parameters: Parameters, file: Path) -> None:
    """Write the test data of an entry's track to a file, which `load` then reads instead of the data set."""
    entry.prepare(parameters, file)


def save(model: Variant, folder: Path) -> None:
    """Write the files that were judged."""
    model.write(folder)


MEASURES: dict[str, Callable[..., dict[str, Any]]] = {
    "entry": entry.judge,
    "fp32_kv_cache": generation.judge,
    "int8_dynamic_kv_cache": generation.judge,
    "mixed_precision": precision.judge_quality,
    "mixed_precision_step": precision.judge_step,
    "product": products.judge,
}
