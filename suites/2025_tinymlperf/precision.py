"""The same network trained in float32 and in half precision."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

import tinytorch as tt
from tinytorch.benchmarking import measure_interleaved, peak_memory
from tinytorch.inference import predictor
from tinytorch.mixed_precision import autocast

from .tasks import Batch, Parameters, Photos, Report, quality
from .techniques import loader, part_of
from .variant import Variant


def network(parameters: Parameters, seed: int) -> tt.Module:
    """Build the cifar10 suite's CNN: convolution, pooling, batch norm, and ReLU for each width."""
    tt.manual_seed(seed)
    layers: list[Callable[[tt.Tensor], tt.Tensor]] = []
    for into, out in pairwise([3, *parameters["widths"]]):
        layers += [tt.Conv2d(into, out, 3, padding=1, bias=False), tt.MaxPool2d(2), tt.BatchNorm2d(out), tt.ReLU()]
    side = 32 >> len(parameters["widths"])
    return tt.Sequential(*layers, tt.Flatten(), tt.Linear(parameters["widths"][-1] * side * side, 10))


def trainer_for(net: tt.Module, parameters: Parameters, steps: int, dtype: str) -> tt.Trainer:
    optimizer = tt.SGD(net.parameters(), parameters["learning_rate"], momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = tt.CosineLR(optimizer, steps, warmup=steps // 10)
    block = nullcontext if dtype == "float32" else partial(autocast, dtype)
    return tt.Trainer(net, optimizer, tt.CrossEntropyLoss(), schedule=schedule, autocast=block)


def train_twice(
    model: Variant, data: Photos, parameters: Parameters, seed: int, report: Report
) -> list[dict[str, float]]:
    """Run the same training in float32 and in half precision."""
    batches, curves = loader(data, parameters, seed=seed), []
    for i, dtype in enumerate(("float32", parameters["dtype"])):
        net = network(parameters, seed)
        trainer = trainer_for(net, parameters, parameters["epochs"] * len(batches), dtype)
        curves.append(trainer.fit(batches, parameters["epochs"], report=part_of(report, i, 2)))
        model.pair.append(net.eval())
    model.take(model.pair[1], compress=False)
    return [
        {"epoch": own["epoch"], "float32_loss": fp32["train_loss"], "half_loss": own["train_loss"]}
        for fp32, own in zip(*curves, strict=True)
    ]


def judge_quality(model: Variant, data: Photos, parameters: Parameters) -> dict[str, Any]:
    """Measure how much accuracy half precision costs the trained network."""
    fp32_quality, own_quality = (quality(data, net, predictor(net)) for net in model.pair)
    return {"metrics": {"accuracy": own_quality, "points_lost": fp32_quality - own_quality}, "exhibits": []}


def judge_step(model: Variant, data: Photos, parameters: Parameters) -> dict[str, Any]:
    """Measure time and memory of a training step, alternating with the same step in float32."""
    size = parameters["batch_size"]
    batch = data.augment((data.images.train_images[:size], data.images.train_labels[:size]), np.random.default_rng(0))
    dtypes = "float32", parameters["dtype"]
    trainers = [trainer_for(network(parameters, 1), parameters, 1000, dtype) for dtype in dtypes]
    fp32_step, own_step = (partial(trainer.train_batch, batch) for trainer in trainers)
    own_time, fp32_time = measure_interleaved(own_step, fp32_step, samples=parameters["steps"], warmup=3)
    fp32_peak, own_peak = peak_memory(fp32_step), peak_memory(own_step)
    fp32_kept, own_kept = (kept_memory(trainer, batch) for trainer in trainers)
    metrics = {
        "train_speedup": fp32_time.median / own_time.median,
        "throughput": size / own_time.median,
        "memory_bytes": own_peak,
        "activation_share": own_kept / fp32_kept,
        "step_share": own_peak / fp32_peak,
    }
    return {"metrics": metrics, "exhibits": []}


def kept_memory(trainer: tt.Trainer, batch: Batch) -> int:
    """Measure the bytes of NumPy arrays that a forward pass keeps for the backward pass, mainly activations."""
    images, labels = batch
    trainer.model.train()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        with trainer.autocast():
            loss = trainer.loss(trainer.model(tt.Tensor(images)), labels)
        after, _ = tracemalloc.get_traced_memory()
        del loss
    finally:
        tracemalloc.stop()
    return after - before
