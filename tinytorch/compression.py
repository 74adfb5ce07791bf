"""Module 18: the same answers from a smaller network.

Three ways. Magnitude pruning sets the smallest weights to zero, so that a file need not hold them (see `packing`).
Structured pruning takes whole channels away: the arrays become smaller, and the network faster; it stands in
`channel_pruning`. Distillation trains a small network on what a large one answers, rather than on the labels alone.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from tinytorch.activations import log_softmax, softmax
from tinytorch.autograd import no_grad
from tinytorch.base.errors import SettingError, ShapeError, StateError
from tinytorch.dataloader import Batch, Transform
from tinytorch.embeddings import Embedding
from tinytorch.layers import Linear, Module, Parameter
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
    "prunable_channels",
    "prunable_weights",
    "prune_channels",
    "sparsity_of",
    "with_teacher",
]

Masks = dict[str, Array]

# Magnitude pruning --------------------------------------------------------------------------------------


def prunable_weights(model: Module) -> dict[str, Parameter]:
    """The weights of linear and convolutional layers by name: not biases, norms and embeddings (nor an output layer
    that shares its weight with an embedding), which are few or of which each number counts."""
    chosen = {id(part.weight) for part in model.modules() if isinstance(part, (Linear, Conv2d))}
    chosen -= {id(part.weight) for part in model.modules() if isinstance(part, Embedding)}
    return {name: parameter for name, parameter in model.named_parameters() if id(parameter) in chosen}


def magnitude_masks(model: Module, sparsity: float, names: Collection[str] | None = None) -> Masks:
    """For each weight whether to keep it: the share `sparsity` with the smallest magnitude in all layers together
    is not. Exactly round(sparsity * n) of n are pruned; of equal ones the first. NaN counts as the largest.

    One ranking for all layers leaves it to the magnitudes how much each layer loses; it beats the same share for
    each layer (Blalock et al. 2020, https://arxiv.org/abs/2003.03033).

    Args:
        names: parameters to prune in place of `prunable_weights`.

    Returns:
        name -> bool array of the parameter's shape, True where it stays.
    """
    return _smallest_pruned(_chosen_weights(model, names), sparsity, None)


def apply_masks(model: Module, masks: Masks) -> None:
    """Set the weights that are masked out to 0, in place."""
    parameters = dict(model.named_parameters())
    for name, mask in masks.items():
        # not a product: a negative number times 0 is -0.0, which has to be stored
        np.copyto(parameters[name].data, 0, where=~mask)


def sparsity_of(model: Module) -> float:
    """The share of zeros in the prunable weights, and in the integer ones of quantized layers; 0 if there are none."""
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
            raise SettingError(f"pruning: no parameters are called {', '.join(unknown)}: expected {list(parameters)}")
        weights = {name: parameters[name] for name in names}
    if not weights:
        raise SettingError(f"pruning: {type(model).__name__} has no linear or convolutional layers")
    return weights


def _smallest_pruned(weights: dict[str, Parameter], sparsity: float, before: Masks | None) -> Masks:
    """Masks that prune the smallest, those that are pruned already first."""
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
    """s_t = s_f + (s_i - s_f) (1 - t / T)^3: fast at first, while many weights can be spared, then ever slower.

    Source: Zhu and Gupta 2017, https://arxiv.org/abs/1710.01878, equation 1.
    """
    return final + (initial - final) * (1 - min(1.0, step / steps)) ** 3


class GradualPruning(Optimizer):
    """An optimizer that prunes while it trains: to be given to the Trainer, and to a schedule, in place of its own.

    After each step of the optimizer inside, pruned weights are set to 0 again, so that neither gradients nor
    momentum revive them. Every `every` steps more are pruned, by magnitude and `cubic_sparsity`; what is pruned
    stays so. After `steps` steps the masks are final, and the steps that follow are for the rest to recover.

    Args:
        optimizer: makes the steps; shares its parameter groups with this one.
        model: whose weights are pruned.
        sparsity: reached after `steps` steps.
        initial: the sparsity to begin with; its masks are applied at once.
        names: see `magnitude_masks`.
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
        self.optimizer.step()
        self.steps_done += 1
        if self.steps_done <= self.steps and (self.steps_done % self.every == 0 or self.steps_done == self.steps):
            sparsity = cubic_sparsity(self.steps_done, self.steps, self.initial, self.final)
            self.masks = _smallest_pruned(self.weights, sparsity, self.masks)
        apply_masks(self.model, self.masks)

    def state_dict(self) -> dict[str, Array]:
        """The inner optimizer's, the count of steps, and the masks: a weight may be 0 without being pruned."""
        own = {"pruning.step": np.array(self.steps_done)}
        own |= {f"pruning.mask.{name}": mask for name, mask in self.masks.items()}
        return {**self.optimizer.state_dict(), **own}

    def load_state_dict(self, state: dict[str, Array]) -> None:
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
    """alpha T^2 mean_n KL(softmax(teacher / T) || softmax(logits / T)) + (1 - alpha) cross_entropy(logits, targets).

    A temperature T above 1 shows what the teacher holds possible beside its answer. The gradient of the first part
    shrinks as 1 / T^2; the factor keeps the two parts' weights what alpha says. No gradient goes to the teacher.

    Shapes: logits and teacher_logits (N, C), targets (N,).
    Source: Hinton, Vinyals and Dean 2015, https://arxiv.org/abs/1503.02531, section 2.

    Raises:
        ShapeError: the two logits' shapes differ, or there are none.
        SettingError: temperature is not above 0, or alpha not 0 to 1.
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
    """`distillation_loss` for the Trainer; its targets come from a loader whose transform is `with_teacher`.

    Plain labels, as a validation loader has them, are judged by cross-entropy alone.
    """

    def __init__(self, temperature: float = 4.0, alpha: float = 0.9) -> None:
        _check_distillation(temperature, alpha)
        self.temperature, self.alpha = temperature, alpha

    def forward(self, logits: Tensor, targets: Array) -> Tensor:
        if targets.dtype.names is None:
            return cross_entropy(logits, targets)
        return distillation_loss(logits, targets["logits"], targets["label"], self.temperature, self.alpha)


def with_teacher(teacher: Module, transform: Transform | None = None) -> Transform:
    """A DataLoader's transform whose labels carry the teacher's logits for the very inputs that the student sees,
    random augmentation (`transform`) included.

    The labels become an array of N records with the fields "label" and "logits" (C,).
    """

    def label(batch: Batch, rng: np.random.Generator) -> Batch:
        inputs, labels, *rest = batch if transform is None else transform(batch, rng)
        teacher.eval()
        with no_grad():
            logits = teacher(Tensor(inputs)).data
        records = np.empty(len(labels), [("label", labels.dtype), ("logits", logits.dtype, logits.shape[1:])])
        records["label"], records["logits"] = labels, logits
        return inputs, records, *rest

    return label


def _check_distillation(temperature: float, alpha: float) -> None:
    if not temperature > 0 or not 0 <= alpha <= 1:
        raise SettingError(f"distillation: temperature {temperature}, alpha {alpha}: expected temperature > 0 and "
                           f"0 <= alpha <= 1")  # fmt: skip
