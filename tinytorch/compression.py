"""Module 18: compression. The same predictions from a smaller network.

Magnitude pruning sets the smallest weights to zero, so that a file does not have to store them (see `saved.packing`):
one bit for each weight says whether it is there. Structured pruning removes whole channels, so that arrays become
smaller and the network faster (see `surgery.channels`). Distillation trains a small network on the outputs of a large
one, not on the labels alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from tinytorch.activations import log_softmax, softmax
from tinytorch.autograd import no_grad
from tinytorch.base import changes
from tinytorch.base.errors import SettingError, ShapeError, StateError
from tinytorch.base.numbers import python_number
from tinytorch.dataloader import Batch, Transform
from tinytorch.embeddings import Embedding
from tinytorch.layers import Linear, Module, Parameter, evaluating
from tinytorch.losses import cross_entropy
from tinytorch.optimizers import Optimizer
from tinytorch.quantized.layers import QuantizedLayer
from tinytorch.quantized.tables import QuantizedEmbedding
from tinytorch.spatial import Conv2d
from tinytorch.surgery.channels import Channels, check_share, prunable_channels, prune_channels
from tinytorch.tensor import Array, Tensor

__all__ = [
    "Channels",
    "DistillationLoss",
    "GradualPruning",
    "Masks",
    "apply_masks",
    "cubic_sparsity",
    "distillation_loss",
    "magnitude_masks",
    "pack_bitmask",
    "prunable_channels",
    "prunable_weights",
    "prune_channels",
    "sparsity_of",
    "unpack_bitmask",
    "with_teacher",
]

Masks = dict[str, Array]

# Magnitude pruning --------------------------------------------------------------------------------------


def prunable_weights(model: Module) -> dict[str, Parameter]:
    """Return the weights of linear and convolutional layers by name.

    Biases, norms, and embeddings are excluded, and so is an output layer that shares its weight with an embedding: they
    have few values, or each value matters. The names are those of `named_parameters`, in its order.
    """
    chosen = {id(part.weight) for part in model.modules() if isinstance(part, (Linear, Conv2d))}
    chosen -= {id(part.weight) for part in model.modules() if isinstance(part, Embedding)}
    return {name: parameter for name, parameter in model.named_parameters() if id(parameter) in chosen}


def magnitude_masks(model: Module, sparsity: float, names: Collection[str] | None = None) -> Masks:
    """Return masks that prune the fraction `sparsity` of the weights with the smallest magnitudes in all layers.

    Exactly round(sparsity * n) of n weights are pruned, and of equal magnitudes the first. NaN counts as the largest.

    All layers share one ranking, so that the magnitudes determine how much each layer loses. This is better than
    pruning the same fraction of each layer (Blalock et al. 2020, https://arxiv.org/abs/2003.03033).

    Args:
        names: the parameters to prune instead of `prunable_weights`.

    Returns:
        A dict from names to bool arrays of the parameters' shapes, True for the weights to keep.

    Raises:
        SettingError: sparsity is not 0 to 1, a name is unknown, or there are no weights to prune.
    """
    return _smallest_pruned(_chosen_weights(model, names), sparsity, None)


def apply_masks(model: Module, masks: Masks) -> None:
    """Set the pruned weights, those whose mask is False, to 0 in place, in the parameter's own array.

    The zeros are positive: -0.0 has a bit that is set, so a file would have to store it.
    """
    parameters = dict(model.named_parameters())
    for name, mask in masks.items():
        changes.note(parameters[name].data)
        # not a product: a negative number times 0 is -0.0
        np.copyto(parameters[name].data, 0, where=~mask)


def sparsity_of(model: Module) -> float:
    """Return the fraction of zeros in prunable weights and integer weights of quantized layers; 0 if there are none."""
    tables = {id(part.rows) for part in model.modules() if isinstance(part, QuantizedEmbedding)}
    integers = {
        id(part.weight): part.weight.data
        for part in model.modules()
        if isinstance(part, QuantizedLayer) and id(part) not in tables
    }
    weights = [*integers.values(), *(weight.data for weight in prunable_weights(model).values())]
    size = sum(weight.size for weight in weights)
    return 1 - sum(map(np.count_nonzero, weights)) / size if size else 0.0


def _chosen_weights(model: Module, names: Collection[str] | None) -> dict[str, Parameter]:
    if names is None:
        weights = prunable_weights(model)
    else:
        parameters = dict(model.named_parameters())
        unknown = sorted(set(names) - parameters.keys())
        if unknown:
            raise SettingError(f"pruning: no parameters named {', '.join(unknown)}: expected {list(parameters)}")
        weights = {name: parameters[name] for name in names}
    if not weights:
        raise SettingError(f"pruning: {type(model).__name__} has no linear or convolutional layers")
    return weights


def _smallest_pruned(weights: dict[str, Parameter], sparsity: float, before: Masks | None) -> Masks:
    """Return masks that prune the weights with the smallest magnitudes; those that `before` prunes come first.

    Of n weights in total, exactly round(sparsity n) are pruned. All weights share one ranking. Of equal magnitudes, the
    first is pruned first, in the order of the dict and of the elements. NaN counts as the largest magnitude.

    Args:
        weights: the weights by name. before: earlier masks with the same names, or None.

    Returns:
        By name, an array of bool of the weight's shape, True for the weights to keep. The weights are not changed.
    """
    check_share("sparsity", sparsity)
    magnitudes = np.concatenate([np.abs(weight.data).reshape(-1) for weight in weights.values()])
    magnitudes[np.isnan(magnitudes)] = np.inf
    if before is not None:
        magnitudes[~np.concatenate([mask.reshape(-1) for mask in before.values()])] = -1
    count = round(sparsity * magnitudes.size)
    kept = np.ones(magnitudes.size, bool)
    kept[np.argsort(magnitudes, kind="stable")[:count]] = False
    ends = np.cumsum([weight.numel() for weight in weights.values()])[:-1]
    parts = np.split(kept, ends)
    return {name: part.reshape(weights[name].shape) for name, part in zip(weights, parts, strict=True)}


def cubic_sparsity(step: int, steps: int, initial: float, final: float) -> float:
    """Return s_t = s_f + (s_i - s_f) (1 - t / T)^3 for step t of T, with s_i = initial and s_f = final.

    It increases fast at first, when many weights are superfluous, and then more and more slowly. After step T it stays
    at s_f. T is at least 1.

    Source: Zhu and Gupta 2017, https://arxiv.org/abs/1710.01878, equation 1.
    """
    return final + (initial - final) * (1 - min(1.0, step / steps)) ** 3


class GradualPruning(Optimizer):
    """An optimizer that wraps another one and prunes during training. Pass it to the Trainer and the schedule.

    After each step of the inner optimizer, pruned weights are set to 0 again, so that neither gradients nor momentum
    revive them. Every `every` steps, more weights are pruned by magnitude, up to the sparsity of `cubic_sparsity`.
    Pruned weights stay pruned. After `steps` steps the masks are final, and further steps let the other weights
    recover.

    Args:
        optimizer: the inner optimizer, which shares its parameter groups and state with this one.
        model: the model whose weights are pruned.
        sparsity: the final sparsity. steps: the number of steps until it is reached.
        every: the number of steps between two increases of the sparsity.
        initial: the initial sparsity. Its masks are applied in the constructor.
        names: see `magnitude_masks`.

    Raises:
        SettingError: an argument is out of range, a name is unknown, or there are no weights to prune.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        model: Module,
        sparsity: float,
        steps: int,
        every: int = 100,
        initial: float = 0.0,
        names: Collection[str] | None = None,
    ) -> None:
        check_share("sparsity", sparsity)
        steps, every = python_number(steps), python_number(every)
        if not 0 <= initial <= sparsity:
            raise SettingError(f"GradualPruning: initial sparsity {initial}: expected 0 <= initial <= {sparsity}")
        if steps < 1 or every < 1:
            raise SettingError(f"GradualPruning: steps {steps}, every {every}: expected at least 1")
        self.optimizer, self.model = optimizer, model
        self.param_groups, self.state = optimizer.param_groups, optimizer.state
        self.initial, self.final, self.steps, self.every = initial, sparsity, steps, every
        self.steps_done = 0
        self.weights = _chosen_weights(model, names)
        self.masks = _smallest_pruned(self.weights, initial, None)
        apply_masks(model, self.masks)

    def step(self) -> None:
        """Run a step of the inner optimizer, then set the pruned weights of the model to 0.

        After step t (`steps_done`) of T (`steps`), if t is a multiple of `every` or T itself, the masks are first
        extended to `cubic_sparsity` at t. After step T they stay as they are.
        """
        self.optimizer.step()
        self.steps_done += 1
        if self.steps_done <= self.steps and (self.steps_done % self.every == 0 or self.steps_done == self.steps):
            sparsity = cubic_sparsity(self.steps_done, self.steps, self.initial, self.final)
            self.masks = _smallest_pruned(self.weights, sparsity, self.masks)
        apply_masks(self.model, self.masks)

    def state_dict(self) -> dict[str, Any]:
        """Return the inner optimizer's state, the step count, and the masks: an unpruned weight may also be 0."""
        own = {"pruning.step": np.array(self.steps_done)}
        own |= {f"pruning.mask.{name}": mask for name, mask in self.masks.items()}
        return {**self.optimizer.state_dict(), **own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        own = {name: array for name, array in self.state_dict().items() if name.startswith("pruning.")}
        misfits = [name for name, array in own.items() if name not in state or state[name].shape != array.shape]
        if misfits:
            raise StateError(f"GradualPruning: state does not fit: {', '.join(misfits)}")
        self.optimizer.load_state_dict({name: array for name, array in state.items() if name not in own})
        self.steps_done = int(state["pruning.step"])
        self.masks = {name: state[f"pruning.mask.{name}"].astype(bool) for name in self.masks}


# Distillation -------------------------------------------------------------------------------------------


def distillation_loss(
    logits: Tensor, teacher_logits: Tensor | Array, targets: Array, temperature: float, alpha: float
) -> Tensor:
    """Return the loss of a student that learns from both the teacher's logits and the targets.

        alpha T^2 mean_n KL(softmax(teacher / T) || softmax(logits / T)) + (1 - alpha) cross_entropy(logits, targets)

    A temperature T above 1 reveals which other classes the teacher considers possible. The gradient of the first term
    decreases as 1 / T^2; the factor T^2 keeps the meaning of alpha independent of T. No gradient flows to the teacher.

    KL(p || q) = sum_c p_c (log p_c - log q_c), where 0 log 0 is 0: a teacher may exclude a class with a logit of -inf.
    log q is a log-softmax, so it stays finite where q is 0. The loss has the dtype of the logits.

    Shapes: logits and teacher_logits (N, C), targets (N,), result ().
    Source: Hinton, Vinyals, and Dean 2015, https://arxiv.org/abs/1503.02531, section 2.

    Raises:
        ShapeError: the shapes of the two logits differ, or there are no samples.
        SettingError: temperature is not above 0, or alpha is not 0 to 1.
    """
    _check_distillation(temperature, alpha)
    teacher = np.asarray(teacher_logits.data if isinstance(teacher_logits, Tensor) else teacher_logits)
    if teacher.shape != logits.shape:
        raise ShapeError(f"distillation_loss: logits of shape {logits.shape} and the teacher's of shape "
                         f"{teacher.shape}: expected the same")  # fmt: skip
    if not teacher.size:
        raise ShapeError(f"distillation_loss: logits of shape {logits.shape}: expected at least one sample")
    hard = cross_entropy(logits, targets)
    scaled = Tensor(teacher.astype(logits.dtype) / logits.dtype.type(temperature))
    shares = softmax(scaled).data
    own = (shares * np.where(shares > 0, log_softmax(scaled).data, 0)).sum()  # 0 log 0 is 0
    cross = (log_softmax(logits * (1 / temperature)) * shares).sum()
    soft = (float(own) - cross) * (temperature**2 / len(shares))
    return soft * alpha + hard * (1 - alpha)


class DistillationLoss(Module):
    """`distillation_loss` for the Trainer, with targets from a DataLoader whose transform is `with_teacher`.

    For plain labels, as a validation loader returns them, it is the cross-entropy alone.
    """

    def __init__(self, temperature: float = 4.0, alpha: float = 0.9) -> None:
        _check_distillation(temperature, alpha)
        self.temperature, self.alpha = temperature, alpha

    def forward(self, logits: Tensor, targets: Array) -> Tensor:
        if targets.dtype.names is None:
            return cross_entropy(logits, targets)
        return distillation_loss(logits, targets["logits"], targets["label"], self.temperature, self.alpha)


def with_teacher(teacher: Module, transform: Transform | None = None) -> Transform:
    """Return a transform for a DataLoader that adds the teacher's logits to the labels.

    The teacher reads the same inputs as the student, after the random augmentation `transform`. The labels become a
    structured array (N,) with the fields "label" and "logits", the latter of shape (C,), each with its own dtype. The
    inputs and any further arrays of the batch stay as they are. The teacher runs in inference mode, without recording.
    """

    def label(batch: Batch, rng: np.random.Generator) -> Batch:
        inputs, labels, *rest = batch if transform is None else transform(batch, rng)
        with no_grad(), evaluating(teacher):
            logits = teacher(Tensor(inputs)).data
        records = np.empty(len(labels), [("label", labels.dtype), ("logits", logits.dtype, logits.shape[1:])])
        records["label"], records["logits"] = labels, logits
        return inputs, records, *rest

    return label


def _check_distillation(temperature: float, alpha: float) -> None:
    if not temperature > 0 or not 0 <= alpha <= 1:
        raise SettingError(f"distillation: temperature {temperature}, alpha {alpha}: expected temperature > 0 and "
                           f"0 <= alpha <= 1")  # fmt: skip


# Storing zeros ------------------------------------------------------------------------------------------


def pack_bitmask(rows: Array) -> tuple[Array, Array]:
    """Return the bytes of the elements that are not zero, and one bit for each element that says whether it is there.

    An element is zero if all its bytes are zero. `rows` are the bytes of the elements, uint8 (n, itemsize).

    Returns:
        The kept rows one after the other, uint8 (kept * itemsize,), and the mask, uint8 (ceil(n / 8),): element 0 has
        the highest bit of the first byte, and unused bits of the last byte are 0.
    """
    kept = rows.any(axis=1)
    return rows[kept].reshape(-1), np.packbits(kept)


def unpack_bitmask(values: Array, mask: Array, count: int, itemsize: int) -> Array:
    """Return the bytes of all `count` elements, uint8 (count * itemsize,), from the two arrays of `pack_bitmask`."""
    kept = np.unpackbits(mask, count=count).astype(bool)
    rows = np.zeros((count, itemsize), np.uint8)
    rows[kept] = values.reshape(-1, itemsize)
    return rows.reshape(-1)
