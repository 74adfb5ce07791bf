"""The plain answer to module 18, for the course's own proof."""

from __future__ import annotations

import numpy as np

from tinytorch.activations import log_softmax, softmax
from tinytorch.autograd import no_grad
from tinytorch.base.errors import ShapeError
from tinytorch.compression import Masks, _check_distillation, check_share
from tinytorch.dataloader import Batch, Transform
from tinytorch.embeddings import Embedding
from tinytorch.layers import Linear, Module, Parameter
from tinytorch.losses import cross_entropy
from tinytorch.spatial import Conv2d
from tinytorch.tensor import Array, Tensor


def prunable_weights(model: Module) -> dict[str, Parameter]:
    chosen, tables = [], []
    for part in model.modules():
        if isinstance(part, Linear) or isinstance(part, Conv2d):  # noqa: SIM101
            chosen.append(part.weight)
        if isinstance(part, Embedding):
            tables.append(part.weight)
    found = {}
    for name, parameter in model.named_parameters():
        if any(parameter is one for one in chosen) and not any(parameter is one for one in tables):
            found[name] = parameter
    return found


def apply_masks(model: Module, masks: Masks) -> None:
    for name, parameter in model.named_parameters():
        if name in masks:
            parameter.data[~masks[name]] = 0.0


def _smallest_pruned(weights: dict[str, Parameter], sparsity: float, before: Masks | None) -> Masks:
    check_share("sparsity", sparsity)
    ranked = []
    for position, (name, weight) in enumerate(weights.items()):
        pruned = np.zeros(weight.data.size, bool) if before is None else ~before[name].reshape(-1)
        for i, value in enumerate(np.abs(weight.data).reshape(-1).tolist()):
            size = float("inf") if value != value else value
            ranked.append((-1.0 if pruned[i] else size, position, i, name))
    ranked.sort()
    masks = {name: np.ones(weight.data.size, bool) for name, weight in weights.items()}
    for _, _, i, name in ranked[: round(sparsity * len(ranked))]:
        masks[name][i] = False
    return {name: mask.reshape(weights[name].shape) for name, mask in masks.items()}


def cubic_sparsity(step: int, steps: int, initial: float, final: float) -> float:
    if step >= steps:
        return final
    left = 1 - step / steps
    return final + (initial - final) * left**3


class GradualPruning:
    def step(self) -> None:
        self.optimizer.step()
        self.steps_done += 1
        t = self.steps_done
        if t == self.steps or (t < self.steps and t % self.every == 0):
            now = cubic_sparsity(t, self.steps, self.initial, self.final)
            self.masks = _smallest_pruned(self.weights, now, self.masks)
        apply_masks(self.model, self.masks)


def distillation_loss(
    logits: Tensor, teacher_logits: Tensor | Array, targets: Array, temperature: float, alpha: float
) -> Tensor:
    _check_distillation(temperature, alpha)
    teacher = np.asarray(teacher_logits.data if isinstance(teacher_logits, Tensor) else teacher_logits)
    if teacher.shape != logits.shape:
        raise ShapeError(
            f"distillation_loss: logits of shape {logits.shape} and the teacher's of shape "
            f"{teacher.shape}: expected the same"
        )
    if not teacher.size:
        raise ShapeError(f"distillation_loss: logits of shape {logits.shape}: expected at least one sample")
    p = softmax(Tensor(teacher.astype(logits.dtype) / logits.dtype.type(temperature))).data
    log_p = np.log(np.where(p > 0, p, 1))
    log_q = log_softmax(logits / temperature)
    divergence = (Tensor(p) * (Tensor(log_p) - log_q)).sum() / len(p)
    return alpha * temperature**2 * divergence + (1 - alpha) * cross_entropy(logits, targets)


def with_teacher(teacher: Module, transform: Transform | None = None) -> Transform:
    def ask(batch: Batch, rng: np.random.Generator) -> Batch:
        if transform is not None:
            batch = transform(batch, rng)
        inputs, labels = batch[0], batch[1]
        teacher.eval()
        with no_grad():
            logits = teacher(Tensor(inputs)).data
        records = np.zeros(len(labels), [("label", labels.dtype), ("logits", logits.dtype, (logits.shape[1],))])
        for i in range(len(labels)):
            records[i]["label"] = labels[i]
            records[i]["logits"] = logits[i]
        return (inputs, records, *batch[2:])

    return ask


def pack_bitmask(rows: Array) -> tuple[Array, Array]:
    mask = np.zeros((len(rows) + 7) // 8, np.uint8)
    values = []
    for i, row in enumerate(rows):
        if (row != 0).any():
            mask[i // 8] |= 128 >> i % 8
            values += row.tolist()
    return np.array(values, np.uint8), mask


def unpack_bitmask(values: Array, mask: Array, count: int, itemsize: int) -> Array:
    content = np.zeros(count * itemsize, np.uint8)
    used = 0
    for i in range(count):
        if mask[i // 8] & (128 >> i % 8):
            content[i * itemsize : (i + 1) * itemsize] = values[used : used + itemsize]
            used += itemsize
    return content
