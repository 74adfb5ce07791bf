"""The techniques of TinyMLPerf. Each one turns a task into a new model, as a module of the course teaches."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

import tinytorch as tt
from tinytorch.base.dtypes import bfloat16
from tinytorch.compression import DistillationLoss, GradualPruning, prune_channels, with_teacher
from tinytorch.mixed_precision import autocast
from tinytorch.native.backend import native
from tinytorch.quantized import convert, prepare_qat, quantize_dynamic, quantize_static
from tinytorch.saved import load_model, save_model

from .tasks import Digits, Parameters, Report, Trained, Vision, calibration


def loader(task: Vision, parameters: Parameters, transform: Any = None, seed: int = 1) -> tt.DataLoader:
    """Load augmented training images, all of them or the first `images`."""
    n = parameters.get("images", len(task.images.train_labels))
    samples = tt.TensorDataset(task.images.train_images[:n], task.images.train_labels[:n])
    return tt.DataLoader(
        samples, parameters["batch_size"], shuffle=True, drop_last=True, seed=seed, transform=transform or task.augment
    )


def retrain(
    model: tt.Module,
    batches: tt.DataLoader,
    epochs: int,
    optimizer: tt.Optimizer,
    report: Report,
    sparsity: float | None = None,
    pruned: float = 0.0,
    loss: Any = None,
    block: Any = nullcontext,
) -> None:
    """Continue training with a cosine schedule.

    With a sparsity, prune from `pruned` to this sparsity in the first half of the steps.
    """
    steps = epochs * len(batches)
    schedule = tt.CosineLR(optimizer, steps, warmup=steps // 20)
    if sparsity is not None:
        optimizer = GradualPruning(optimizer, model, sparsity, max(1, steps // 2), every=20, initial=pruned)
    trainer = tt.Trainer(model, optimizer, loss or tt.CrossEntropyLoss(), schedule=schedule, autocast=block)
    trainer.fit(batches, epochs, report=report)
    model.eval()


def teacher(task: Vision) -> tt.Module:
    """Return the reference as a teacher, in INT8 where native kernels make that faster; its accuracy is the same."""
    return quantize_static(task.reference, calibration(task)) if native(np.int8) else task.reference


def quickest() -> Any:
    """Choose the training dtype: bfloat16 if the CPU has instructions for it, otherwise float32."""
    return autocast if native(bfloat16()) else nullcontext


def adam(model: tt.Module, rate: float) -> tt.Optimizer:
    """Build Adam with coupled weight decay, which moves the weights of always-black pixels to zero."""
    return tt.Adam(model.parameters(), rate, weight_decay=1e-4)


def sgd(model: tt.Module, rate: float) -> tt.Optimizer:
    return tt.SGD(model.parameters(), rate, momentum=0.9, weight_decay=2e-4, nesterov=True)


def part_of(report: Report, index: int, parts: int) -> Report:
    """Report the progress of one of several training runs as a part of the whole."""
    return lambda done, total, **figures: report(index * total + done, parts * total, **figures)


def fp32(task: Trained, parameters: Parameters, report: Report) -> tt.Module:
    """Return the reference itself, which must be as good and as fast as itself."""
    return task.reference


def int8_dynamic(task: Trained, parameters: Parameters, report: Report) -> tt.Module:
    return quantize_dynamic(task.reference)


def int8_static(task: Vision, parameters: Parameters, report: Report) -> tt.Module:
    return quantize_static(task.reference, calibration(task), parameters["method"])


def int8_qat(task: Vision, parameters: Parameters, report: Report) -> tt.Module:
    """Continue training with rounded weights and activations."""
    model = prepare_qat(task.reference)
    retrain(model, loader(task, parameters), parameters["epochs"], sgd(model, parameters["learning_rate"]), report)
    return convert(model)


def small_int8(task: Vision, parameters: Parameters, report: Report) -> tt.Module:
    """Prune while distilling from the reference, then train with low-bit weights: small integers compress well."""
    taught = loader(task, parameters, with_teacher(teacher(task), task.augment))
    sparsity, rate = parameters["sparsity"], parameters["learning_rate"]
    shared: dict[str, Any] = {"sparsity": sparsity, "loss": DistillationLoss(parameters["temperature"])}
    model = copied(task.reference)
    retrain(model, taught, parameters["epochs"], sgd(model, rate), part_of(report, 0, 2), block=quickest(), **shared)
    model = prepare_qat(model, parameters["bits"])
    rounding = sgd(model, parameters["rounding_rate"])
    retrain(model, taught, parameters["rounding_epochs"], rounding, part_of(report, 1, 2), pruned=sparsity, **shared)
    return convert(model)


def sparse_int8(task: Vision, parameters: Parameters, report: Report) -> tt.Module:
    """Prune during retraining, then quantize. A zero takes one bit in the file."""
    model = copied(task.reference)
    optimizer = adam(model, parameters["learning_rate"])
    retrain(model, loader(task, parameters), parameters["epochs"], optimizer, report, sparsity=parameters["sparsity"])
    return quantize_static(model, calibration(task), parameters["method"])


def structured(task: Vision, parameters: Parameters, report: Report) -> tt.Module:
    """Remove whole channels, then retrain on the reference's outputs."""
    model = prune_channels(task.reference, parameters["share"])
    optimizer = (adam if isinstance(task, Digits) else sgd)(model, parameters["learning_rate"])
    taught = loader(task, parameters, with_teacher(teacher(task), task.augment))
    loss, block = DistillationLoss(parameters["temperature"]), nullcontext if isinstance(task, Digits) else quickest()
    retrain(model, taught, parameters["epochs"], optimizer, report, loss=loss, block=block)
    return model


def distilled_int8(task: Digits, parameters: Parameters, report: Report) -> tt.Module:
    """Train a small network from scratch on the reference's outputs, then quantize it."""
    tt.manual_seed(1)
    sizes = [28 * 28, *parameters["hidden"]]
    layers: list[Callable[[tt.Tensor], tt.Tensor]] = [tt.Flatten()]
    for i in range(len(sizes) - 1):
        layers += [tt.Linear(sizes[i], sizes[i + 1]), tt.ReLU()]
    model = tt.Sequential(*layers, tt.Linear(sizes[-1], 10))
    taught = loader(task, parameters, with_teacher(teacher(task), task.augment))
    optimizer = adam(model, parameters["learning_rate"])
    retrain(model, taught, parameters["epochs"], optimizer, report, loss=DistillationLoss(parameters["temperature"]))
    return quantize_static(model, calibration(task), parameters["method"])


TECHNIQUES: dict[str, Callable[[Any, Parameters, Report], tt.Module]] = {
    technique.__name__: technique
    for technique in (fp32, int8_dynamic, int8_static, int8_qat, sparse_int8, small_int8, structured, distilled_int8)
}


def copied(model: tt.Module) -> tt.Module:
    """Return a copy of the model, by saving and loading it."""
    with tempfile.TemporaryDirectory() as folder:
        return load_model(save_model(model, Path(folder) / "model"))
