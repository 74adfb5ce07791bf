"""Module 05: losses. Each one measures the error of a prediction as a single number."""

from __future__ import annotations

import numpy as np

from tinytorch.arrays.masks import masked
from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.base.promotion import widening
from tinytorch.layers import Module
from tinytorch.tensor import Array, Op, Tensor, apply, as_tensor, is_floating


def _cross_entropy(logits: Array, targets: Array, label_smoothing: float) -> tuple[Array, Array]:
    """Return the pair (loss, p) for logits (N, C) and targets (N,), with p = softmax(logits) along C.

    With s = label_smoothing, the loss is the mean over n of
        -(1 - s) log p[n, target n] - s/C sum_c log p[n, c].
    It is an array of shape () in the dtype of the logits. The derivative needs only p, (N, C) in the same dtype, so p
    is kept. log p is finite even where p is 0: no exponential may overflow, and no logarithm may be that of 0 (see
    `_log_softmax` in module 03). The logits are not written into.
    """
    if logits.ndim != 2 or targets.shape != logits.shape[:1]:
        raise ShapeError(f"cross_entropy: logits of shape {logits.shape} and targets of shape {targets.shape}: "
                         f"expected (N, C) and (N,)")  # fmt: skip
    if targets.dtype.kind not in "iu":
        raise SettingError(f"cross_entropy: targets of dtype {targets.dtype}: expected integer class indices")
    n, classes = logits.shape
    if targets.min(initial=0) < 0 or targets.max(initial=0) >= classes:
        raise ShapeError(f"cross_entropy: targets from {targets.min()} to {targets.max()}: "
                         f"expected 0 to {classes - 1} for {classes} classes")  # fmt: skip
    shifted = logits - logits.max(axis=1, keepdims=True)  # (N, C)
    loss = -(1 - label_smoothing) * shifted[np.arange(n), targets].sum()
    if label_smoothing:
        loss -= label_smoothing / classes * shifted.sum()
    probabilities = np.exp(shifted, out=shifted)  # (N, C)
    total = (probabilities @ np.ones(classes, logits.dtype))[:, None]  # (N, 1); a matrix product sums rows faster
    loss += np.log(total).sum()
    probabilities /= total
    return np.asarray(loss / n, logits.dtype), probabilities


def _bce_with_logits(logits: Array, targets: Array) -> Array:
    """Return the mean of -(t log sigmoid(x) + (1 - t) log(1 - sigmoid(x))), for logits x and targets t of one shape.

    The result is an array of shape () in the dtype of the logits. The term is equal to log(1 + e^x) - t x, and
    log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), in which nothing overflows.
    """
    chosen = masked(logits * targets, targets != 0)  # infinity times 0 is NaN
    return np.asarray((np.maximum(logits, 0) - chosen + np.log1p(np.exp(-np.abs(logits)))).mean())


cross_entropy_ = Op("cross_entropy", widening(_cross_entropy))
bce_with_logits_ = Op("binary_cross_entropy_with_logits", widening(_bce_with_logits))


def cross_entropy(logits: Tensor, targets: Tensor | Array, label_smoothing: float = 0.0) -> Tensor:
    """Return the mean over n of -sum_c q_nc log softmax(logits)_nc, where q is the one-hot encoding of the targets.

    With label smoothing s, q is (1 - s) one-hot + s / C (Szegedy et al. 2016, https://arxiv.org/abs/1512.00567).

    Args:
        logits: (N, C), unnormalized log-probabilities.
        targets: (N,), class indices as integers from 0 to C - 1.
        label_smoothing: s; 0 for none.

    Raises:
        ShapeError: the shapes do not match, or a target is not a class index.
        SettingError: the targets are not integers.
    """
    return apply(cross_entropy_, logits, _constant(targets), label_smoothing=label_smoothing)


def binary_cross_entropy_with_logits(logits: Tensor, targets: Tensor | Array) -> Tensor:
    """Return the mean of -(t log sigmoid(x) + (1 - t) log(1 - sigmoid(x))) for logits x and targets t of one shape."""
    targets = _constant(targets).astype(_float_dtype(logits), copy=False)
    _same_shape("binary_cross_entropy_with_logits", logits, targets)
    return apply(bce_with_logits_, logits, targets)


def mse_loss(prediction: Tensor, target: Tensor | Array) -> Tensor:
    """Return the mean of (prediction - target)^2 for two tensors of the same shape."""
    prediction = as_tensor(prediction)
    if not isinstance(target, Tensor):
        target = np.asarray(target).astype(_float_dtype(prediction), copy=False)
    _same_shape("mse_loss", prediction, target)
    return ((prediction - target) ** 2).mean()


class CrossEntropyLoss(Module):
    """`cross_entropy` as a module."""

    def __init__(self, label_smoothing: float = 0.0) -> None:
        if not 0 <= label_smoothing < 1:
            raise SettingError(f"CrossEntropyLoss: label_smoothing {label_smoothing}: expected 0 <= s < 1")
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, targets: Tensor | Array) -> Tensor:
        return cross_entropy(logits, targets, self.label_smoothing)


class BCEWithLogitsLoss(Module):
    """`binary_cross_entropy_with_logits` as a module."""

    def forward(self, logits: Tensor, targets: Tensor | Array) -> Tensor:
        return binary_cross_entropy_with_logits(logits, targets)


class MSELoss(Module):
    """`mse_loss` as a module."""

    def forward(self, prediction: Tensor, target: Tensor | Array) -> Tensor:
        return mse_loss(prediction, target)


def _float_dtype(x: Tensor) -> np.dtype:
    return x.dtype if is_floating(x.dtype) else np.dtype(np.float32)


def _constant(x: Tensor | Array) -> Array:
    return x.data if isinstance(x, Tensor) else np.asarray(x)


def _same_shape(name: str, a: Tensor, b: Tensor | Array) -> None:
    if a.shape != b.shape:  # broadcasting would hide mistakes: (N,) against (N, 1) would average an (N, N) array
        raise ShapeError(f"{name}: shapes {a.shape} and {b.shape} differ; expected the same")
